import { flagsOf, ifExistsFlag, referenceArgument, SgwCommand } from '../../core/cli/index.ts';

export default class ScheduleRemove extends SgwCommand {
  static override summary = 'Make no more snapshots of a volume on schedule.';
  static override description =
    'The snapshots that it made stay, and are not deleted by a schedule any more, nor by one that is set later: ' +
    'sgw snapshot delete does that.';
  static override examples = ['<%= config.bin %> <%= command.id %> db'];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('schedule remove', { 'if-exists': ifExistsFlag });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ScheduleRemove);
    await using session = this.session(flags);
    const input = { volume: args.volume, ifExists: flags['if-exists'] };
    const result = await session.call('schedule.remove', input);
    await session.print(result, () =>
      result.name === null
        ? 'There was no schedule.'
        : `The schedule of ${result.name} was removed; its snapshots stay.`,
    );
    await session.next(result.name === null ? 'sgw schedule show' : `sgw snapshot list --volume ${result.name}`);
  }
}
