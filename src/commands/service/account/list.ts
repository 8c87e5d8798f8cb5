import { accountTable, SgwCommand } from '../../../core/cli/index.ts';
import { listRemoteAccounts } from '../../../core/cli/service/index.ts';

export default class ServiceAccountList extends SgwCommand {
  static override summary = 'List accounts.';
  static override description =
    'Lists the accounts of the store, the default one included. With --service, those of that service, for whoever runs it.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<void> {
    const { flags } = await this.parse(ServiceAccountList);
    await using session = this.session(flags);
    const list =
      session.serviceUrl === undefined
        ? await session.call('service.account.list', {})
        : await listRemoteAccounts(session);
    await session.print(list, async (style, columns) => accountTable(list, style, columns));
    await session.next('sgw service account create NAME');
  }
}
