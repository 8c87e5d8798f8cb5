import { Flags } from '@oclif/core';
import { runFlags, runSettings } from '../../core/cli/gateway/index.ts';
import { flagsOf, SgwCommand } from '../../core/cli/index.ts';

export default class GatewayRun extends SgwCommand {
  static override summary = 'Run the gateway in the foreground.';
  static override description =
    'Serves the volumes of this home and the local API until it is stopped: SIGTERM or Ctrl-C lets clients go, brings what is ' +
    'not in the store there, and ends; a second one ends at once, which loses nothing that was acknowledged. SIGHUP makes it ' +
    'read its configuration again. The log is on standard error, one JSON document a line, or readable on a terminal. ' +
    'For an encrypted store give --key-file or --passphrase-file; its key then stays in the memory of this process. ' +
    'This is what a service manager starts (deploy/sgw-gateway.service); by hand, gateway start is handier.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --key-file /etc/sgw/store.key --metrics-listen 9464',
  ];
  static override flags = flagsOf('gateway run', {
    ...runFlags,
    background: Flags.boolean({ hidden: true, description: 'As gateway start runs it.' }),
    replace: Flags.boolean({ hidden: true, description: 'Wait for the end of the gateway that runs.' }),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(GatewayRun);
    await using session = this.session(flags);
    const { logLevel, ...settings } = runSettings(flags);
    const { runGateway } = await import('../../core/daemon/run/index.ts');
    await session.runGateway(flags.background, async ({ sink, ...surroundings }) => {
      await runGateway({
        ...settings,
        ...surroundings,
        home: session.home,
        lockTimeoutMs: flags.replace ? flags['lock-timeout'] : 0,
        log: { level: logLevel, sink },
        background: flags.background,
        signal: session.signal,
        env: session.env,
      });
    });
  }
}
