/**
 * Keeps commands that read and then write (COMPARE AND WRITE, ORWRITE) apart from everything else on the same blocks. Others share.
 *
 * Invariant: a command waits for commands that came before it, overlap it, and are exclusive, or any when it is exclusive itself. So
 * nobody starves, and there is no deadlock. While no exclusive one is there, nobody waits; calls that are under way are only noted,
 * so that an exclusive one that comes knows of them.
 */
export interface Extent {
  readonly start: number;
  readonly end: number;
}

interface Entry extends Extent {
  readonly isExclusive: boolean;
  readonly ended: Promise<unknown>;
}

export class ExtentLocks {
  readonly #entries = new Set<Entry>();
  #exclusive = 0;

  /** Nobody is exclusive: others go on without `run`, and `note` what does not end at once. */
  get isFree(): boolean {
    return this.#exclusive === 0;
  }

  /** A call is under way; `ended` never rejects. The answer is to be forgotten when it has. */
  note(start: number, end: number, ended: Promise<unknown>): Entry {
    const entry = { start, end, isExclusive: false, ended };
    this.#entries.add(entry);
    return entry;
  }

  forget(entry: Entry): void {
    this.#entries.delete(entry);
  }

  /** Runs `work` when its turn has come. */
  async run<T>(start: number, end: number, mode: 'shared' | 'exclusive', work: () => Promise<T>): Promise<T> {
    const isExclusive = mode === 'exclusive';
    const before: Promise<unknown>[] = [];
    for (const entry of this.#entries)
      if ((isExclusive || entry.isExclusive) && entry.start < end && start < entry.end) before.push(entry.ended);
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const entry = { start, end, isExclusive, ended: promise };
    this.#entries.add(entry);
    if (isExclusive) this.#exclusive += 1;
    try {
      if (before.length > 0) await Promise.all(before);
      return await work();
    } finally {
      this.#entries.delete(entry);
      if (isExclusive) this.#exclusive -= 1;
      resolve(undefined);
    }
  }
}

export type { Entry as NotedExtent };
