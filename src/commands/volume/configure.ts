import { Flags } from '@oclif/core';
import {
  ackFlag,
  bytesFlag,
  durationFlag,
  flagsOf,
  given,
  parseRecoveryPolicy,
  referenceArgument,
  SgwCommand,
  volumeSettingsFields,
} from '../../core/cli/index.ts';

export default class VolumeConfigure extends SgwCommand {
  static override summary = 'Change how a volume is served.';
  static override description =
    'Changes what is given, at once when the volume is attached, and shows everything. What a volume has no setting of its own ' +
    'for is as sgw configure says.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> db',
    '<%= config.bin %> <%= command.id %> db --ack store --buffer 8GiB',
    '<%= config.bin %> <%= command.id %> db --recovery-points all:6h,48h,14d',
    '<%= config.bin %> <%= command.id %> db --reset',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('volume configure', {
    ack: ackFlag(),
    buffer: bytesFlag({ description: 'Upload buffer: local disk for what is not in the store yet.' }),
    'seal-interval': durationFlag({ description: 'What is written is sent to the store at the latest after this.' }),
    'read-ahead': bytesFlag({ description: 'How much is read ahead of a sequential reader; 0: nothing.' }),
    'recovery-points': Flags.string({
      description:
        'Which states of the past are kept, from its next checkpoint on: all:1h,24h,7d is all of an hour, one an hour for 24 hours, one a day for 7 days; none; default.',
      helpValue: 'PERIODS',
    }),
    reset: Flags.boolean({ description: 'Forget the settings of this volume that are not given.' }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeConfigure);
    const points = flags['recovery-points'];
    await using session = this.session(flags);
    const input = {
      volume: args.volume,
      reset: flags.reset,
      ...given({
        ack: flags.ack,
        bufferBytes: flags.buffer,
        sealIntervalMs: flags['seal-interval'],
        readAheadBytes: flags['read-ahead'],
        recovery: points === undefined ? undefined : parseRecoveryPolicy(points),
      }),
    };
    const settings = await session.call('volume.configure', input);
    await session.print(settings, (style) => volumeSettingsFields(settings, style));
    await session.next(`sgw volume show ${settings.name}`);
  }
}
