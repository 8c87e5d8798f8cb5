import { diffText, referenceArgument, SgwCommand } from '../../core/cli/index.ts';

export default class SnapshotDiff extends SgwCommand {
  static override summary = 'Show what differs between two snapshots.';
  static override description =
    'Compares two snapshots of one volume, or of volumes cloned from one another. The cost follows what changed, not the size.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> v1 v2',
    '<%= config.bin %> <%= command.id %> v1 failed-17 --json',
  ];
  static override args = {
    from: referenceArgument('from', 'The older snapshot: id, beginning of an id (at least 4 digits), or name.'),
    to: referenceArgument('to', 'The newer snapshot: id, beginning of an id (at least 4 digits), or name.'),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotDiff);
    await using session = this.session(flags);
    const diff = await session.call('snapshot.diff', { from: args.from, to: args.to });
    await session.print(diff, async (style, columns) => diffText(diff, style, columns));
    await session.next(`sgw snapshot export ${args.to} FILE`);
  }
}
