/**
 * A store that could not be opened yet: each call tries again, and fails as long as that does (C22). For a gateway that serves local
 * images, also while its store is out of reach.
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
import { SgwError, toSgwError } from '../kit/index.ts';

/** Between two tries of calls that come one after the other. */
const AGAIN_MS = 500;

export class LateStore implements ObjectStore {
  readonly description: string;
  readonly #open: () => Promise<ObjectStore>;
  #opened: Promise<ObjectStore> | undefined;
  #failure: { readonly error: SgwError; readonly atMs: number } | undefined;

  /** `failure`: why it could not be opened the first time. */
  constructor(description: string, failure: SgwError, open: () => Promise<ObjectStore>) {
    this.description = description;
    this.#open = open;
    this.#note(failure);
  }

  #note(failure: SgwError): SgwError {
    const { code, message, hint, details } = failure;
    // Whatever it is, it may pass: a folder that is not mounted yet looks like one that was never there.
    const error = new SgwError('unavailable', code, message, {
      ...(hint === undefined ? {} : { hint }),
      details,
      cause: failure,
    });
    this.#failure = { error, atMs: performance.now() };
    return error;
  }

  async #store(): Promise<ObjectStore> {
    const failure = this.#failure;
    if (failure !== undefined && performance.now() - failure.atMs < AGAIN_MS) throw failure.error;
    this.#opened ??= this.#open();
    try {
      const store = await this.#opened;
      this.#failure = undefined;
      return store;
    } catch (error) {
      this.#opened = undefined;
      throw this.#note(toSgwError(error));
    }
  }

  async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    return await (await this.#store()).put(key, body, options);
  }

  async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    return await (await this.#store()).get(key, options);
  }

  async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    return await (await this.#store()).head(key, options);
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    yield* (await this.#store()).list(prefix, options);
  }

  async *listFolders(prefix: string, options?: CallOptions): AsyncIterable<string> {
    yield* (await this.#store()).listFolders(prefix, options);
  }

  async delete(key: string, options?: Parameters<ObjectStore['delete']>[1]): Promise<boolean> {
    return await (await this.#store()).delete(key, options);
  }

  async close(): Promise<void> {
    await (await this.#opened?.catch(() => undefined))?.close();
  }
}
