/**
 * Documents of one kind, as they were a moment ago: listed anew when somebody asks, and each read again only when it has
 * another version. At most `FRESH_MS` old, and for who insists not older than his question.
 */
import { parseDocument } from '../../blockstore/inspect/index.ts';
import { Semaphore, toSgwError } from '../../kit/index.ts';
import type { ServiceContext } from '../context.ts';
import type { Stored } from './records.ts';

const FRESH_MS = 2000;
const READS_AT_ONCE = 16;

interface Page<T> {
  readonly etag: string;
  readonly value: T | undefined;
}

export class Book<T> {
  readonly #context: ServiceContext;
  readonly #prefix: string;
  readonly #take: (key: string, stored: Stored) => T | undefined;
  #pages: ReadonlyMap<string, Page<T>> = new Map();
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  /** `take` makes of a document what is kept of it; undefined: nothing. */
  constructor(context: ServiceContext, prefix: string, take: (key: string, stored: Stored) => T | undefined) {
    this.#context = context;
    this.#prefix = prefix;
    this.#take = take;
  }

  /** All that is kept. `freshMs`: how old it may be. */
  async all(signal: AbortSignal, freshMs = FRESH_MS): Promise<readonly T[]> {
    const { clock } = this.#context.blocks;
    const askedMs = clock.monotonicMs();
    while (this.#readAtMs < askedMs - freshMs) {
      signal.throwIfAborted();
      this.#reading ??= this.#read().finally(() => {
        this.#reading = undefined;
      });
      await this.#reading;
    }
    return [...this.#pages.values()].flatMap(({ value }) => (value === undefined ? [] : [value]));
  }

  async #read(): Promise<void> {
    const { objects, clock } = this.#context.blocks;
    const beganMs = clock.monotonicMs();
    const next = new Map<string, Page<T>>();
    const slots = new Semaphore(READS_AT_ONCE);
    const reads: Promise<void>[] = [];
    for await (const { key, etag } of objects.list(this.#prefix)) {
      if (!key.endsWith('.json')) continue;
      const before = this.#pages.get(key);
      if (before?.etag === etag) {
        next.set(key, before);
        continue;
      }
      const release = await slots.acquire();
      const read = this.#page(key).then((page) => {
        if (page !== undefined) next.set(key, page);
      });
      reads.push(read.finally(release));
      read.catch(() => undefined);
    }
    await Promise.all(reads);
    this.#pages = next;
    this.#readAtMs = beganMs;
  }

  /** What can't be read is as if it were not there: it gives nobody a right. */
  async #page(key: string): Promise<Page<T> | undefined> {
    let etag: string | undefined;
    try {
      const object = await this.#context.blocks.objects.get(key);
      if (object === undefined) return undefined;
      etag = object.etag;
      return { etag, value: this.#take(key, parseDocument(key, object.bytes).stored) };
    } catch (error) {
      if (toSgwError(error).kind !== 'corrupt') throw error;
      // One that the store itself could not give is tried again.
      return etag === undefined ? undefined : { etag, value: undefined };
    }
  }
}
