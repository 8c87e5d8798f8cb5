/** Counts what goes through a store: requests by kind, and bytes of bodies. */
import { bodyLength } from './contract.ts';
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
} from './contract.ts';
import { StoreLayer, type DeleteOptions } from './layer.ts';

/** Totals since the layer was made; they only grow. Failed requests count. */
export interface StoreCounters {
  puts: number;
  gets: number;
  heads: number;
  /** Begun lists, however many objects they yielded. */
  lists: number;
  deletes: number;
  /** Bytes of bodies handed to put, stored or not. */
  upBytes: number;
  /** Bytes of bodies that get answered. */
  downBytes: number;
}

export interface MeteredStore {
  readonly store: ObjectStore;
  /** Live: read it at any time, copy it to compare. */
  readonly counters: Readonly<StoreCounters>;
}

class MeteringStore extends StoreLayer {
  readonly counters: StoreCounters = { puts: 0, gets: 0, heads: 0, lists: 0, deletes: 0, upBytes: 0, downBytes: 0 };

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    this.counters.puts += 1;
    this.counters.upBytes += bodyLength(body);
    return this.below.put(key, body, options);
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    this.counters.gets += 1;
    const body = await this.below.get(key, options);
    this.counters.downBytes += body?.bytes.length ?? 0;
    return body;
  }

  override async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    this.counters.heads += 1;
    return this.below.head(key, options);
  }

  override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    this.counters.lists += 1;
    yield* this.below.list(prefix, options);
  }

  override async *listFolders(prefix: string, options?: CallOptions): AsyncGenerator<string> {
    this.counters.lists += 1;
    yield* this.below.listFolders(prefix, options);
  }

  override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    this.counters.deletes += 1;
    return this.below.delete(key, options);
  }
}

/** `below`, counted. Closing the store closes `below`. */
export function withMeter(below: ObjectStore): MeteredStore {
  const store = new MeteringStore(below);
  return { store, counters: store.counters };
}
