import { flagsOf, groupFields, ifExistsFlag, referenceArgument, SgwCommand } from '../../core/cli/index.ts';

export default class GroupRemove extends SgwCommand {
  static override summary = 'Take a gateway out of a group.';
  static override description =
    'Refused while the gateway holds a volume of the group: `group failover` has another member hold it first. What the gateway ' +
    'has as a replica is of no use from then on.';
  static override examples = ['<%= config.bin %> <%= command.id %> rack-1 lab-2'];
  static override args = {
    group: referenceArgument('group', 'Group: id or name.'),
    gateway: referenceArgument('gateway', 'Member: id or name.'),
  };
  static override flags = flagsOf('group remove', { 'if-exists': ifExistsFlag });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(GroupRemove);
    await using session = this.session(flags);
    const group = await session.call('group.remove', { ...args, ifExists: flags['if-exists'] });
    await session.print(group, (style) => groupFields(group, style));
    await session.next(`sgw group show ${group.name}`);
  }
}
