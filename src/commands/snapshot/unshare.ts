import { accountFlag, flagsOf, referenceArgument, SgwCommand, sharingFields } from '../../core/cli/index.ts';

export default class SnapshotUnshare extends SgwCommand {
  static override summary = 'Take back the share of a snapshot.';
  static override description =
    'Takes back what the acting account gave to the other account with `snapshot share`. What that account has exported or cloned already stays with it.';
  static override usage = '<%= command.id %> SNAPSHOT --with ACCOUNT';
  static override examples = [
    '<%= config.bin %> <%= command.id %> v1 --with 000000000002',
    '<%= config.bin %> <%= command.id %> snap-0123 --with 000000000002 --account 000000000003 --json',
  ];
  static override args = {
    snapshot: referenceArgument('snapshot', 'Snapshot: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('snapshot unshare', {
    with: accountFlag({ description: 'Account that it was shared with, 12 digits.', required: true }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotUnshare);
    await using session = this.session(flags);
    const result = await session.call('snapshot.unshare', { snapshot: args.snapshot, accountId: flags.with });
    await session.print(result, (style) => sharingFields(result, style));
    await session.next(`sgw snapshot show ${result.name}`);
  }
}
