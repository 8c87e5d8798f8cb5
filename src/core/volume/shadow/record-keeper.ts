/** The record of a shadowed image, written one change at a time, in the order in which they were made. */
import { Semaphore } from '../../kit/index.ts';
import type { ShadowDisk, ShadowRecord } from './contract.ts';

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
}
