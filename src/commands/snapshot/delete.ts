import {
  afterDeletion,
  confirmDestruction,
  deletedText,
  dryRunFlag,
  flagsOf,
  ifExistsFlag,
  referenceArgument,
  SgwCommand,
  yesFlag,
} from '../../core/cli/index.ts';
import { quoted } from '../../core/kit/index.ts';
import type { DeletedDocument } from '../../core/localapi/index.ts';

export default class SnapshotDelete extends SgwCommand {
  static override summary = 'Delete a snapshot.';
  static override description =
    'Deletes the snapshot for good; its volume and clones stay. `store gc` frees the space that nothing else needs. ' +
    'Asks on a terminal, telling how much that is, and needs --yes elsewhere.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> v1',
    '<%= config.bin %> <%= command.id %> v1 --dry-run',
    '<%= config.bin %> <%= command.id %> v1 --yes --if-exists --json',
  ];
  static override args = {
    snapshot: referenceArgument('snapshot', 'Snapshot: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('snapshot delete', {
    yes: yesFlag,
    'if-exists': ifExistsFlag,
    'dry-run': dryRunFlag,
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotDelete);
    await using session = this.session(flags);
    const input = { snapshot: args.snapshot, ifExists: flags['if-exists'] };
    const preview = async (asked: typeof input): Promise<DeletedDocument> =>
      session.call('snapshot.delete', { ...asked, preview: true }, { label: 'finding out what it would free' });
    if (!flags['dry-run']) {
      await confirmDestruction(session, flags.yes, {
        what: `delete snapshot ${quoted(args.snapshot)} for good`,
        lookUp: async () => afterDeletion('snapshot', await preview({ ...input, ifExists: false })).join(' '),
        ifExists: flags['if-exists'],
      });
    }
    const result = flags['dry-run'] ? await preview(input) : await session.call('snapshot.delete', input);
    await session.print(result, () => deletedText('snapshot', result));
    await session.next('sgw snapshot list', 'sgw store gc --dry-run');
  }
}
