/**
 * The store as a process of the simulation sees it: every call is a step of the world, named after what it touches.
 */
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
} from '../../src/core/objectstore/index.ts';
import type { Process, World } from './world.ts';

export interface SimStoreParts {
  readonly world: World;
  readonly process: Process;
  readonly base: ObjectStore;
  /** Objects in one reply to a list. */
  readonly listPage: number;
}

const VOLUME_PARTS: Readonly<Record<string, string>> = {
  'volume.json': 'volume-entry',
  'head.json': 'head',
  'key.json': 'volume-key',
  log: 'segment',
  map: 'map',
};
const SNAPSHOT_PARTS: Readonly<Record<string, string>> = { 'snapshot.json': 'snapshot', map: 'snapshot-map' };

/** What stands under a key, as failpoints name it. */
export function kindOfKey(key: string): string {
  const [folder = '', , part = ''] = key.split('/');
  if (folder === 'volumes') return VOLUME_PARTS[part] ?? 'volumes';
  if (folder === 'snapshots') return SNAPSHOT_PARTS[part] ?? 'snapshots';
  if (folder === 'pins') return 'pin';
  if (folder === 'gc')
    return key.startsWith('gc/purged') ? 'purged' : key.startsWith('gc/condemned') ? 'condemned' : 'gc';
  return folder === 'sgw.json' ? 'store' : folder;
}

/** As `kindOfKey`, for a put: a segment that replaces another is a tombstone, a head that is new belongs to a new volume. */
export function putName(key: string, options: PutOptions): string {
  const kind = kindOfKey(key);
  const replaces = options.condition === undefined || 'ifMatch' in options.condition;
  if (kind === 'segment' && replaces) return 'tombstone.put';
  return kind === 'head' && !replaces ? 'first-head.put' : `${kind}.put`;
}

export class SimStore implements ObjectStore {
  readonly description = 'simulated';
  readonly #parts: SimStoreParts;

  constructor(parts: SimStoreParts) {
    this.#parts = parts;
  }

  async #call<T>(name: string, about: string, writes: boolean, execute: () => Promise<T>): Promise<T> {
    return this.#parts.world.call(this.#parts.process, { name, about, writes, execute });
  }

  async put(key: string, body: PutBody, given: PutOptions = {}): Promise<PutResult> {
    // Taken now: the bytes of a call that is applied late are those that were sent.
    const bytes = Buffer.concat(body instanceof Uint8Array ? [body] : body);
    const { condition } = given;
    const options = condition === undefined ? {} : { condition };
    return this.#call(putName(key, options), key, true, async () => this.#parts.base.put(key, bytes, options));
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectBody | undefined> {
    const { span } = options;
    return this.#call(`${kindOfKey(key)}.get`, key, false, async () =>
      this.#parts.base.get(key, span === undefined ? {} : { span }),
    );
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    return this.#call(`${kindOfKey(key)}.head`, key, false, async () => this.#parts.base.head(key));
  }

  /** In pages, as stores answer: what is created or removed between two may or may not be in it. */
  async *list(prefix: string, { startAfter, limit }: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    const { base, listPage } = this.#parts;
    let after = startAfter;
    for (let left = limit ?? Number.POSITIVE_INFINITY; left > 0;) {
      const wanted = Math.min(left, listPage);
      const from = after === undefined ? {} : { startAfter: after };
      const page = await this.#call(`${kindOfKey(prefix)}.list`, prefix, false, async () =>
        Array.fromAsync(base.list(prefix, { ...from, limit: wanted })),
      );
      yield* page;
      if (page.length < wanted) return;
      after = page.at(-1)?.key;
      left -= page.length;
    }
  }

  async *listFolders(prefix: string): AsyncGenerator<string> {
    yield* await this.#call(`${kindOfKey(prefix)}.list`, prefix, false, async () =>
      Array.fromAsync(this.#parts.base.listFolders(prefix)),
    );
  }

  async delete(key: string, options: CallOptions & { readonly ifMatch?: Etag } = {}): Promise<boolean> {
    const { ifMatch } = options;
    return this.#call(`${kindOfKey(key)}.delete`, key, true, async () =>
      this.#parts.base.delete(key, ifMatch === undefined ? {} : { ifMatch }),
    );
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}
