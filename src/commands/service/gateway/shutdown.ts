import { Flags } from '@oclif/core';
import {
  confirmDestruction,
  flagsOf,
  referenceArgument,
  SgwCommand,
  timeoutFlag,
  yesFlag,
} from '../../../core/cli/index.ts';
import {
  checkShutdownFlags,
  resumeServiceGateway,
  serviceGatewayOf,
  shutdownFields,
  shutDownServiceGateway,
} from '../../../core/cli/service/index.ts';

export default class ServiceGatewayShutdown extends SgwCommand {
  static override summary = 'End what a gateway serves, from afar, or have it served again.';
  static override description =
    'Lets the gateway bring to the store what is not there yet, as far as the store answers, and ends what it serves, also over ' +
    'restarts of its machine, until --resume. Its daemon stays, and what is attached stays attached; what the store did not take is in its write logs. ' +
    "With --deregister its daemon is stopped, and the gateway is the service's no more, for good: its credential and its certificate are void at once, also if it can not be reached. " +
    'Volumes and snapshots stay. Asks on a terminal, and needs --yes elsewhere. To stop the daemon of a gateway, which only somebody at its machine starts again: sgw gateway stop --gateway GATEWAY.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> lab --resume',
    '<%= config.bin %> <%= command.id %> sgw-01234567 --deregister --yes --json',
  ];
  static override args = { gateway: referenceArgument('gateway', 'Gateway: id or name.') };
  static override flags = flagsOf('service gateway shutdown', {
    deregister: Flags.boolean({ description: 'Take the gateway away from the service as well.' }),
    'no-drain': Flags.boolean({
      description: 'With --deregister: stop the daemon at once; what is not in the store stays in the write logs.',
    }),
    resume: Flags.boolean({ description: 'Serve again what was ended so.', exclusive: ['deregister'] }),
    timeout: timeoutFlag({ description: 'With --deregister: how long the daemon may bring data to the store.' }),
    yes: yesFlag,
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceGatewayShutdown);
    await using session = this.session(flags);
    const { deregister, resume, timeout: timeoutMs } = flags;
    checkShutdownFlags(flags);
    if (resume) {
      const resumed = await resumeServiceGateway(session, args.gateway);
      await session.print(resumed, (style) => shutdownFields(resumed, style));
      return;
    }
    await confirmDestruction(session, flags.yes, {
      what: `${deregister ? 'stop and deregister' : 'end what is served by'} gateway ${args.gateway}`,
      lookUp: async () => {
        const { gatewayName, gatewayId, accountId } = await serviceGatewayOf(session, args.gateway);
        return `It is ${gatewayName} (${gatewayId}) of account ${accountId}.`;
      },
    });
    const how = { drain: !flags['no-drain'], timeoutMs, deregister };
    const document = await shutDownServiceGateway(session, args.gateway, how);
    await session.print(document, (style) => shutdownFields(document, style));
    await session.next(
      deregister ? 'sgw service gateway list' : `sgw service gateway shutdown ${document.gatewayId} --resume`,
    );
  }
}
