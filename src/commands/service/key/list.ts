import { allAccountsFlag, flagsOf, SgwCommand } from '../../../core/cli/index.ts';
import { accessKeyTable, listAccessKeys } from '../../../core/cli/service/index.ts';

export default class ServiceKeyList extends SgwCommand {
  static override summary = 'List access keys.';
  static override description =
    'Lists the access keys of an account, revoked ones too, without their secrets: of the account of the key that asks, or, for whoever runs the service, of --account or --all.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --all --json',
  ];
  static override flags = flagsOf('service key list', { all: allAccountsFlag });

  async run(): Promise<void> {
    const { flags } = await this.parse(ServiceKeyList);
    await using session = this.session(flags);
    const list = await listAccessKeys(session, flags.all);
    await session.print(list, async (style, columns) => accessKeyTable(list, style, columns));
    await session.next('sgw service key create USER', 'sgw service key revoke ID');
  }
}
