import {
  confirmDestruction,
  flagsOf,
  groupDeletedText,
  ifExistsFlag,
  referenceArgument,
  SgwCommand,
  yesFlag,
} from '../../core/cli/index.ts';
import { quoted } from '../../core/kit/index.ts';

export default class GroupDelete extends SgwCommand {
  static override summary = 'Delete a group.';
  static override description =
    'Only one that looks after no volume; its gateways stay, and are in no group then. Asks on a terminal, and needs --yes elsewhere.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> rack-1',
    '<%= config.bin %> <%= command.id %> rack-1 --yes --if-exists --json',
  ];
  static override args = { group: referenceArgument('group', 'Group: id or name.') };
  static override flags = flagsOf('group delete', { yes: yesFlag, 'if-exists': ifExistsFlag });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(GroupDelete);
    await using session = this.session(flags);
    await confirmDestruction(session, flags.yes, {
      what: `delete group ${quoted(args.group)}`,
      lookUp: async () => {
        const { members } = await session.call('group.show', { group: args.group });
        const names = members.map(({ name }) => name).join(', ');
        return names === '' ? '' : `${names} will be in no group.`;
      },
      ifExists: flags['if-exists'],
    });
    const result = await session.call('group.delete', { group: args.group, ifExists: flags['if-exists'] });
    await session.print(result, () => groupDeletedText(result));
    await session.next('sgw group list');
  }
}
