import { Flags } from '@oclif/core';
import {
  durationFlag,
  flagsOf,
  given,
  parseKeep,
  parsePace,
  parseTimeOfDay,
  parseVerifyPace,
  referenceArgument,
  requireAny,
  scheduleFields,
  SgwCommand,
  verifyWish,
} from '../../core/cli/index.ts';

export default class ScheduleSet extends SgwCommand {
  static override summary = 'Make snapshots of a volume on schedule.';
  static override description =
    'The gateway daemon makes the snapshots, whether the volume is attached or not, and deletes those that --keep does not keep. ' +
    'A run that was missed is made up once. --keep 7d,4w,12m keeps the newest of each of the last 7 days, 4 weeks and 12 months, ' +
    'by the calendar in UTC, and always the newest of all; without it all are kept. Only snapshots that this schedule made are ' +
    'deleted, and none that was renamed, is shared, attached, or being exported or restored. What is not given stays as it is.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> db --every 4h --keep 7d,4w,12m',
    '<%= config.bin %> <%= command.id %> db --every 1d --at 02:30 --keep 14d',
    '<%= config.bin %> <%= command.id %> db --keep all',
    '<%= config.bin %> <%= command.id %> db --verify weekly --verify-sample 10% --verify-command \'e2fsck -fn "$SGW_IMAGE"\'',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('schedule set', {
    every: Flags.custom<number>({
      description: 'How often: minutes, hours, days or weeks, such as 15m, 4h, 1d, 2w; needed for the first time.',
      helpValue: 'PACE',
      parse: async (text) => parsePace(text),
    })(),
    at: Flags.string({
      description:
        'When in the day, UTC, it is counted from, where --every is whole days or divides a day; none: midnight.',
      helpValue: 'HH:MM',
    }),
    keep: Flags.string({
      description: 'What is kept: hours (h), days (d), weeks (w), months (m), years (y); all: everything.',
      helpValue: 'PERIODS',
    }),
    verify: Flags.custom<{ readonly everyMs: number | null }>({
      description:
        'How often the newest snapshot is read back: daily, weekly, monthly, or as --every; the first time at once; none.',
      helpValue: 'PACE',
      parse: async (text) => ({ everyMs: parseVerifyPace(text) }),
    })(),
    'verify-all': Flags.boolean({ description: 'Read all of the snapshot.', exclusive: ['verify-sample'] }),
    'verify-sample': Flags.string({
      description: 'Read about so much of it, here and there. [default: 5%]',
      helpValue: 'PERCENT',
    }),
    'verify-command': Flags.string({
      description:
        'What is run over it then, by /bin/sh: with SGW_IMAGE, a file that reads as the snapshot, or SGW_NBD_URI; none: nothing.',
      helpValue: 'COMMAND',
    }),
    'verify-timeout': durationFlag({ description: 'How long that may take. [default: 1h]' }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ScheduleSet);
    const { every, at, keep } = flags;
    const verify = verifyWish({
      verify: flags.verify,
      all: flags['verify-all'],
      sample: flags['verify-sample'],
      command: flags['verify-command'],
      timeoutMs: flags['verify-timeout'],
    });
    requireAny({ '--every': every, '--at': at, '--keep': keep, '--verify': verify });
    const input = {
      volume: args.volume,
      ...given({
        everyMs: every,
        at: at === undefined ? undefined : parseTimeOfDay(at),
        keep: keep === undefined ? undefined : parseKeep(keep),
        verify,
      }),
    };
    await using session = this.session(flags);
    const schedule = await session.call('schedule.set', input);
    await session.print(schedule, (style) => scheduleFields(schedule, style));
    await session.next(`sgw schedule show ${schedule.name}`, `sgw snapshot list --volume ${schedule.name}`);
  }
}
