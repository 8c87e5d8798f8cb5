import { Flags } from '@oclif/core';
import {
  flagsOf,
  given,
  parseKeep,
  parsePace,
  parseTimeOfDay,
  referenceArgument,
  requireAny,
  scheduleFields,
  SgwCommand,
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
      description: 'When in the day, UTC, for schedules of whole days; none: at midnight.',
      helpValue: 'HH:MM',
    }),
    keep: Flags.string({
      description: 'What is kept: hours (h), days (d), weeks (w), months (m), years (y); all: everything.',
      helpValue: 'PERIODS',
    }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ScheduleSet);
    const { every, at, keep } = flags;
    requireAny({ '--every': every, '--at': at, '--keep': keep });
    const input = {
      volume: args.volume,
      ...given({
        everyMs: every,
        at: at === undefined ? undefined : parseTimeOfDay(at),
        keep: keep === undefined ? undefined : parseKeep(keep),
      }),
    };
    await using session = this.session(flags);
    const schedule = await session.call('schedule.set', input);
    await session.print(schedule, (style) => scheduleFields(schedule, style));
    await session.next(`sgw schedule show ${schedule.name}`, `sgw snapshot list --volume ${schedule.name}`);
  }
}
