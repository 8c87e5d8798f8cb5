import { flagsOf, groupFields, referenceArgument, SgwCommand } from '../../core/cli/index.ts';

export default class GroupAdd extends SgwCommand {
  static override summary = 'Make a gateway a member of a group.';
  static override description =
    'A gateway is in at most one group. Its daemon listens for the other members where `configure --peer-listen` says, and ' +
    'joins when it starts or reads its configuration again.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> rack-1 lab-2',
    '<%= config.bin %> <%= command.id %> rack-1 sgw-0123abcd --json',
  ];
  static override args = {
    group: referenceArgument('group', 'Group: id or name.'),
    gateway: referenceArgument('gateway', 'Gateway of the account: id or name.'),
  };
  static override flags = flagsOf('group add', {});

  async run(): Promise<void> {
    const { args, flags } = await this.parse(GroupAdd);
    await using session = this.session(flags);
    const group = await session.call('group.add', args);
    await session.print(group, (style) => groupFields(group, style));
    await session.next(`sgw group assign ${group.name} VOLUME`, `sgw group show ${group.name}`);
  }
}
