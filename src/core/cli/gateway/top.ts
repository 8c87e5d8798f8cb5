/**
 * `gateway top`: looks at the gateway again and again, and shows what happened between. On a terminal it has the screen to itself
 * until q or Ctrl-C; elsewhere it prints documents or a table.
 *
 * Invariant: the terminal is as it was before, whatever ends it.
 */
import type { Readable } from 'node:stream';
import { SgwError, systemClock } from '../../kit/index.ts';
import type { GatewayDocument } from '../../localapi/index.ts';
import type { TopDocument } from '../documents.ts';
import { columnsOf, type Output } from '../runtime.ts';
import type { Style } from '../style.ts';
import { ratesBetween } from './rates.ts';
import { topLines } from './top-view.ts';

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';
/** q, Ctrl-C and Escape; an arrow key begins with Escape, but is longer. */
const KEYS_TO_LEAVE: ReadonlySet<string> = new Set(['q', 'Q', '\u0003', '\u001b']);
const DEFAULT_ROWS = 24;
/** For a table that is printed: all of it. */
const ALL_ROWS = 10_000;

export interface TopOptions {
  readonly intervalMs: number;
  readonly signal: AbortSignal;
  /** Looks at the gateway now. */
  readonly look: () => Promise<GatewayDocument>;
}

/** The terminal that a screen is drawn on. */
export interface Terminal {
  readonly stdin: Readable & { setRawMode?: (isRaw: boolean) => unknown };
  readonly stdout: Output & { readonly rows?: number };
  readonly style: Style;
}

/** What happened since the last look, every interval, until the signal fires. @throws what looking throws */
export async function* watchGateway({ intervalMs, signal, look }: TopOptions): AsyncGenerator<TopDocument> {
  let before = await look();
  for (;;) {
    await pause(intervalMs, signal);
    if (signal.aborted) return;
    const now = await look();
    yield ratesBetween(before, now, new Date(systemClock.nowMs()).toISOString());
    before = now;
  }
}

/** As `top` prints it where it can not draw. */
export const topTable = (top: TopDocument, style: Style, columns: number): string =>
  topLines(top, style, Number.isFinite(columns) ? columns : 120, ALL_ROWS).join('\n');

/** Draws until the user leaves. A gateway that goes away is waited for: it may come back. */
export async function drawTop(terminal: Terminal, { intervalMs, signal, look }: TopOptions): Promise<void> {
  const leave = new AbortController();
  const over = AbortSignal.any([signal, leave.signal]);
  using screen = openScreen(terminal, () => {
    leave.abort();
  });
  let before: GatewayDocument | undefined;
  while (!over.aborted) {
    try {
      const now = await look();
      // The first look has nothing before it: its rates are those since the start.
      screen.show(ratesBetween(before, now, new Date(systemClock.nowMs()).toISOString()));
      before = now;
    } catch (error) {
      if (!(error instanceof SgwError) || error.kind !== 'unavailable' || before === undefined)
        throwUnlessOver(error, over);
      screen.say('the gateway is gone; waiting for it');
    }
    await pause(intervalMs, over);
  }
}

function throwUnlessOver(error: unknown, over: AbortSignal): void {
  if (!over.aborted) throw error;
}

async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  await systemClock.sleep(durationMs, signal).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

interface Screen extends Disposable {
  show(top: TopDocument): void;
  /** Says something below what is shown. */
  say(text: string): void;
}

function openScreen({ stdin, stdout, style }: Terminal, onLeave: () => void): Screen {
  let shown: TopDocument | undefined;
  let said = 'q leaves';
  const draw = (): void => {
    const columns = columnsOf(stdout);
    const rows = stdout.rows === undefined || stdout.rows <= 0 ? DEFAULT_ROWS : stdout.rows;
    const lines = shown === undefined ? [] : topLines(shown, style, columns, rows - 2);
    const all = [...lines, '', style.dim(said.slice(0, columns))];
    stdout.write(`${HOME}${all.map((line) => `${line}${CLEAR_LINE}`).join('\r\n')}${CLEAR_BELOW}`);
  };
  const onKey = (key: Buffer | string): void => {
    if (KEYS_TO_LEAVE.has(key.toString())) onLeave();
  };
  const restore = (): void => {
    stdin.setRawMode?.(false);
    stdout.write(LEAVE);
  };
  stdout.write(ENTER);
  stdin.setRawMode?.(true);
  stdin.on('data', onKey);
  stdout.on('resize', draw);
  process.once('exit', restore);
  draw();
  return {
    show: (top) => {
      shown = top;
      said = 'q leaves';
      draw();
    },
    say: (text) => {
      said = text;
      draw();
    },
    [Symbol.dispose]: () => {
      process.off('exit', restore);
      stdin.off('data', onKey);
      stdin.pause();
      stdout.off('resize', draw);
      restore();
    },
  };
}
