/**
 * A store that could not be opened yet: each call tries again, and fails as long as that does (C22). For a gateway that serves local
 * images, also while its store is out of reach.
 *
 * Invariant: a call fails only with a try that began after the call did. What an earlier one found says nothing of the way as it
 * is now: who knows that the store is back, and runs a command, is not told of the outage before.
 */
import type {
  CallOptions,
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectStore,
  PutBody,
  PutOptions,
  PutResult,
} from '../objectstore/index.ts';
import { SgwError, throwIfAborted, toSgwError, untilAborted, type Clock } from '../kit/index.ts';

/** Between the end of a try and the next one. */
const AGAIN_MS = 500;

export class LateStore implements ObjectStore {
  readonly description: string;
  readonly #open: (signal: AbortSignal) => Promise<ObjectStore>;
  readonly #clock: Clock;
  readonly #closed = new AbortController();
  #store: ObjectStore | undefined;
  /** A try, and the wait before it. */
  #opening: Promise<ObjectStore> | undefined;
  #isAsking = false;
  /** When the last try failed, by `monotonicMs`. */
  #failedMs: number;

  /** To be made when a first try of `open` has just failed. */
  constructor(description: string, open: (signal: AbortSignal) => Promise<ObjectStore>, clock: Clock) {
    this.description = description;
    this.#open = open;
    this.#clock = clock;
    this.#failedMs = clock.monotonicMs();
  }

  async #opened(signal: AbortSignal | undefined): Promise<ObjectStore> {
    throwIfAborted(signal);
    throwIfAborted(this.#closed.signal);
    if (this.#store !== undefined) return this.#store;
    if (this.#isAsking) {
      // That began before this call.
      const early = this.#opening?.catch(() => undefined);
      const store = await untilAborted(Promise.resolve(early), signal);
      if (store !== undefined) return store;
    }
    this.#opening ??= this.#try();
    return await untilAborted(this.#opening, signal);
  }

  /** Shared by all calls that came before it ends. */
  async #try(): Promise<ObjectStore> {
    const { signal } = this.#closed;
    try {
      const waitMs = this.#failedMs + AGAIN_MS - this.#clock.monotonicMs();
      if (waitMs > 0) await this.#clock.sleep(waitMs, signal);
      this.#isAsking = true;
      this.#store = await this.#open(signal);
      return this.#store;
    } catch (error) {
      this.#failedMs = this.#clock.monotonicMs();
      throwIfAborted(signal);
      throw asPassing(toSgwError(error));
    } finally {
      this.#isAsking = false;
      this.#opening = undefined;
    }
  }

  async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    return await (await this.#opened(options?.signal)).put(key, body, options);
  }

  async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    return await (await this.#opened(options?.signal)).get(key, options);
  }

  async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    return await (await this.#opened(options?.signal)).head(key, options);
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    yield* (await this.#opened(options?.signal)).list(prefix, options);
  }

  async *listFolders(prefix: string, options?: CallOptions): AsyncIterable<string> {
    yield* (await this.#opened(options?.signal)).listFolders(prefix, options);
  }

  async delete(key: string, options?: Parameters<ObjectStore['delete']>[1]): Promise<boolean> {
    return await (await this.#opened(options?.signal)).delete(key, options);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#opening?.catch(() => undefined);
    await this.#store?.close();
  }
}

/** Whatever it is, it may pass: a folder that is not mounted yet looks like one that was never there. */
function asPassing(failure: SgwError): SgwError {
  const { code, message, hint, details } = failure;
  return new SgwError('unavailable', code, message, {
    ...(hint === undefined ? {} : { hint }),
    details,
    cause: failure,
  });
}
