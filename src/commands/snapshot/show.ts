import { flagsOf, readStoreFlags, referenceArgument, SgwCommand, snapshotDetails } from '../../core/cli/index.ts';

export default class SnapshotShow extends SgwCommand {
  static override summary = 'Show a snapshot.';
  static override description =
    'Shows its state and size, the accounts that wrote its blocks, and the volumes cloned from it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> v1',
    '<%= config.bin %> <%= command.id %> snap-0123 --json',
  ];
  static override args = {
    snapshot: referenceArgument('snapshot', 'Snapshot: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('snapshot show', { ...readStoreFlags() });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotShow);
    await using session = this.readingSession(flags);
    const snapshot = await session.call('snapshot.show', { snapshot: args.snapshot });
    await session.print(snapshot, (style) => snapshotDetails(snapshot, style));
    await session.next(
      `sgw volume create NAME --from-snapshot ${snapshot.name}`,
      `sgw snapshot export ${snapshot.name} FILE`,
    );
  }
}
