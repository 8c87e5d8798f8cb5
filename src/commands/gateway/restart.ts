import {
  gatewayRestartFields,
  restartGateway,
  START_TIMEOUT_MS,
  startTimeoutFlag,
} from '../../core/cli/gateway/index.ts';
import { flagsOf, SgwCommand } from '../../core/cli/index.ts';

export default class GatewayRestart extends SgwCommand {
  static override summary = 'Replace the running gateway by a new process.';
  static override description =
    'Starts a new process with the flags of the old one, and lets it take over once it has loaded everything, and has the key ' +
    'of an encrypted store. Clients that connect again, such as qemu with reconnect-delay, see a short pause and no error. ' +
    'What is not in the store yet stays in the home meanwhile. A gateway that does not run is started.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];
  static override flags = flagsOf('gateway restart', { timeout: startTimeoutFlag() });

  async run(): Promise<void> {
    const { flags } = await this.parse(GatewayRestart);
    await using session = this.session(flags);
    const result = await restartGateway(session, flags.timeout ?? START_TIMEOUT_MS);
    await session.print(result, (style) => gatewayRestartFields(result, style));
    await session.next('sgw gateway show');
  }
}
