import { flagsOf, optionalReference, scheduleText, SgwCommand } from '../../core/cli/index.ts';

export default class ScheduleShow extends SgwCommand {
  static override summary = 'Show when snapshots are made, and how that goes.';
  static override description =
    'Shows the schedule of a volume, or all schedules: the next run, the last one, and what failed.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> db --json'];
  static override args = {
    volume: optionalReference('volume', 'Volume: id, beginning of an id (at least 4 digits), or name; all without it.'),
  };
  static override flags = flagsOf('schedule show', {});

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ScheduleShow);
    await using session = this.session(flags);
    const list = await session.call('schedule.show', args.volume === undefined ? {} : { volume: args.volume });
    await session.print(list, async (style, columns) => scheduleText(list, style, columns));
    const first = list.schedules[0];
    await session.next(
      first === undefined
        ? 'sgw schedule set VOLUME --every 4h --keep 7d,4w'
        : `sgw snapshot list --volume ${first.name}`,
    );
  }
}
