import { Flags } from '@oclif/core';
import { flagsOf, readStoreFlags, referenceFlag, SgwCommand, snapshotTable } from '../../core/cli/index.ts';

export default class SnapshotList extends SgwCommand {
  static override summary = 'List snapshots.';
  static override description =
    'Lists the snapshots of the account and those shared with it, or those of one volume, or those that may be exported.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --volume golden --json',
    '<%= config.bin %> <%= command.id %> --exportable --account 000000000002',
    '<%= config.bin %> <%= command.id %> --store s3://backup/lab --key-file /media/usb/sgw.key',
  ];
  static override flags = flagsOf('snapshot list', {
    ...readStoreFlags(),
    volume: referenceFlag({
      description: 'Only those of this volume: id, beginning of an id (at least 4 digits), or name.',
      helpValue: 'VOLUME',
    }),
    exportable: Flags.boolean({
      description: 'Only those that the account may export: whose blocks it wrote, or was given by who wrote them.',
    }),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(SnapshotList);
    await using session = this.readingSession(flags);
    const list = await session.call('snapshot.list', {
      ...(flags.volume === undefined ? {} : { volume: flags.volume }),
      ...(flags.exportable ? { exportable: true } : {}),
    });
    await session.print(list, async (style, columns) => snapshotTable(list, style, columns));
    const first = list.snapshots[0];
    await session.next(
      first === undefined ? 'sgw snapshot create VOLUME --name NAME' : `sgw snapshot show ${first.name}`,
    );
  }
}
