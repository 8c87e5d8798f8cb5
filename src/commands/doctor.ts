import { Flags } from '@oclif/core';
import {
  doctorText,
  flagsOf,
  given,
  logRecoveryText,
  nameFlag,
  requireRecovery,
  SgwCommand,
  worstKind,
} from '../core/cli/index.ts';

export default class Doctor extends SgwCommand {
  static override summary = 'Look at everything that the gateway stands on, and say what to do.';
  static override description =
    'Looks at the home, its state, the daemon, the store, disk, clock, exports and write logs. Ends with 0 when nothing is wrong, ' +
    'also with warnings; else with the exit code of what is wrong first. With --recover-log, a new volume gets the state that a write log continues and all that is in the log; it is read back, and neither the log nor VOLUME is changed.';
  static override usage = ['<%= command.id %>', '<%= command.id %> --recover-log VOLUME --into NAME [--log FOLDER]'];
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --json',
    '<%= config.bin %> <%= command.id %> --recover-log golden --into golden-recovered',
  ];
  static override flags = flagsOf('doctor', {
    'recover-log': Flags.string({
      description: 'Make a new volume of what was acknowledged here and is not in this volume, which was taken over.',
      helpValue: 'VOLUME',
    }),
    into: nameFlag({ description: 'Name of the new volume.' }),
    log: Flags.string({
      description: 'The write log, where this home has several of the volume.',
      helpValue: 'FOLDER',
    }),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(Doctor);
    await using session = this.session(flags);
    const recovery = requireRecovery(flags['recover-log'], flags.into, flags.log);
    if (recovery !== undefined) {
      const recovered = await session.call('volume.recover-log', { ...recovery, ...given({ log: flags.log }) });
      await session.print(recovered, (style) => logRecoveryText(recovered, style));
      if (recovered.damage !== null) session.endAs('corrupt');
      await session.next(`sgw volume attach ${recovered.name}`);
      return;
    }
    const found = await session.call('doctor', {});
    await session.print(found, (style) => doctorText(found, style));
    const kind = worstKind(found);
    if (kind !== undefined) session.endAs(kind);
    await session.next('sgw status');
  }
}
