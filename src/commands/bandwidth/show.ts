import { bandwidthFields, flagsOf, SgwCommand } from '../../core/cli/index.ts';

export default class BandwidthShow extends SgwCommand {
  static override summary = 'Show the limits of the traffic with the store.';
  static override description = 'Shows the limits, the hours that have limits of their own, and what counts now.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];
  static override flags = flagsOf('bandwidth show', {});

  async run(): Promise<void> {
    const { flags } = await this.parse(BandwidthShow);
    await using session = this.session(flags);
    const bandwidth = await session.call('bandwidth.show', {});
    await session.print(bandwidth, (style) => bandwidthFields(bandwidth, style));
    await session.next('sgw bandwidth set --upload 20MB/s');
  }
}
