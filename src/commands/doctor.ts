import { doctorText, SgwCommand, worstKind } from '../core/cli/index.ts';

export default class Doctor extends SgwCommand {
  static override summary = 'Look at everything that the gateway stands on, and say what to do.';
  static override description =
    'Looks at the home, its state, the daemon, the store, disk, clock, exports and write logs. Ends with 0 when nothing is wrong, ' +
    'also with warnings; else with the exit code of what is wrong first.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<void> {
    const { flags } = await this.parse(Doctor);
    await using session = this.session(flags);
    const found = await session.call('doctor', {});
    await session.print(found, (style) => doctorText(found, style));
    const kind = worstKind(found);
    if (kind !== undefined) session.endAs(kind);
    await session.next('sgw status');
  }
}
