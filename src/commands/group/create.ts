import { createFlags, flagsOf, given, groupFields, nameArgument, SgwCommand } from '../../core/cli/index.ts';

export default class GroupCreate extends SgwCommand {
  static override summary = 'Create a group of gateways.';
  static override description =
    'Members of a group keep what is written to its volumes and is not in the store yet, and one of them takes over when the ' +
    'holder of a volume is gone. Add gateways with `group add`, volumes with `group assign`.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> rack-1',
    '<%= config.bin %> <%= command.id %> rack-1 --if-not-exists --json',
  ];
  static override args = { name: nameArgument('name', 'Name of the new group.') };
  static override flags = flagsOf('group create', { ...createFlags });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(GroupCreate);
    await using session = this.session(flags);
    const group = await session.call('group.create', {
      ...{ name: args.name, ifNotExists: flags['if-not-exists'] },
      ...given({ clientToken: flags['client-token'] }),
    });
    await session.print(group, (style) => groupFields(group, style));
    await session.next(`sgw group add ${group.name} GATEWAY`);
  }
}
