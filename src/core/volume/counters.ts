/** What a served volume counts, and what is made of it. Plain numbers, so that counting costs nothing on the hot path. */
import type { Clock } from '../kit/index.ts';

export class Counters {
  readOps = 0;
  readBytes = 0;
  writeOps = 0;
  writeBytes = 0;
  flushOps = 0;
  readMs = 0;
  writeMs = 0;
  flushMs = 0;
  logHits = 0;
  cacheHits = 0;
  storeReads = 0;
  uploadedBytes = 0;
  downloadedBytes = 0;
  commits = 0;
  uploadErrors = 0;
  waitingWrites = 0;
  lastCommitMs: number | null = null;
  modelledCommits: readonly number[] = [];
}

type TimedKind = 'readMs' | 'writeMs' | 'flushMs';

/** Counts how long calls take. Calls that share a promise, as those of a group commit, are counted together. */
export class CallTimer {
  readonly #clock: Clock;
  readonly #counters: Counters;
  #current: { promise: Promise<void>; kind: TimedKind; ops: number } | undefined;

  constructor(clock: Clock, counters: Counters) {
    this.#clock = clock;
    this.#counters = counters;
  }

  /** Returns the promise. */
  time(promise: Promise<void>, kind: TimedKind): Promise<void> {
    const current = this.#current;
    if (current?.promise === promise && current.kind === kind) {
      current.ops += 1;
      return promise;
    }
    const started = this.#clock.monotonicMs();
    const calls = { promise, kind, ops: 1 };
    this.#current = calls;
    const done = (): void => {
      this.#counters[kind] += calls.ops * (this.#clock.monotonicMs() - started);
    };
    promise.then(done, done);
    return promise;
  }
}

const WINDOW_MS = 60_000;
const SAMPLES_MAX = 64;

interface Sample {
  readonly atMs: number;
  readonly dirtyBytes: number;
}

/** Forecasts when a buffer will be full, from how its use changed in the last minute. */
export class Forecast {
  #samples: Sample[] = [];

  /** Takes note of the buffer's use; to be called now and then, at most once a second is kept. */
  note(atMs: number, dirtyBytes: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && atMs - last.atMs < 1000) return;
    this.#samples.push({ atMs, dirtyBytes });
    const from = atMs - WINDOW_MS;
    this.#samples = this.#samples.filter((sample) => sample.atMs >= from).slice(-SAMPLES_MAX);
  }

  /** Milliseconds until `capacityBytes` are in use, at the pace of the last minute; null when it is not growing. */
  fullInMs(atMs: number, dirtyBytes: number, capacityBytes: number): number | null {
    const [first] = this.#samples;
    if (first === undefined || atMs - first.atMs < 1000) return null;
    const perMs = (dirtyBytes - first.dirtyBytes) / (atMs - first.atMs);
    if (perMs <= 0) return null;
    return Math.max(0, Math.round((capacityBytes - dirtyBytes) / perMs));
  }
}
