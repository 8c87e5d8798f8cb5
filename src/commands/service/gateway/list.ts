import { allAccountsFlag, flagsOf, SgwCommand } from '../../../core/cli/index.ts';
import { listServiceGateways, serviceGatewayTable } from '../../../core/cli/service/index.ts';

export default class ServiceGatewayList extends SgwCommand {
  static override summary = 'List the gateways of an account.';
  static override description =
    'Lists gateways that were activated at the service, also those that have left: of the account of the access key, or, for whoever runs the service, of --account or --all.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> --all --json',
  ];
  static override flags = flagsOf('service gateway list', { all: allAccountsFlag });

  async run(): Promise<void> {
    const { flags } = await this.parse(ServiceGatewayList);
    await using session = this.session(flags);
    const list = await listServiceGateways(session, flags.all);
    await session.print(list, async (style, columns) => serviceGatewayTable(list, style, columns));
    await session.next('sgw service gateway show GATEWAY', 'sgw service activate KEY');
  }
}
