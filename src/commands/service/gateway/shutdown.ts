import { Flags } from '@oclif/core';
import {
  confirmDestruction,
  flagsOf,
  referenceArgument,
  serviceGatewayOf,
  SgwCommand,
  shutdownFields,
  shutDownServiceGateway,
  timeoutFlag,
  yesFlag,
} from '../../../core/cli/index.ts';

export default class ServiceGatewayShutdown extends SgwCommand {
  static override summary = 'Stop the daemon of a gateway from afar.';
  static override description =
    'Lets the gateway bring to the store what is not there yet, and ends its daemon, which only somebody at its machine starts again. ' +
    "With --deregister the gateway is the service's no more, for good: its credential and its certificate are void at once, also if it can not be reached. " +
    'Volumes and snapshots stay. Asks on a terminal, and needs --yes elsewhere.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> sgw-01234567 --deregister --yes --json',
  ];
  static override args = { gateway: referenceArgument('gateway', 'Gateway: id or name.') };
  static override flags = flagsOf('service gateway shutdown', {
    deregister: Flags.boolean({ description: 'Take the gateway away from the service as well.' }),
    'no-drain': Flags.boolean({ description: 'Stop at once; what is not in the store stays in the write logs.' }),
    timeout: timeoutFlag({ description: 'How long it may bring data to the store.' }),
    yes: yesFlag,
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceGatewayShutdown);
    await using session = this.session(flags);
    const { deregister, timeout: timeoutMs } = flags;
    await confirmDestruction(session, flags.yes, {
      what: `${deregister ? 'stop and deregister' : 'stop'} gateway ${args.gateway}`,
      lookUp: async () => {
        const { gatewayName, gatewayId, accountId } = await serviceGatewayOf(session, args.gateway);
        return `It is ${gatewayName} (${gatewayId}) of account ${accountId}.`;
      },
    });
    const how = { drain: !flags['no-drain'], timeoutMs, deregister };
    const document = await shutDownServiceGateway(session, args.gateway, how);
    await session.print(document, (style) => shutdownFields(document, style));
    await session.next('sgw service gateway list');
  }
}
