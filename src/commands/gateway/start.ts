import {
  gatewayStartFields,
  runFlags,
  runSettings,
  START_TIMEOUT_MS,
  startGateway,
  startTimeoutFlag,
} from '../../core/cli/gateway/index.ts';
import { flagsOf, SgwCommand } from '../../core/cli/index.ts';

export default class GatewayStart extends SgwCommand {
  static override summary = 'Start the gateway in the background.';
  static override description =
    'Starts the daemon of this home, which serves its volumes, and waits until it can be used or says why it can not. ' +
    'One that runs already is left alone. The other commands then speak to it. ' +
    'For an encrypted store the passphrase is asked for, or read from --key-file or --passphrase-file; ' +
    'the key then stays in the memory of the daemon, and is in none of its arguments and variables.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --key-file /media/usb/sgw.key --metrics-listen 9464',
  ];
  static override flags = flagsOf('gateway start', { ...runFlags, timeout: startTimeoutFlag() });

  async run(): Promise<void> {
    const { flags } = await this.parse(GatewayStart);
    await using session = this.session(flags);
    const { args } = runSettings(flags);
    const result = await startGateway(session, { args, timeoutMs: flags.timeout ?? START_TIMEOUT_MS });
    await session.print(result, (style) => gatewayStartFields(result, style));
    await session.next('sgw gateway show', 'sgw volume list');
  }
}
