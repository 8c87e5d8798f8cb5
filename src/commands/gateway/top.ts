import { Flags } from '@oclif/core';
import { drawTop, topTable, watchGateway } from '../../core/cli/gateway/index.ts';
import { flagsOf, parseDuration, SgwCommand, startFlag } from '../../core/cli/index.ts';

export default class GatewayTop extends SgwCommand {
  static override summary = 'Watch what the gateway does.';
  static override description =
    'Shows, every second, what each volume does: reads and writes a second (R/s, W/s), MiB a second, the mean time of a read and ' +
    'a write in milliseconds, the share of reads that the store was not asked for (HIT%), how full the upload buffer is (BUF%), ' +
    'writers that wait for room in it (QUE), what is acknowledged and not in the store and for how long (EXPOSED, AGE), and ' +
    'when the buffer will be full if all goes on so (FULL). q or Ctrl-C leaves. Where it can not draw, it prints once. ' +
    'With --json it prints a document a line until Ctrl-C, or once with --once. It needs a running gateway.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --once',
    '<%= config.bin %> <%= command.id %> --json --interval 10s',
  ];
  static override flags = flagsOf('gateway top', {
    once: Flags.boolean({ description: 'Print what happens in one interval, and end.' }),
    interval: Flags.custom<number>({
      description: 'How long to wait between two looks. [default: 1s]',
      helpValue: 'DURATION',
      parse: async (text) => Math.max(100, parseDuration(text, '--interval')),
    })(),
    start: startFlag('gateway top'),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(GatewayTop);
    await using session = this.session(flags);
    const { signal, terminal } = session;
    const startsGateway = flags.start;
    const look = async () => session.call('gateway.show', {}, { startsGateway, isRepeated: true });
    const options = { intervalMs: flags.interval ?? 1000, signal, look };
    if (terminal !== undefined && !flags.once) {
      await drawTop(terminal, options);
      return;
    }
    for await (const top of watchGateway(options)) {
      await session.printLine(top, (style, columns) => topTable(top, style, columns));
      if (flags.once || !session.isJson) return;
    }
  }
}
