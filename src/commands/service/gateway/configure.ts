import { Flags } from '@oclif/core';
import { flagsOf, nameFlag, referenceArgument, requireAny, SgwCommand } from '../../../core/cli/index.ts';
import {
  configuredGatewayFields,
  configureServiceGateway,
  providedFlags,
  providedServing,
} from '../../../core/cli/service/index.ts';

export default class ServiceGatewayConfigure extends SgwCommand {
  static override summary = 'Change the configuration of a gateway, or answer its operator.';
  static override description =
    'The service owns the configuration of gateways that were activated there. A change makes its next version; a gateway that is ' +
    'connected has it at once, another one at its next connection, and says whether it is in force. What the operator at the ' +
    'gateway wants otherwise waits here: --accept takes it over, but for what is said beside it, and --refuse does not. ' +
    'Paths, listeners, TLS and remote management stay with that operator.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab --name lab-2 --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> lab --cache 50GiB --buffer 8GiB --seal-interval 5s',
    '<%= config.bin %> <%= command.id %> lab --accept --buffer 4GiB',
    '<%= config.bin %> <%= command.id %> lab --refuse --reason "not in your plan" --json',
  ];
  static override args = { gateway: referenceArgument('gateway', 'Gateway: id or name.') };
  static override flags = flagsOf('service gateway configure', {
    name: nameFlag({ description: 'New name of the gateway.' }),
    region: Flags.string({ description: 'New region of the gateway.', helpValue: 'REGION' }),
    ...providedFlags,
    accept: Flags.boolean({ description: 'Take over what its operator asks for.', exclusive: ['refuse'] }),
    refuse: Flags.boolean({ description: 'Tell its operator that it stays as it is.', exclusive: ['accept'] }),
    reason: Flags.string({ description: 'Words for its operator, with --accept or --refuse.', helpValue: 'TEXT' }),
    'if-version': Flags.integer({
      description: 'Only while this is the newest version of the configuration.',
      helpValue: 'VERSION',
      min: 1,
    }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceGatewayConfigure);
    const { name, region, accept, refuse, reason } = flags;
    const serving = providedServing(flags);
    const answers = accept || refuse;
    requireAny({
      ...{ '--name': name, '--region': region, '--cache': serving },
      ...{ '--accept': answers ? true : undefined, '--refuse': answers ? true : undefined },
    });
    await using session = this.session(flags);
    const document = await configureServiceGateway(session, args.gateway, {
      ...{ name, region, expectedVersion: flags['if-version'] },
      ...(serving === undefined ? {} : { serving }),
      answer: answers ? { accept, reason: reason ?? null } : undefined,
    });
    await session.print(document, (style) => configuredGatewayFields(document, style));
    await session.next(`sgw service gateway show ${document.gatewayId}`);
  }
}
