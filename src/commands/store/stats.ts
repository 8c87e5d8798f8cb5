import { SgwCommand, storeStatsText } from '../../core/cli/index.ts';

export default class StoreStats extends SgwCommand {
  static override summary = 'Show what the store holds.';
  static override description = 'Counts the objects of the store and their bytes, by kind.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<void> {
    const { flags } = await this.parse(StoreStats);
    await using session = this.session(flags);
    const stats = await session.call('store.stats', {});
    await session.print(stats, async (style, columns) => storeStatsText(stats, style, columns));
    await session.next('sgw store check');
  }
}
