import { Semaphore } from './semaphore.ts';

interface Share {
  readonly own: Semaphore;
  users: number;
  waiting: number;
}

/** A budget that many share by name, so that none takes all of it: what is acquired is taken from the name's share, then from all. */
export class Shares {
  readonly #all: Semaphore;
  readonly #capacityOf: (name: string) => number;
  /** Of names that somebody holds something of, or waits for. */
  readonly #shares = new Map<string, Share>();

  constructor(capacity: number, capacityOf: (name: string) => number) {
    this.#all = new Semaphore(capacity);
    this.#capacityOf = capacityOf;
  }

  /** How many wait under this name. */
  waiting(name: string): number {
    return this.#shares.get(name)?.waiting ?? 0;
  }

  /** Waits for `amount`, then returns the function that gives it back; calling that twice is harmless. */
  async acquire(name: string, amount: number, signal: AbortSignal): Promise<() => void> {
    const share = this.#shares.get(name) ?? { own: new Semaphore(this.#capacityOf(name)), users: 0, waiting: 0 };
    this.#shares.set(name, share);
    share.users += 1;
    share.waiting += 1;
    const held: (() => void)[] = [];
    let isHeld = true;
    const release = (): void => {
      if (!isHeld) return;
      isHeld = false;
      for (const giveBack of held) giveBack();
      share.users -= 1;
      if (share.users === 0) this.#shares.delete(name);
    };
    try {
      held.push(await share.own.acquire(amount, signal));
      held.push(await this.#all.acquire(amount, signal));
      return release;
    } catch (error) {
      release();
      throw error;
    } finally {
      share.waiting -= 1;
    }
  }
}
