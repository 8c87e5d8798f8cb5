import { flagsOf, SgwCommand } from '../../core/cli/index.ts';
import { serviceReadyFields, serviceRunFlags, serviceRunSettings } from '../../core/cli/service/index.ts';

export default class ServiceRun extends SgwCommand {
  static override summary = 'Run a server of the service.';
  static override description =
    'Serves the APIs that customers use (HTTPS, signed by access keys) and what gateways connect to (mutual TLS), until it is ' +
    'stopped: SIGTERM or Ctrl-C refuses new requests, answers those under way, and ends; a second one ends at once, which ' +
    'loses nothing that was answered. All state is in the store, so any number of servers run over one; they share the ' +
    'service key, which opens the secrets in the store and is nowhere else: keep a copy of it. ' +
    "The first start makes the store, the service's CA, the root account and its access key, which is printed once. " +
    'It listens on this machine alone unless --listen and --gateway-listen say otherwise. ' +
    'With --keys provider a new store is sealed by the service: whoever reads its directory or bucket reads nothing. ' +
    'Over an encrypted store give --key-file or --passphrase-file; the key then stays in the memory of this process.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --store s3://backups/sgw --listen 0.0.0.0:443 --gateway-listen 0.0.0.0:8444 --server-name sgw.example.org',
    '<%= config.bin %> <%= command.id %> --store s3://backups/sgw --service-key-file /etc/sgw/service.key --nats nats://10.0.0.7:4222 --json',
    '<%= config.bin %> <%= command.id %> --store s3://backups/sealed --service-key-file /etc/sgw/service.key --keys provider',
  ];
  static override flags = flagsOf('service run', serviceRunFlags);

  async run(): Promise<void> {
    const { flags } = await this.parse(ServiceRun);
    await using session = this.session(flags);
    const settings = serviceRunSettings(flags, session.env);
    const { runService } = await import('../../core/daemon/service/index.ts');
    await session.runServer(flags['log-file'], async (sink) => {
      await runService({
        ...settings,
        home: session.home,
        log: { level: flags['log-level'] ?? 'info', sink },
        secrets: session.secrets,
        signal: session.signal,
        onReady: async (ready) => {
          await session.printLine(ready, (style) => serviceReadyFields(ready, style));
        },
      });
    });
  }
}
