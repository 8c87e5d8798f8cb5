import { Flags } from '@oclif/core';
import { gatewayStopFields, stopGateway } from '../../core/cli/gateway/index.ts';
import { flagsOf, parseDuration, SgwCommand } from '../../core/cli/index.ts';

export default class GatewayStop extends SgwCommand {
  static override summary = 'Stop the gateway.';
  static override description =
    'Lets clients go, brings what is not in the store there, and waits until the process is gone. What can not be brought ' +
    'there in time stays in the home, and is served again by the next start: nothing that was acknowledged is lost. ' +
    'With --no-drain it all stays there, which is quick. A gateway that does not run is a success. ' +
    'One that is stopped from afar (--gateway) is started again on its machine.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --timeout 10m',
    '<%= config.bin %> <%= command.id %> --no-drain',
  ];
  static override flags = flagsOf('gateway stop', {
    timeout: Flags.custom<number>({
      description: 'How long to wait for what is not in the store yet.',
      helpValue: 'DURATION',
      default: 30_000,
      defaultHelp: async () => '30s',
      noCacheDefault: true,
      parse: async (text) => parseDuration(text, '--timeout'),
    })(),
    'no-drain': Flags.boolean({ description: 'Leave in the home what is not in the store yet.' }),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(GatewayStop);
    await using session = this.session(flags);
    const wish = { drain: !flags['no-drain'], timeoutMs: flags.timeout };
    const result = await (session.isRemote ? session.call('gateway.stop', wish) : stopGateway(session, wish));
    await session.print(result, (style) => gatewayStopFields(result, style));
  }
}
