import {
  confirmDestruction,
  deletedText,
  flagsOf,
  ifExistsFlag,
  quoted,
  referenceArgument,
  SgwCommand,
  yesFlag,
} from '../../core/cli/index.ts';

export default class SnapshotDelete extends SgwCommand {
  static override summary = 'Delete a snapshot.';
  static override description =
    'Deletes the snapshot; its volume and clones stay. Asks on a terminal, and needs --yes elsewhere. ' +
    'Its space in the store is freed by gc, which a later version brings.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> v1',
    '<%= config.bin %> <%= command.id %> v1 --yes --if-exists --json',
  ];
  static override args = {
    snapshot: referenceArgument('snapshot', 'Snapshot: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('snapshot delete', { yes: yesFlag, 'if-exists': ifExistsFlag });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotDelete);
    await using session = this.session(flags);
    await confirmDestruction(session, flags.yes, {
      what: `delete snapshot ${quoted(args.snapshot)}`,
      lookUp: async () => session.call('snapshot.show', { snapshot: args.snapshot }),
      ifExists: flags['if-exists'],
    });
    const result = await session.call('snapshot.delete', { snapshot: args.snapshot, ifExists: flags['if-exists'] });
    await session.print(result, () => deletedText('snapshot', result));
    await session.next('sgw snapshot list');
  }
}
