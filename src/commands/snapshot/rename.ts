import { nameArgument, referenceArgument, SgwCommand, snapshotFields } from '../../core/cli/index.ts';

export default class SnapshotRename extends SgwCommand {
  static override summary = 'Give a snapshot another name.';
  static override description = 'The id stays, and so do clones.';
  static override examples = ['<%= config.bin %> <%= command.id %> v1 release-1'];
  static override args = {
    snapshot: referenceArgument('snapshot', 'Snapshot: id, beginning of an id (at least 4 digits), or name.'),
    name: nameArgument('name', 'The new name.'),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotRename);
    await using session = this.session(flags);
    const snapshot = await session.call('snapshot.rename', { snapshot: args.snapshot, name: args.name });
    await session.print(snapshot, (style) => snapshotFields(snapshot, style));
    await session.next('sgw snapshot list');
  }
}
