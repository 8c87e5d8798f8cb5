import { flagsOf, given, groupText, optionalReference, SgwCommand } from '../../core/cli/index.ts';

export default class GroupShow extends SgwCommand {
  static override summary = 'Show a group: its members, and how its volumes do.';
  static override description =
    'Of each volume: who holds it, which members are in sync, how far its replicas are behind, and who would take over. How far ' +
    "they are behind is known to the volume's holder alone; without a daemon this is what the store knows.";
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> rack-1 --json',
    '<%= config.bin %> <%= command.id %> rack-1 --gateway lab-1 --service https://sgw.example:8443',
  ];
  static override args = {
    group: optionalReference('group', 'Group: id or name; the one that this gateway is in without it.'),
  };
  static override flags = flagsOf('group show', {});

  async run(): Promise<void> {
    const { args, flags } = await this.parse(GroupShow);
    await using session = this.session(flags);
    const group = await session.call('group.show', given({ group: args.group }));
    await session.print(group, async (style, columns) => groupText(group, style, columns));
    const first = group.volumes[0];
    await session.next(
      first === undefined
        ? `sgw group assign ${group.name} VOLUME`
        : `sgw group failover ${first.name ?? first.volumeId}`,
    );
  }
}
