import { Flags } from '@oclif/core';
import { logLineText, readLog, remoteLog } from '../../core/cli/gateway/index.ts';
import { flagsOf, SgwCommand } from '../../core/cli/index.ts';

export default class GatewayLogs extends SgwCommand {
  static override summary = 'Show the log of the gateway.';
  static override description =
    'Prints the end of the log that a gateway in the background writes into the home, whether it runs or not. ' +
    'The log is bounded: the oldest of it goes. A gateway in the foreground has its log on its own standard error. ' +
    'From afar (--gateway) it prints what the daemon has told since its start.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> -f',
    '<%= config.bin %> <%= command.id %> --lines 1000 --json',
  ];
  static override flags = flagsOf('gateway logs', {
    follow: Flags.boolean({ char: 'f', description: 'Go on printing what is added, until Ctrl-C.' }),
    lines: Flags.integer({
      description: 'How many lines to begin with.',
      helpValue: 'N',
      default: 50,
      min: 0,
      max: 1_000_000,
    }),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(GatewayLogs);
    await using session = this.session(flags);
    const lines = session.isRemote ? remoteLog(session, flags) : readLog(session.home, flags, session.signal);
    for await (const line of lines) {
      await session.printLine(line, (style) => logLineText(line, style));
    }
  }
}
