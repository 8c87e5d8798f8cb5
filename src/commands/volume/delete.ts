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

export default class VolumeDelete extends SgwCommand {
  static override summary = 'Delete a volume.';
  static override description =
    'Deletes the volume; its snapshots and clones stay. Asks on a terminal, and needs --yes elsewhere. ' +
    'Its space in the store is freed by gc, which a later version brings.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> build-17',
    '<%= config.bin %> <%= command.id %> build-17 --yes --if-exists --json',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('volume delete', { yes: yesFlag, 'if-exists': ifExistsFlag });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeDelete);
    await using session = this.session(flags);
    await confirmDestruction(session, flags.yes, {
      what: `delete volume ${quoted(args.volume)}`,
      lookUp: async () => session.call('volume.show', { volume: args.volume }),
      ifExists: flags['if-exists'],
    });
    const result = await session.call('volume.delete', { volume: args.volume, ifExists: flags['if-exists'] });
    await session.print(result, () => deletedText('volume', result));
    await session.next('sgw volume list');
  }
}
