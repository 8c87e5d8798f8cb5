import { Flags } from '@oclif/core';
import {
  checkChoice,
  flagsOf,
  given,
  groupFields,
  isSwitchedOn,
  nameFlag,
  parseReplicas,
  referenceArgument,
  referenceFlag,
  SgwCommand,
} from '../../core/cli/index.ts';

const WHEN_DEGRADED = ['continue', 'stop'] as const;
const ACKS = ['peer', 'log', 'store'] as const;
const ANY = 'any';

export default class GroupAssign extends SgwCommand {
  static override summary = 'Have a group look after a volume, or change how.';
  static override description =
    'The holder of the volume sends its records to --replicas other members, and one of them takes over when it is gone. ' +
    'What is not given stays as it is. --replicas 0 takes the volume out of the group; its data stay where they are.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> rack-1 db',
    '<%= config.bin %> <%= command.id %> rack-1 db --holder lab-1 --replicas 2 --when-degraded stop',
    '<%= config.bin %> <%= command.id %> rack-1 db --replicas 0',
  ];
  static override args = {
    group: referenceArgument('group', 'Group: id or name.'),
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('group assign', {
    holder: referenceFlag({
      description: 'Member that is to hold it if it can be chosen; any: whoever does.',
      helpValue: 'GATEWAY',
    }),
    replicas: Flags.custom<number>({
      description: 'How many other members are to have its records; 0: none, and it is out of the group. [default: 1]',
      helpValue: 'COUNT',
      parse: async (text) => parseReplicas(text),
    })(),
    'when-degraded': Flags.custom<(typeof WHEN_DEGRADED)[number]>({
      description: 'What is done with fewer replicas in sync: go on, or acknowledge nothing. [default: continue]',
      options: [...WHEN_DEGRADED],
      parse: async (text) => checkChoice(text, WHEN_DEGRADED, '--when-degraded'),
    })(),
    ack: Flags.custom<(typeof ACKS)[number]>({
      description:
        'When a write is acknowledged: peer, in the logs of all members in sync, so that no take-over loses it; log, in that of the holder; store, in the store. [default: peer]',
      options: [...ACKS],
      parse: async (text) => checkChoice(text, ACKS, '--ack'),
    })(),
    'allow-loss': Flags.boolean({
      description: 'A take-over may lose acknowledged writes that no replica has.',
      exclusive: ['no-loss'],
    }),
    'no-loss': Flags.boolean({ description: 'It may not, as in the beginning.' }),
    export: nameFlag({ description: 'Name of its export at every holder. [default: the name of the volume]' }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(GroupAssign);
    await using session = this.session(flags);
    const allowLoss = isSwitchedOn(flags['allow-loss'] ? 'on' : flags['no-loss'] ? 'off' : undefined);
    const group = await session.call('group.assign', {
      ...args,
      ...given({
        holder: flags.holder === ANY ? null : flags.holder,
        replicas: flags.replicas,
        whenDegraded: flags['when-degraded'],
        ack: flags.ack,
        allowLoss,
        exportName: flags.export,
      }),
    });
    await session.print(group, (style) => groupFields(group, style));
    await session.next(`sgw group show ${group.name}`);
  }
}
