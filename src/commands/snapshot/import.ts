import { Flags } from '@oclif/core';
import {
  createFlags,
  flagsOf,
  formatFlag,
  gatewayPath,
  given,
  nameFlag,
  parseTags,
  pathArgument,
  SgwCommand,
  snapshotFields,
  tagFlag,
  timeoutFlag,
} from '../../core/cli/index.ts';

export default class SnapshotImport extends SgwCommand {
  static override summary = 'Import a disk image as a snapshot.';
  static override description =
    'Makes a new volume from the image and a completed snapshot of it, ready to be cloned. Interrupted, the same command goes on.';
  static override usage = '<%= command.id %> FILE --name NAME';
  static override examples = [
    '<%= config.bin %> <%= command.id %> golden.img --name v1',
    '<%= config.bin %> <%= command.id %> golden.qcow2 --name v1 --volume-name golden --format qcow2',
  ];
  static override args = { file: pathArgument('Image file or block device to read.') };
  static override flags = flagsOf('snapshot import', {
    name: nameFlag({ description: 'Name of the snapshot.', required: true }),
    'volume-name': nameFlag({ description: 'Name of the volume. [default: that of the snapshot]' }),
    format: formatFlag({ description: 'Format of the image. [default: found out]' }),
    description: Flags.string({ description: 'A note to keep with it.', helpValue: 'TEXT' }),
    tag: tagFlag(),
    timeout: timeoutFlag(),
    ...createFlags,
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotImport);
    await using session = this.session(flags);
    const input = {
      file: gatewayPath(args.file),
      name: flags.name,
      tags: parseTags(flags.tag ?? []),
      ifNotExists: flags['if-not-exists'],
      ...given({
        volumeName: flags['volume-name'],
        format: flags.format,
        description: flags.description,
        clientToken: flags['client-token'],
      }),
    };
    const snapshot = await session.call('snapshot.import', input, { timeoutMs: flags.timeout });
    await session.print(snapshot, (style) => snapshotFields(snapshot, style));
    await session.next(`sgw volume create NAME --from-snapshot ${snapshot.name}`);
  }
}
