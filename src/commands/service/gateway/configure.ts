import { Flags } from '@oclif/core';
import {
  configuredGatewayFields,
  configureServiceGateway,
  flagsOf,
  nameFlag,
  referenceArgument,
  requireAny,
  SgwCommand,
} from '../../../core/cli/index.ts';

export default class ServiceGatewayConfigure extends SgwCommand {
  static override summary = 'Change the configuration of a gateway at the service.';
  static override description =
    'The service owns the configuration of gateways that were activated there. A change makes its next version, which the gateway takes when it hears of it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab --name lab-2 --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> sgw-01234567 --region berlin --json',
  ];
  static override args = { gateway: referenceArgument('gateway', 'Gateway: id or name.') };
  static override flags = flagsOf('service gateway configure', {
    name: nameFlag({ description: 'New name of the gateway.' }),
    region: Flags.string({ description: 'New region of the gateway.', helpValue: 'REGION' }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceGatewayConfigure);
    requireAny({ '--name': flags.name, '--region': flags.region });
    await using session = this.session(flags);
    const { name, region } = flags;
    const document = await configureServiceGateway(session, args.gateway, { name, region });
    await session.print(document, (style) => configuredGatewayFields(document, style));
    await session.next(`sgw service gateway show ${document.gatewayId}`);
  }
}
