import { flagsOf, given, SgwCommand, storeCheckText, storeFlags, storeLocation } from '../../core/cli/index.ts';

export default class StoreCheck extends SgwCommand {
  static override summary = 'Find out whether a store can do what sgw needs.';
  static override description =
    'Probes the store with small objects of its own, removes them, and says which abilities are there. Works before activation with --store. Exits with 10 when the store is refused for writing.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --store /mnt/backup/sgw --json',
    '<%= config.bin %> <%= command.id %> --store s3://backup/lab --store-region eu-central-1',
  ];
  static override flags = flagsOf('store check', {
    ...storeFlags('Directory of the store, or s3://BUCKET/PREFIX. [default: that of the gateway]'),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(StoreCheck);
    await using session = this.session(flags);
    const check = await session.call('store.check', given({ store: storeLocation(flags) }));
    await session.print(check, async (style, columns) => storeCheckText(check, style, columns));
    if (check.writable) await session.next('sgw store stats');
    else session.endAs('unsupported');
  }
}
