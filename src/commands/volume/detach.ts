import { Flags } from '@oclif/core';
import {
  detachedText,
  flagsOf,
  ifExistsFlag,
  referenceArgument,
  SgwCommand,
  startFlag,
  timeoutFlag,
} from '../../core/cli/index.ts';

export default class VolumeDetach extends SgwCommand {
  static override summary = 'End an export.';
  static override description =
    'Lets go of nobody: while clients are connected it is refused, but for --force. All that was acknowledged goes to the store ' +
    'first; with --no-drain it stays in the write log of this home, and goes there when the volume is attached again.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> db',
    '<%= config.bin %> <%= command.id %> db --no-drain --force',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Export, or volume or snapshot that is attached.'),
  };
  static override flags = {
    ...flagsOf('volume detach', {
      force: Flags.boolean({ description: 'Also while clients are connected: they are let go.' }),
      'if-exists': ifExistsFlag,
      timeout: timeoutFlag(),
    }),
    drain: Flags.boolean({
      description: 'Bring all that was acknowledged to the store first (default).',
      env: 'SGW_VOLUME_DETACH_DRAIN',
      allowNo: true,
      default: true,
    }),
    start: startFlag('volume detach'),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeDetach);
    await using session = this.session(flags);
    const detached = await session.call(
      'volume.detach',
      { volume: args.volume, drain: flags.drain, force: flags.force, ifExists: flags['if-exists'] },
      { timeoutMs: flags.timeout, startsGateway: flags.start },
    );
    await session.print(detached, (style) => detachedText(detached, style));
    await session.next('sgw status');
  }
}
