/**
 * Keeps `<home>/usage.json` while the gateway serves: each minute what was used since the last one, on the disk every five
 * minutes and at the end, before another process may serve the home. A hint that may be lost: what can't be read or written of it is left out.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../kit/index.ts';
import type { VolumeStats } from '../../volume/index.ts';
import { COUNTED, noRequests, type RequestCounts, type RequestTally } from './tally.ts';
import { noUsage, UsageBook, type Usage } from './usage-book.ts';

const FILE_MODE = 0o600;
const SAMPLE_MS = 60_000;
const SAVE_EVERY_SAMPLES = 5;

export interface KeeperParts {
  /** Absolute path of the home directory. */
  readonly home: string;
  readonly storeId: string;
  readonly clock: Clock;
  readonly tally: RequestTally;
  /** Volumes that are served now, with their figures. */
  readonly served: () => readonly { readonly volumeId: string; readonly stats: VolumeStats }[];
}

/** As much as a counter has grown; one that began anew counts from its begin. */
const growth = (before: number, now: number): number => (now >= before ? now - before : now);

const usagePath = (home: string): string => join(home, 'usage.json');

/** What the gateway of a home has measured so far, as it is on the disk. */
export async function readUsage(home: string, storeId: string): Promise<UsageBook> {
  const text = await readFile(usagePath(home), 'utf8').catch(() => undefined);
  return UsageBook.of(storeId, text);
}

export class UsageKeeper implements AsyncDisposable {
  readonly #parts: KeeperParts;
  readonly #book: UsageBook;
  readonly #ended = new AbortController();
  readonly #requests = new Map<string, RequestCounts>();
  readonly #commits = new Map<string, Pick<VolumeStats, 'commits' | 'modelledCommits'>>();
  /** When it began to measure. */
  readonly sinceMs: number;
  #sampledMs: number;
  #running: Promise<void> | undefined;

  private constructor(parts: KeeperParts, book: UsageBook) {
    this.#parts = parts;
    this.#book = book;
    this.sinceMs = parts.clock.nowMs();
    this.#sampledMs = parts.clock.monotonicMs();
  }

  static async open(parts: KeeperParts): Promise<UsageKeeper> {
    const keeper = new UsageKeeper(parts, await readUsage(parts.home, parts.storeId));
    keeper.#running = keeper.#run();
    return keeper;
  }

  /** With everything until now. */
  get book(): UsageBook {
    this.sample();
    return this.#book;
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts;
    try {
      for (let samples = 1; ; samples++) {
        await clock.sleep(SAMPLE_MS, this.#ended.signal);
        this.sample();
        if (samples % SAVE_EVERY_SAMPLES === 0) await this.#save();
      }
    } catch {
      // Ended.
    }
  }

  /** Takes note of everything until now. */
  sample(): void {
    const { clock, tally, served } = this.#parts;
    const nowMs = clock.monotonicMs();
    const ranMs = nowMs - this.#sampledMs;
    this.#sampledMs = nowMs;
    const more = new Map<string, Usage>();
    const of = (volumeId: string): Usage => {
      const usage = more.get(volumeId) ?? noUsage();
      more.set(volumeId, usage);
      return usage;
    };
    for (const [volumeId, counts] of tally.volumes()) {
      const before = this.#requests.get(volumeId) ?? noRequests();
      const usage = of(volumeId);
      for (const name of COUNTED) usage.requests[name] += counts[name] - before[name];
      this.#requests.set(volumeId, { ...counts });
    }
    for (const { volumeId, stats } of served()) {
      const before = this.#commits.get(volumeId);
      const usage = of(volumeId);
      usage.servedMs += ranMs;
      usage.commits += growth(before?.commits ?? 0, stats.commits);
      for (const [at, commits] of stats.modelledCommits.entries())
        usage.modelledCommits[at] = growth(before?.modelledCommits[at] ?? 0, commits);
      this.#commits.set(volumeId, { commits: stats.commits, modelledCommits: stats.modelledCommits });
    }
    this.#book.note(clock.nowMs(), ranMs, more);
  }

  async #save(): Promise<void> {
    const { default: writeFileAtomic } = await import('write-file-atomic');
    const { home } = this.#parts;
    await writeFileAtomic(usagePath(home), this.#book.toText(), { mode: FILE_MODE, fsync: false }).catch(
      () => undefined,
    );
  }

  /** Notes and saves what was used until now. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    await this.#running;
    this.sample();
    await this.#save();
  }
}
