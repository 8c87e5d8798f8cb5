/**
 * When reads of what are recorded: the first one by an access key, and then once an hour; export control decides on each.
 * In memory: each server records for itself, and one that starts, again.
 */
import type { Clock } from '../../kit/index.ts';
import type { Asker } from '../exportcontrol/export-control.ts';

const RECORDED_MS = 60 * 60_000;
const KNOWN_MAX = 10_000;

export class ReadingTimes {
  readonly #clock: Pick<Clock, 'nowMs'>;
  /** Oldest first. */
  readonly #recorded = new Map<string, number>();

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock;
  }

  /** Runs a read; `recorded` says whether this one is to be. One that fails is recorded each time. */
  async run<T>(asker: Asker, id: string, read: (recorded: boolean) => Promise<T>): Promise<T> {
    const name = `${asker.accountId} ${asker.accessKeyId ?? ''} ${id}`;
    const nowMs = this.#clock.nowMs();
    const atMs = this.#recorded.get(name);
    const isKnown = atMs !== undefined && nowMs - atMs < RECORDED_MS && nowMs >= atMs;
    try {
      const result = await read(!isKnown);
      if (!isKnown) this.#remember(name, nowMs);
      return result;
    } catch (error) {
      this.#recorded.delete(name);
      throw error;
    }
  }

  #remember(name: string, nowMs: number): void {
    this.#recorded.delete(name);
    this.#recorded.set(name, nowMs);
    const [oldest] = this.#recorded.keys();
    if (this.#recorded.size > KNOWN_MAX && oldest !== undefined) this.#recorded.delete(oldest);
  }
}
