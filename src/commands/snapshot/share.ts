import { accountFlag, flagsOf, referenceArgument, SgwCommand, sharingFields } from '../../core/cli/index.ts';

export default class SnapshotShare extends SgwCommand {
  static override summary = 'Let another account use a snapshot.';
  static override description =
    "Lets the account see, clone, compare and export the snapshot, as far as the blocks go that the acting account wrote: a block that a third account wrote needs that account's own share. Others who wrote blocks name the snapshot by its id.";
  static override usage = '<%= command.id %> SNAPSHOT --with ACCOUNT';
  static override examples = [
    '<%= config.bin %> <%= command.id %> v1 --with 000000000002',
    '<%= config.bin %> <%= command.id %> snap-0123 --with 000000000002 --account 000000000003 --json',
  ];
  static override args = {
    snapshot: referenceArgument('snapshot', 'Snapshot: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('snapshot share', {
    with: accountFlag({ description: 'Account that may use it, 12 digits.', required: true }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotShare);
    await using session = this.session(flags);
    const result = await session.call('snapshot.share', { snapshot: args.snapshot, accountId: flags.with });
    await session.print(result, (style) => sharingFields(result, style));
    await session.next(`sgw snapshot show ${result.name}`);
  }
}
