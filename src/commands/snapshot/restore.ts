import { Flags } from '@oclif/core';
import {
  confirmOverwrite,
  exportNameFlag,
  flagsOf,
  given,
  imageFlag,
  rateFlag,
  referenceArgument,
  restoreFields,
  SgwCommand,
  startFlag,
  timeoutFlag,
  yesFlag,
} from '../../core/cli/index.ts';

export default class SnapshotRestore extends SgwCommand {
  static override summary = 'Restore a snapshot to a local image.';
  static override description =
    'Makes a raw image of the snapshot, in a file or on a block device. With --attach it is served over NBD from the first second, ' +
    'for reading and writing: what clients ask for is restored first, the rest in the background; a shadowing gateway follows ' +
    'the image by a new volume, a clone of the snapshot, named by --export-name. A restore that was ' +
    'interrupted goes on with --resume: the snapshot, the store and the image are all that it takes. Over an image that holds ' +
    'something it needs --force, and then first makes a volume and a snapshot of what is there, unless --no-snapshot is given.';
  static override usage = '<%= command.id %> SNAPSHOT --image FILE [--attach]';
  static override examples = [
    '<%= config.bin %> <%= command.id %> v1 --image golden.img',
    '<%= config.bin %> <%= command.id %> v1 --image golden.img --attach --rate 100MiB',
    '<%= config.bin %> <%= command.id %> v1 --image golden.img --resume',
    '<%= config.bin %> <%= command.id %> v1 --image golden.img --force --yes',
  ];
  static override args = {
    snapshot: referenceArgument(
      'snapshot',
      'Snapshot: id, beginning of an id (at least 4 digits), or name; with --recovery-point a volume.',
    ),
  };
  static override flags = {
    ...flagsOf('snapshot restore', {
      image: imageFlag(),
      attach: Flags.boolean({ description: 'Serve the image over NBD while it is restored, and after.' }),
      'export-name': exportNameFlag(),
      resume: Flags.boolean({ description: 'Go on with a restore that was interrupted.' }),
      rate: rateFlag(),
      'recovery-point': Flags.string({
        description: 'Restore the volume as it was at this time.',
        helpValue: 'TIME',
      }),
      force: Flags.boolean({
        description:
          'Replace what is in the image, of which a snapshot is taken first. Asks on a terminal, and needs --yes elsewhere.',
      }),
      'no-snapshot': Flags.boolean({
        description: 'With --force: take no snapshot of what is in the image first. It is lost.',
      }),
      yes: yesFlag,
      timeout: timeoutFlag(),
    }),
    start: startFlag('snapshot restore'),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotRestore);
    await using session = this.session(flags);
    const { image, attach, resume, force } = flags;
    const snapshotFirst = !flags['no-snapshot'];
    if (force) await confirmOverwrite(session, flags.yes, image, snapshotFirst);
    const input = {
      snapshot: args.snapshot,
      image,
      attach,
      resume,
      force,
      snapshotFirst,
      ...given({
        exportName: flags['export-name'],
        rateBytes: flags.rate,
        recoveryPoint: flags['recovery-point'],
      }),
    };
    const limits = { timeoutMs: flags.timeout, startsGateway: flags.start };
    const result = await session.call('snapshot.restore', input, limits);
    await session.print(result, (style) => restoreFields(result, style));
    if (result.export !== null) await session.next('sgw status', `sgw volume detach ${result.export.exportName}`);
  }
}
