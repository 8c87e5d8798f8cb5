import { Flags } from '@oclif/core';
import {
  createFlags,
  flagsOf,
  formatFlag,
  gatewayPath,
  given,
  importFields,
  nameFlag,
  parseTags,
  pathArgument,
  referenceFlag,
  requireOne,
  SgwCommand,
  tagFlag,
  timeoutFlag,
} from '../../core/cli/index.ts';

export default class VolumeImport extends SgwCommand {
  static override summary = 'Import a disk image as a volume, or into one.';
  static override description =
    'Reads raw images natively, skipping holes and zeroes; qcow2, vmdk, vhdx and vdi through qemu-img. With --into only what changed is committed. ' +
    'An import that was interrupted goes on when the same command is run again.';
  static override usage = '<%= command.id %> FILE (--name NAME | --into VOLUME)';
  static override examples = [
    '<%= config.bin %> <%= command.id %> golden.img --name golden',
    '<%= config.bin %> <%= command.id %> golden.img --into golden',
    '<%= config.bin %> <%= command.id %> appliance.vmdk --name appliance --format vmdk',
  ];
  static override args = { file: pathArgument('Image file or block device to read.') };
  static override flags = flagsOf('volume import', {
    name: nameFlag({ description: 'Name of the volume to create.' }),
    into: referenceFlag({
      description: 'Volume to update: id, beginning of an id (at least 4 digits), or name.',
      helpValue: 'VOLUME',
    }),
    format: formatFlag({ description: 'Format of the image. [default: found out]' }),
    'take-over': Flags.boolean({ description: 'Go on even if another gateway holds the volume, and fence it.' }),
    tag: tagFlag(),
    timeout: timeoutFlag(),
    ...createFlags,
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeImport);
    requireOne({ '--name': flags.name, '--into': flags.into });
    await using session = this.session(flags);
    const input = {
      file: gatewayPath(args.file),
      takeOver: flags['take-over'],
      ifNotExists: flags['if-not-exists'],
      ...given({ name: flags.name, into: flags.into, format: flags.format, clientToken: flags['client-token'] }),
      ...(flags.tag === undefined ? {} : { tags: parseTags(flags.tag) }),
    };
    const result = await session.call('volume.import', input, { timeoutMs: flags.timeout });
    await session.print(result, (style) => importFields(result, style));
    await session.next(`sgw snapshot create ${result.name} --name v1`, `sgw volume map ${result.name}`);
  }
}
