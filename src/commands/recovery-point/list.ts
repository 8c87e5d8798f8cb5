import { flagsOf, readStoreFlags, recoveryPointTable, referenceArgument, SgwCommand } from '../../core/cli/index.ts';

export default class RecoveryPointList extends SgwCommand {
  static override summary = 'List the states of a volume that can be had again.';
  static override description =
    'A volume that is attached keeps states of the last hour, then one an hour for a day and one a day for a week. Each can be ' +
    'made a snapshot, cloned, or attached, with its gateway gone too.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> db',
    '<%= config.bin %> <%= command.id %> db --json',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('recovery-point list', { ...readStoreFlags() });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(RecoveryPointList);
    await using session = this.readingSession(flags);
    const list = await session.call('recovery-point.list', { volume: args.volume });
    await session.print(list, async (style, columns) => recoveryPointTable(list, style, columns));
    const last = list.recoveryPoints.at(-1)?.at ?? 'TIME';
    await session.next(
      `sgw snapshot create ${list.name} --recovery-point ${last}`,
      `sgw volume create NAME --from-volume ${list.name}@${last}`,
    );
  }
}
