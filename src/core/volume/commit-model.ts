/**
 * How many commits other seal intervals would have made of the same writes: the uploader's rule (`Uploader.#due`), played
 * with the records that it has cut into segments. A commit is made when the log holds a segment's worth, when the interval is
 * over since the first record in it, or when somebody asks for it; without writes there is none.
 *
 * What it leaves out: an uploader that is slower than the writers takes more into a segment, and a store that is away
 * delays commits, so that these are at most what is counted here.
 */
export const MODELLED_INTERVALS_MS = [10_000, 60_000, 300_000, 900_000, 3_600_000] as const;

interface Waiting {
  /** When the first record that is in no segment was appended; undefined when there is none. */
  sinceMs: number | undefined;
  logBytes: number;
  commits: number;
}

export class CommitModel {
  readonly #sealBytes: number;
  readonly #rows: readonly { readonly intervalMs: number; readonly waiting: Waiting }[];

  /** `sealBytes`: what the log holds when a segment is due. */
  constructor(sealBytes: number, intervalsMs: readonly number[] = MODELLED_INTERVALS_MS) {
    this.#sealBytes = sealBytes;
    this.#rows = intervalsMs.map((intervalMs) => ({
      intervalMs,
      waiting: { sinceMs: undefined, logBytes: 0, commits: 0 },
    }));
  }

  /** The next record of the log, appended at `atMs`. */
  appended(logBytes: number, atMs: number): void {
    for (const { intervalMs, waiting } of this.#rows) {
      // A clock that was set back begins anew.
      if (waiting.sinceMs !== undefined && (atMs - waiting.sinceMs >= intervalMs || atMs < waiting.sinceMs))
        commit(waiting);
      waiting.sinceMs ??= atMs;
      waiting.logBytes += logBytes;
      if (waiting.logBytes >= this.#sealBytes) commit(waiting);
    }
  }

  /** Somebody asked for everything to be committed: a snapshot, a writer that waits for the store, an end. */
  asked(): void {
    for (const { waiting } of this.#rows) if (waiting.sinceMs !== undefined) commit(waiting);
  }

  /** Commits so far, for each interval; what waits counts with what comes next. */
  get commits(): readonly number[] {
    return this.#rows.map(({ waiting }) => waiting.commits);
  }
}

function commit(waiting: Waiting): void {
  waiting.commits += 1;
  waiting.sinceMs = undefined;
  waiting.logBytes = 0;
}
