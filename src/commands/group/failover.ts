import { Flags } from '@oclif/core';
import {
  confirmDestruction,
  failoverFields,
  flagsOf,
  given,
  referenceArgument,
  referenceFlag,
  SgwCommand,
  startFlag,
  timeoutFlag,
  yesFlag,
} from '../../core/cli/index.ts';
import { quoted } from '../../core/kit/index.ts';

export default class GroupFailover extends SgwCommand {
  static override summary = 'Have another member hold a volume.';
  static override description =
    'The holder brings what it can to the store, then clients wait for a moment while the next holder gets the rest, and takes ' +
    'over: nothing is lost. Where the holder is gone, a member takes over that is known to have everything; --accept-loss lets ' +
    'one do it that may lack some of what was acknowledged. Needs the daemon of a member of the group.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> db',
    '<%= config.bin %> <%= command.id %> db --to lab-2',
    '<%= config.bin %> <%= command.id %> db --accept-loss --yes --json',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = {
    ...flagsOf('group failover', {
      to: referenceFlag({
        description: 'Member that is to hold it. [default: the next in the order of the group]',
        helpValue: 'GATEWAY',
      }),
      'accept-loss': Flags.boolean({
        description: 'Take it over also where acknowledged writes may be lost by that; asks, or needs --yes.',
      }),
      timeout: timeoutFlag(),
      yes: yesFlag,
    }),
    start: startFlag('group failover'),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(GroupFailover);
    await using session = this.session(flags);
    const acceptLoss = flags['accept-loss'];
    if (acceptLoss) {
      await confirmDestruction(session, flags.yes, {
        what: `have volume ${quoted(args.volume)} taken over by a member that may lack acknowledged writes`,
        lookUp: async () => {
          const { name } = await session.call('volume.show', { volume: args.volume });
          return `What the next holder of ${name} does not have is lost to its clients.`;
        },
      });
    }
    const input = { volume: args.volume, acceptLoss, ...given({ to: flags.to }) };
    const result = await session.call('group.failover', input, {
      timeoutMs: flags.timeout,
      label: 'moving the volume',
      startsGateway: flags.start,
    });
    await session.print(result, (style) => failoverFields(result, style));
    await session.next('sgw group show');
  }
}
