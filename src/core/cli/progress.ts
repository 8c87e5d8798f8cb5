/**
 * Shows on standard error how far a long operation is. `auto` is a bar on a terminal and `plain` elsewhere;
 * `plain` writes a line every 30 s, so that CI does not think it hung; `json` a document a second.
 *
 * Invariants: nothing is written before an operation has lasted a moment, so quick ones stay silent; a
 * bar is cleared when it ends. Reports only store numbers: drawing has its own timer.
 */
import { formatSize } from '../kit/index.ts';
import type { Progress } from '../localapi/index.ts';
import { columnsOf, type Output } from './runtime.ts';

export const PROGRESS_MODES = ['auto', 'plain', 'json', 'none'] as const;
export type ProgressMode = (typeof PROGRESS_MODES)[number];

const PLAIN_PERIOD_MS = 30_000;
const JSON_PERIOD_MS = 1000;
const BAR_PERIOD_MS = 100;
const BAR_WIDTH = 20;
/** The rate is that of the last seconds: half of an older rate is gone after this long. */
const RATE_HALF_LIFE_MS = 3000;

export interface ProgressReporter {
  readonly report: (progress: Progress) => void;
  /** Ends the drawing; a later report is ignored. */
  stop(): void;
}

/** What is shown of one moment. Rate and time left are null while unknown. */
export interface ProgressDocument extends Progress {
  readonly bytesPerSecond: number | null;
  readonly secondsLeft: number | null;
}

const SILENT: ProgressReporter = { report: () => undefined, stop: () => undefined };

/** Starts a reporter that draws on `output` as `mode` says. */
export function startProgress(mode: ProgressMode, output: Output): ProgressReporter {
  if (mode === 'none') return SILENT;
  if (mode === 'json')
    return periodic(JSON_PERIOD_MS, (state) => output.write(`${JSON.stringify({ progress: state })}\n`));
  // On a terminal without a width ora would clear lines for ever.
  if (mode === 'auto' && output.isTTY === true && output.columns !== 0) return startBar(output);
  return periodic(PLAIN_PERIOD_MS, (state) => output.write(`${progressLine(state)}\n`));
}

/** Measures rate and time left from the reports. Exported for its test. */
export class RateMeter {
  #last: { atMs: number; doneBytes: number } | undefined;
  #bytesPerMs: number | undefined;

  /** Takes the state at a monotonic time. */
  measure(progress: Progress, atMs: number): ProgressDocument {
    const last = this.#last;
    const elapsedMs = last === undefined ? 0 : atMs - last.atMs;
    if (last === undefined || progress.doneBytes < last.doneBytes) {
      this.#last = { atMs, doneBytes: progress.doneBytes };
      this.#bytesPerMs = undefined;
    } else if (elapsedMs > 0) {
      const rate = (progress.doneBytes - last.doneBytes) / elapsedMs;
      const weight = this.#bytesPerMs === undefined ? 1 : 1 - 0.5 ** (elapsedMs / RATE_HALF_LIFE_MS);
      this.#bytesPerMs = (this.#bytesPerMs ?? 0) * (1 - weight) + rate * weight;
      this.#last = { atMs, doneBytes: progress.doneBytes };
    }
    const rate = this.#bytesPerMs;
    const leftBytes = Math.max(0, progress.totalBytes - progress.doneBytes);
    return {
      ...progress,
      bytesPerSecond: rate === undefined ? null : Math.round(rate * 1000),
      secondsLeft: rate === undefined || rate <= 0 ? null : Math.ceil(leftBytes / rate / 1000),
    };
  }
}

/** One line for people: `importing golden: 1.2 GiB of 4 GiB (30 %), 210 MiB/s, 14 s left`; the label alone while nothing is counted. */
export function progressLine(state: ProgressDocument): string {
  if (state.doneBytes === 0 && state.totalBytes === 0) return state.label;
  const share = state.totalBytes === 0 ? 0 : Math.min(100, Math.floor((100 * state.doneBytes) / state.totalBytes));
  const amount =
    state.totalBytes === 0
      ? formatSize(state.doneBytes)
      : `${formatSize(state.doneBytes)} of ${formatSize(state.totalBytes)} (${String(share)} %)`;
  const rate = state.bytesPerSecond === null ? '' : `, ${formatSize(state.bytesPerSecond)}/s`;
  const left = state.secondsLeft === null || state.totalBytes === 0 ? '' : `, ${formatSeconds(state.secondsLeft)} left`;
  return `${state.label}: ${amount}${rate}${left}`;
}

function formatSeconds(seconds: number): string {
  if (seconds < 120) return `${String(seconds)} s`;
  if (seconds < 7200) return `${String(Math.round(seconds / 60))} min`;
  return `${String(Math.round(seconds / 3600))} h`;
}

function periodic(periodMs: number, draw: (state: ProgressDocument) => void): ProgressReporter {
  const meter = new RateMeter();
  let newest: Progress | undefined;
  const timer = setInterval(() => {
    if (newest !== undefined) draw(meter.measure(newest, performance.now()));
  }, periodMs);
  timer.unref();
  return {
    report: (progress) => {
      if (newest === undefined) meter.measure(progress, performance.now());
      newest = progress;
    },
    stop: () => {
      clearInterval(timer);
    },
  };
}

/** A spinner with a bar, by ora on standard error, loaded only when there is something to draw. */
function startBar(output: Output): ProgressReporter {
  let spinner: { text: string; stop(): unknown } | undefined;
  let isStopped = false;
  let isLoading = false;
  const show = async (text: string): Promise<void> => {
    isLoading = true;
    const { default: ora } = await import('ora');
    // A stop while ora was loading leaves nothing to draw.
    if (!isStopped) {
      spinner = ora({ text, discardStdin: false, hideCursor: false }).start();
    }
  };
  const reporter = periodic(BAR_PERIOD_MS, (state) => {
    const text = barText(state, columnsOf(output));
    if (spinner !== undefined) spinner.text = text;
    else if (!isLoading) void show(text);
  });
  return {
    report: reporter.report,
    stop: () => {
      isStopped = true;
      reporter.stop();
      spinner?.stop();
    },
  };
}

function barText(state: ProgressDocument, columns: number): string {
  const line = progressLine(state);
  if (state.totalBytes === 0 || columns < line.length + BAR_WIDTH + 6) return line.slice(0, Math.max(10, columns - 4));
  const filled = Math.round(BAR_WIDTH * Math.min(1, state.doneBytes / state.totalBytes));
  return `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${line}`;
}
