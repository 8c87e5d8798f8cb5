import { bandwidthFields, flagsOf, SgwCommand } from '../../core/cli/index.ts';

export default class BandwidthRemove extends SgwCommand {
  static override summary = 'Remove all limits of the traffic with the store.';
  static override description = 'From now on the store is used as fast as it goes, also by what is under way.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];
  static override flags = flagsOf('bandwidth remove', {});

  async run(): Promise<void> {
    const { flags } = await this.parse(BandwidthRemove);
    await using session = this.session(flags);
    const bandwidth = await session.call('bandwidth.remove', {});
    await session.print(bandwidth, (style) => bandwidthFields(bandwidth, style));
    await session.next('sgw bandwidth set --upload 20MB/s');
  }
}
