import { Flags } from '@oclif/core';
import {
  confirmDestruction,
  flagsOf,
  referenceArgument,
  SgwCommand,
  sizeFlag,
  volumeFields,
  yesFlag,
} from '../../core/cli/index.ts';
import { formatSize, quoted } from '../../core/kit/index.ts';

export default class VolumeResize extends SgwCommand {
  static override summary = 'Change the size of a volume.';
  static override description =
    'Growing adds zeroes at the end. Shrinking cuts the end off for good and needs --shrink; snapshots keep what they hold.';
  static override usage = '<%= command.id %> VOLUME --size SIZE [--shrink]';
  static override examples = [
    '<%= config.bin %> <%= command.id %> golden --size 20GiB',
    '<%= config.bin %> <%= command.id %> golden --size 5GiB --shrink --yes',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('volume resize', {
    size: sizeFlag({ description: 'New size, such as 20GiB (2^30) or 20GB (10^9).', required: true }),
    shrink: Flags.boolean({ description: 'Allow a smaller size: what lies beyond it is lost.' }),
    yes: yesFlag,
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeResize);
    await using session = this.session(flags);
    if (flags.shrink) {
      await confirmDestruction(session, flags.yes, {
        what: `cut the end off volume ${quoted(args.volume)}`,
        lookUp: async () => {
          const { sizeBytes } = await session.call('volume.show', { volume: args.volume });
          return `It is ${formatSize(sizeBytes)} now and would be ${formatSize(flags.size)}.`;
        },
      });
    }
    const volume = await session.call('volume.resize', {
      volume: args.volume,
      sizeBytes: flags.size,
      shrink: flags.shrink,
    });
    await session.print(volume, (style) => volumeFields(volume, style));
    await session.next(`sgw volume show ${volume.name}`);
  }
}
