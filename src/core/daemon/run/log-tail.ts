/**
 * The newest lines of a daemon's log, in memory, for who can not read its files: a gateway in the foreground has none.
 *
 * Invariants: at most `LINES_MAX` lines, each cut at `LINE_LENGTH_MAX`; a line's number never changes.
 */
import type { GatewayLogsDocument, Input } from '../../localapi/index.ts';
import type { LogSink } from './log.ts';

const LINES_MAX = 1000;
const LINE_LENGTH_MAX = 8192;
const LINES_DEFAULT = 100;

export class LogTail implements LogSink {
  readonly #sink: LogSink;
  readonly #lines: string[] = [];
  /** Number of the line that comes next. */
  #next = 0;

  constructor(sink: LogSink) {
    this.#sink = sink;
  }

  write(line: string): void {
    this.#lines.push(line);
    this.#next += 1;
    if (this.#lines.length > LINES_MAX) this.#lines.shift();
    this.#sink.write(line);
  }

  read({ lines = LINES_DEFAULT, after }: Input<'gateway.logs'>): GatewayLogsDocument {
    // A number of a daemon before this one.
    const isKnown = after !== undefined && after <= this.#next;
    const wanted = isKnown ? this.#next - after : lines;
    const newest = wanted === 0 ? [] : this.#lines.slice(-wanted);
    return { lines: newest.map(lineOf), next: this.#next };
  }
}

function lineOf(text: string): GatewayLogsDocument['lines'][number] {
  const raw = { time: null, level: 'raw', message: text.trimEnd().slice(0, LINE_LENGTH_MAX), details: {} };
  if (text.length > LINE_LENGTH_MAX) return raw;
  try {
    const { time, level, message, ...details } = JSON.parse(text) as Record<string, unknown>;
    if (typeof time !== 'string' || typeof level !== 'string') return raw;
    return { time, level, message: typeof message === 'string' ? message : '', details };
  } catch {
    return raw;
  }
}
