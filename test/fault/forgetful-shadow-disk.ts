/** What a shadowing volume keeps, in memory; cutting the power loses what was not synced, sector by sector. */
import type { Clock, Random } from '../../src/core/kit/index.ts';
import type { MarksFile, ShadowDisk, ShadowRecord } from '../../src/core/volume/shadow/contract.ts';

const SECTOR_BYTES = 512;

export class ForgetfulShadowDisk implements ShadowDisk {
  readonly #clock: Clock;
  live: ShadowRecord | undefined;
  durable: ShadowRecord | undefined;
  marks: Buffer | undefined;
  durableMarks: Buffer | undefined;
  touched: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  afterKill(): ForgetfulShadowDisk {
    const next = new ForgetfulShadowDisk(this.#clock);
    next.live = this.live;
    next.durable = this.durable;
    next.marks = this.marks && Buffer.from(this.marks);
    next.durableMarks = this.durableMarks && Buffer.from(this.durableMarks);
    next.touched = this.touched;
    return next;
  }

  afterCut(random: Random): ForgetfulShadowDisk {
    const next = new ForgetfulShadowDisk(this.#clock);
    // A rename that was not synced may be there all the same.
    next.durable = random.float() < 0.5 ? this.durable : this.live;
    next.live = next.durable;
    if (this.durableMarks !== undefined && this.marks !== undefined) {
      next.durableMarks = Buffer.from(this.durableMarks);
      for (let at = 0; at < this.marks.length; at += SECTOR_BYTES)
        if (random.float() < 0.5) this.marks.copy(next.durableMarks, at, at, at + SECTOR_BYTES);
      next.marks = Buffer.from(next.durableMarks);
    }
    next.touched = this.touched;
    return next;
  }

  async readRecord(): Promise<ShadowRecord | undefined> {
    return Promise.resolve(this.live);
  }

  async writeRecord(record: ShadowRecord, durable: boolean): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.live = record;
    this.touched = this.#clock.nowMs();
    if (!durable) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.durable = record;
  }

  touch(): void {
    this.touched = this.#clock.nowMs();
  }

  async touchedMs(): Promise<number | undefined> {
    return Promise.resolve(this.touched);
  }

  async openMarks(bytes: number, fresh: boolean): Promise<MarksFile | undefined> {
    await Promise.resolve();
    if (fresh) {
      this.marks = Buffer.alloc(bytes);
      this.durableMarks = Buffer.alloc(bytes);
    }
    const { marks } = this;
    if (marks?.length !== bytes) return undefined;
    return {
      read: () => Buffer.from(marks),
      write: (position, data) => {
        marks.set(data, position);
        this.touched = this.#clock.nowMs();
      },
      sync: async () => {
        const now = Buffer.from(marks);
        await new Promise((resolve) => setImmediate(resolve));
        now.copy(this.durableMarks ?? Buffer.alloc(0));
      },
      close: () => undefined,
    };
  }
}
