/** Reads all documents under a prefix; again and again without reading again what did not change. */
import { readDocument, type BlockStoreOptions, type Stored } from '../../blockstore/index.ts';
import { Semaphore } from '../../kit/index.ts';

/** Reads side by side. */
const READS_MAX = 8;

/** Documents that go while it reads are left out. In no order that means anything. */
export async function readAll<T extends object>(
  blocks: BlockStoreOptions,
  prefix: string,
  signal: AbortSignal,
): Promise<T[]> {
  const documents = await new Documents<T>(blocks, prefix).read(signal);
  return [...documents.values()].map(({ value }) => value);
}

/** The documents under a prefix as they were read last, by key. Kept in memory: for small documents only. */
export class Documents<T extends object> {
  readonly #blocks: BlockStoreOptions;
  readonly #prefix: string;
  #known = new Map<string, Stored<T>>();

  constructor(blocks: BlockStoreOptions, prefix: string) {
    this.#blocks = blocks;
    this.#prefix = prefix;
  }

  /** One list, and a read of each that changed since the last time. */
  async read(signal: AbortSignal): Promise<ReadonlyMap<string, Stored<T>>> {
    const reads = new Semaphore(READS_MAX);
    const next = new Map<string, Stored<T>>();
    const reading: Promise<void>[] = [];
    for await (const { key, etag } of this.#blocks.objects.list(this.#prefix, { signal })) {
      const known = this.#known.get(key);
      if (known?.etag === etag) next.set(key, known);
      else {
        const one = this.#readOne(key, next, reads, signal);
        // Its failure is this call's, once the list is through.
        one.catch(() => undefined);
        reading.push(one);
      }
    }
    await Promise.all(reading);
    this.#known = next;
    return next;
  }

  /** One of them, as it is now. */
  async readOne(key: string, signal: AbortSignal): Promise<Stored<T> | undefined> {
    return await readDocument<T>(this.#blocks, key, signal);
  }

  async #readOne(key: string, into: Map<string, Stored<T>>, reads: Semaphore, signal: AbortSignal): Promise<void> {
    const release = await reads.acquire(1, signal);
    try {
      const stored = await readDocument<T>(this.#blocks, key, signal);
      if (stored !== undefined) into.set(key, stored);
    } finally {
      release();
    }
  }
}
