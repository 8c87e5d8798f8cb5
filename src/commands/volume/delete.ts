import { Flags } from '@oclif/core';
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

export default class VolumeDelete extends SgwCommand {
  static override summary = 'Delete a volume.';
  static override description =
    'Deletes the volume; its snapshots and clones stay. For seven days `volume undelete` brings it back; after that ' +
    '`store gc` frees its space. Asks on a terminal, telling what it would free, and needs --yes elsewhere.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> build-17',
    '<%= config.bin %> <%= command.id %> build-17 --dry-run',
    '<%= config.bin %> <%= command.id %> build-17 --yes --if-exists --json',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('volume delete', {
    yes: yesFlag,
    'if-exists': ifExistsFlag,
    'dry-run': dryRunFlag,
    'take-over': Flags.boolean({
      description: 'Delete it also when another gateway holds it, which is fenced and loses what it has not committed.',
    }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeDelete);
    await using session = this.session(flags);
    const input = { volume: args.volume, ifExists: flags['if-exists'], takeOver: flags['take-over'] };
    const preview = async (asked: typeof input): Promise<DeletedDocument> =>
      session.call('volume.delete', { ...asked, preview: true }, { label: 'finding out what it would free' });
    if (!flags['dry-run']) {
      await confirmDestruction(session, flags.yes, {
        what: `delete volume ${quoted(args.volume)}`,
        lookUp: async () => afterDeletion('volume', await preview({ ...input, ifExists: false })).join(' '),
        ifExists: flags['if-exists'],
      });
    }
    const result = flags['dry-run'] ? await preview(input) : await session.call('volume.delete', input);
    await session.print(result, () => deletedText('volume', result));
    await session.next('sgw volume list --deleted');
  }
}
