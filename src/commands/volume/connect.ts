import { connectFlags, connectSettings, connectText, homeSight } from '../../core/cli/connect/index.ts';
import { flagsOf, referenceArgument, SgwCommand } from '../../core/cli/index.ts';

export default class VolumeConnect extends SgwCommand {
  static override summary = 'Serve a volume at a place of this machine, wherever it is held.';
  static override description =
    'A local NBD endpoint in the foreground that follows the volume: its requests go to the gateway that holds it, and when that is ' +
    'gone, to the one that has taken over, all that were not answered, in their order. Whoever uses it, such as a file ' +
    'system, sees a pause and no error. With --from it needs no home: it tries the gateways that are named. Without, it asks ' +
    'the home where the volume is. SIGTERM or Ctrl-C flushes and ends it. What happens is told on standard error, or with --json ' +
    'one document a line. docs/CONNECT.md shows it with file systems, qemu and systemd.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> db --listen unix:/run/sgw/db.sock --from 10.0.0.7:10809,10.0.0.8:10809',
    '<%= config.bin %> <%= command.id %> db --listen tcp:127.0.0.1:10809 --json',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, name, or with --from what the gateways serve it as.'),
  };
  static override flags = flagsOf('volume connect', connectFlags);

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeConnect);
    await using session = this.session(flags);
    const settings = connectSettings(args.volume, flags);
    const { runConnect } = await import('../../core/daemon/connect/index.ts');
    /** One after the other. */
    let told = Promise.resolve();
    await runConnect({
      ...settings,
      look: homeSight(session, args.volume, flags.export),
      signal: session.signal,
      tell: (document) => {
        const isForStdout = session.isJson || document.event === 'ready';
        told = told.then(async () =>
          isForStdout ? session.printLine(document, () => connectText(document)) : session.say(connectText(document)),
        );
      },
    });
    await told;
  }
}
