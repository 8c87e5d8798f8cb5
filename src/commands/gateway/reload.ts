import { gatewayReloadText } from '../../core/cli/gateway/index.ts';
import { SgwCommand } from '../../core/cli/index.ts';

export default class GatewayReload extends SgwCommand {
  static override summary = 'Let the gateway read its configuration again.';
  static override description =
    'Makes the running gateway read again what configure and volume configure have changed, as SIGHUP does. Clients notice ' +
    'nothing. What changed is printed.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];

  async run(): Promise<void> {
    const { flags } = await this.parse(GatewayReload);
    await using session = this.session(flags);
    const result = await session.call('gateway.reload', {});
    await session.print(result, (style) => gatewayReloadText(result, style));
  }
}
