import { flagsOf, groupTable, SgwCommand } from '../../core/cli/index.ts';

export default class GroupList extends SgwCommand {
  static override summary = 'List the groups of gateways.';
  static override description = 'Groups of the account, with how many members and volumes each has.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];
  static override flags = flagsOf('group list', {});

  async run(): Promise<void> {
    const { flags } = await this.parse(GroupList);
    await using session = this.session(flags);
    const list = await session.call('group.list', {});
    await session.print(list, async (style, columns) => groupTable(list, style, columns));
    const first = list.groups[0];
    await session.next(first === undefined ? 'sgw group create NAME' : `sgw group show ${first.name}`);
  }
}
