/**
 * FLUSH: makes what was appended durable, with as few calls as callers allow: those that come while a sync is under way share
 * the next one. A sync that failed ends the log: what the kernel could not write it may have forgotten, and a second sync
 * that succeeds would be a lie (PROTOCOL C13).
 */
import { SgwError, toSgwError } from '../kit/index.ts';
import type { Appender } from './appender.ts';
import type { Ring } from './ring.ts';

interface Sync {
  /** Covers records up to here. */
  readonly target: number;
  readonly done: Promise<void>;
}

export class Syncer {
  readonly #appender: Appender;
  readonly #ring: Ring;
  #running: Sync | undefined;
  #next: Promise<void> | undefined;

  constructor(appender: Appender, ring: Ring) {
    this.#appender = appender;
    this.#ring = ring;
  }

  /** @throws unavailable `log-sync-failed`, then and ever after */
  async flush(): Promise<void> {
    const appender = this.#appender;
    appender.commit();
    if (appender.failure !== undefined) throw appender.failure;
    const { lastSequence, flushedSequence } = appender.position;
    if (lastSequence <= flushedSequence) return;
    if (this.#running === undefined) return this.#start();
    if (this.#running.target === lastSequence) return this.#running.done;
    this.#next ??= this.#running.done.then(async () => {
      this.#next = undefined;
      return this.#start();
    });
    return this.#next;
  }

  /** Syncs all that is written, also notes. */
  async #start(): Promise<void> {
    const { position } = this.#appender;
    this.#appender.commit();
    const target = position.lastSequence;
    const done = this.sync();
    this.#running = { target, done };
    try {
      await done;
    } finally {
      this.#running = undefined;
    }
    if (this.#appender.failure !== undefined) throw this.#appender.failure;
    position.flushedSequence = target;
    this.#ring.holding(target)?.markFlushed(target);
  }

  /** `fdatasync` of every file that was written since its last one. */
  async sync(): Promise<void> {
    const { unsynced } = this.#appender;
    const files = [...unsynced];
    unsynced.clear();
    try {
      await Promise.all(files.map(async (file) => file.handle.sync()));
    } catch (error) {
      const cause = toSgwError(error);
      const failure = this.#appender.fail(
        new SgwError('unavailable', 'log-sync-failed', `the write log could not be synced: ${cause.message}`, {
          hint: 'What was flushed before is kept. Mend the disk, then attach the volume again.',
          details: { errorCode: cause.code },
          cause,
        }),
      );
      await this.#ring.noteDoubt();
      throw failure;
    }
  }
}
