import { Args } from '@oclif/core';
import { SgwCommand } from '../../core/cli/index.ts';
import { alertTable, showAlerts } from '../../core/cli/service/index.ts';

export default class AlertShow extends SgwCommand {
  static override summary = 'Show the alerts of the account, and what fires.';
  static override description =
    'Shows what the service watches, what is above its threshold now, since when, and whether the webhook has been told.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> gone --json',
  ];
  static override args = {
    name: Args.string({ description: 'Name of the alert; all when none is given.', ignoreStdin: true }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(AlertShow);
    await using session = this.session(flags);
    const list = await showAlerts(session, args.name);
    await session.print(list, async (style, columns) => alertTable(list, style, columns));
    await session.next('sgw alert set NAME --not-connected 15m --webhook URL');
  }
}
