import { flagsOf, ifExistsFlag, nameArgument, SgwCommand } from '../../core/cli/index.ts';
import { alertRemovedText, removeAlert } from '../../core/cli/service/index.ts';

export default class AlertRemove extends SgwCommand {
  static override summary = 'Remove an alert.';
  static override description = 'Nothing more is told of it, also not that what fires has ended.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> gone --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> gone --if-exists --json',
  ];
  static override args = { name: nameArgument('name', 'Name of the alert.') };
  static override flags = flagsOf('alert remove', { 'if-exists': ifExistsFlag });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(AlertRemove);
    await using session = this.session(flags);
    const removed = await removeAlert(session, args.name, flags['if-exists']);
    await session.print(removed, () => alertRemovedText(removed));
    await session.next('sgw alert show');
  }
}
