import { Flags } from '@oclif/core';
import {
  createFlags,
  flagsOf,
  given,
  nameFlag,
  parseTags,
  referenceArgument,
  SgwCommand,
  snapshotFields,
  tagFlag,
  timeoutFlag,
  waitForSnapshot,
} from '../../core/cli/index.ts';

export default class SnapshotCreate extends SgwCommand {
  static override summary = 'Pin the present state of a volume under a name.';
  static override description =
    'Copies nothing, whatever the size. The snapshot is pending until its commit is durable in the store; --wait waits for that. With --recovery-point it is of the past: attached volumes keep states of the last hour, then one an hour for a day and one a day for a week.';
  static override usage = '<%= command.id %> VOLUME [--name NAME] [--recovery-point TIME] [--wait]';
  static override examples = [
    '<%= config.bin %> <%= command.id %> golden --name v1',
    '<%= config.bin %> <%= command.id %> golden --name nightly --description "before the upgrade" --wait --timeout 5m',
    '<%= config.bin %> <%= command.id %> golden --name before --recovery-point 2026-11-25T08:30:00Z',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('snapshot create', {
    name: nameFlag({ description: 'Name of the snapshot. [default: made from the volume and the time]' }),
    description: Flags.string({ description: 'A note to keep with it.', helpValue: 'TEXT' }),
    'recovery-point': Flags.string({
      description: 'Of the newest state that the volume keeps and that is not after this time.',
      helpValue: 'TIME',
    }),
    tag: tagFlag(),
    wait: Flags.boolean({ description: 'Return only when the snapshot is completed.' }),
    timeout: timeoutFlag(),
    ...createFlags,
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotCreate);
    await using session = this.session(flags);
    const limits = { timeoutMs: flags.timeout };
    const input = {
      volume: args.volume,
      tags: parseTags(flags.tag ?? []),
      ifNotExists: flags['if-not-exists'],
      ...given({
        name: flags.name,
        description: flags.description,
        clientToken: flags['client-token'],
        recoveryPoint: flags['recovery-point'],
      }),
    };
    const created = await session.call('snapshot.create', input, limits);
    const snapshot = flags.wait ? await waitForSnapshot(session, created, flags.timeout) : created;
    await session.print(snapshot, (style) => snapshotFields(snapshot, style));
    await session.next(
      `sgw volume create NAME --from-snapshot ${snapshot.name}`,
      `sgw snapshot export ${snapshot.name} FILE`,
    );
  }
}
