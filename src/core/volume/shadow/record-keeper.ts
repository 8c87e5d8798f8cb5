/** The record of a shadowed image, written one change at a time, in the order in which they were made. */
import { Semaphore, type Clock } from '../../kit/index.ts';
import type { ShadowDisk, ShadowImage, ShadowRecord } from './contract.ts';
import { identityOf } from './opening.ts';

/** The image's times are looked at so long after it was closed: they do not tell moments apart that are nearer. */
const TIMES_SETTLE_MS = 30;

export class RecordKeeper {
  readonly #disk: ShadowDisk;
  readonly #writing = new Semaphore(1);
  #record: ShadowRecord;

  constructor(disk: ShadowDisk, record: ShadowRecord) {
    this.#disk = disk;
    this.#record = record;
  }

  /** As it is, or will be when what is under way was written. */
  get record(): ShadowRecord {
    return this.#record;
  }

  /** `durable`: on the disk when it resolves. */
  async write(changes: Partial<ShadowRecord>, durable: boolean): Promise<void> {
    this.#record = { ...this.#record, ...changes };
    const release = await this.#writing.acquire(1);
    try {
      await this.#disk.writeRecord(this.#record, durable);
    } finally {
      release();
    }
  }

  /** The store has what the image holds, as it was left. Durable when it resolves. */
  async noteClean(clock: Clock, image: Pick<ShadowImage, 'facts'>): Promise<void> {
    await clock.sleep(TIMES_SETTLE_MS);
    await this.write({ state: 'clean', image: identityOf(image.facts()) }, true);
  }
}
