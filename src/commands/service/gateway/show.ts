import { referenceArgument, SgwCommand } from '../../../core/cli/index.ts';
import { serviceGatewayText, showServiceGateway } from '../../../core/cli/service/index.ts';

export default class ServiceGatewayShow extends SgwCommand {
  static override summary = 'Show a gateway, as the service knows it and as it says itself.';
  static override description =
    'Shows what the service knows of a gateway, and, if its daemon is connected and its operator allows it, what `sgw status` prints there.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> sgw-01234567 --json',
  ];
  static override args = { gateway: referenceArgument('gateway', 'Gateway: id or name.') };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceGatewayShow);
    await using session = this.session(flags);
    const document = await showServiceGateway(session, args.gateway);
    await session.print(document, (style) => serviceGatewayText(document, style));
    await session.next(`sgw volume list --gateway ${document.gatewayId}`);
  }
}
