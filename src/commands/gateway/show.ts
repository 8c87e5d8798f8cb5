import { gatewayText } from '../../core/cli/gateway/index.ts';
import { SgwCommand, startFlag } from '../../core/cli/index.ts';

export default class GatewayShow extends SgwCommand {
  static override summary = 'Show what the gateway serves, and how it does.';
  static override description =
    'Tells of the daemon, its volumes, and how much that was acknowledged is not in the store yet. It needs a running gateway. ' +
    'The gateway top command shows the same as it changes.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];
  static override flags = { start: startFlag('gateway show') };

  async run(): Promise<void> {
    const { flags } = await this.parse(GatewayShow);
    await using session = this.session(flags);
    const gateway = await session.call('gateway.show', {}, { startsGateway: flags.start });
    await session.print(gateway, async (style, columns) => gatewayText(gateway, style, columns));
    await session.next('sgw gateway top', 'sgw gateway logs');
  }
}
