/**
 * An object store in this process's memory, for tests, for the simulator, and as the base that decorators are tested on.
 * Nothing survives the process. Bodies are copied in and out, so callers may reuse their buffers.
 */
import { throwIfAborted } from '../kit/index.ts';
import { checkFolder, checkKey, checkLimit, checkPrefix, etagMismatch, resolveSpan } from './arguments.ts';
import { bodyPieces } from './contract.ts';
import type {
  CallOptions,
  Etag,
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectStore,
  PutBody,
  PutOptions,
  PutResult,
  StreamedBody,
} from './contract.ts';

interface Stored {
  readonly bytes: Buffer;
  readonly etag: Etag;
}

class MemoryStore implements ObjectStore {
  readonly description = 'memory';
  readonly streamsUnhashed = true;
  readonly #objects = new Map<string, Stored>();
  #versions = 0;

  async put(key: string, body: PutBody, options: PutOptions = {}): Promise<PutResult> {
    await admit(key, options.signal);
    const current = this.#objects.get(key);
    const { condition } = options;
    if (condition !== undefined) {
      const holds = 'ifAbsent' in condition ? current === undefined : current?.etag === condition.ifMatch;
      if (!holds) return { outcome: 'preconditionFailed' };
    }
    this.#versions += 1;
    const etag = String(this.#versions) as Etag;
    this.#objects.set(key, { bytes: Buffer.concat(bodyPieces(body)), etag });
    return { outcome: 'stored', etag };
  }

  async putStream(key: string, body: StreamedBody, options: PutOptions = {}): Promise<PutResult> {
    return await this.put(key, await Array.fromAsync(body.pieces), options);
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectBody | undefined> {
    await admit(key, options.signal);
    const stored = this.#objects.get(key);
    if (stored === undefined) return undefined;
    const { start, end } = resolveSpan(key, options.span, stored.bytes.length);
    return { ...infoOf(key, stored), bytes: Buffer.from(stored.bytes.subarray(start, end)) };
  }

  async head(key: string, options: CallOptions = {}): Promise<ObjectInfo | undefined> {
    await admit(key, options.signal);
    const stored = this.#objects.get(key);
    return stored === undefined ? undefined : infoOf(key, stored);
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    const { startAfter = '', limit, signal } = options;
    checkPrefix(prefix);
    checkLimit(limit);
    const keys = [...this.#objects.keys()].filter((key) => key.startsWith(prefix) && key > startAfter).sort();
    let left = limit ?? keys.length;
    for (const key of keys) {
      await pause(signal);
      if (left === 0) return;
      const stored = this.#objects.get(key);
      if (stored === undefined) continue;
      left -= 1;
      yield infoOf(key, stored);
    }
    throwIfAborted(signal);
  }

  async *listFolders(prefix: string, options: CallOptions = {}): AsyncGenerator<string> {
    checkFolder(prefix);
    await pause(options.signal);
    const rests = [...this.#objects.keys()]
      .filter((key) => key.startsWith(prefix))
      .map((key) => key.slice(prefix.length));
    const folders = rests.filter((rest) => rest.includes('/')).map((rest) => rest.slice(0, rest.indexOf('/')));
    yield* [...new Set(folders)].sort();
  }

  async delete(key: string, options: CallOptions & { readonly ifMatch?: Etag } = {}): Promise<boolean> {
    await admit(key, options.signal);
    const stored = this.#objects.get(key);
    if (stored === undefined) return false;
    if (options.ifMatch !== undefined && options.ifMatch !== stored.etag) throw etagMismatch(key);
    return this.#objects.delete(key);
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}

function infoOf(key: string, stored: Stored): ObjectInfo {
  return { key, sizeBytes: stored.bytes.length, etag: stored.etag };
}

/** Gives way once, as a real store would, so that concurrent callers interleave. */
async function pause(signal: AbortSignal | undefined): Promise<void> {
  throwIfAborted(signal);
  await Promise.resolve();
  throwIfAborted(signal);
}

async function admit(key: string, signal: AbortSignal | undefined): Promise<void> {
  checkKey(key);
  await pause(signal);
}

/** An empty store in memory. */
export function memoryStore(): ObjectStore {
  return new MemoryStore();
}
