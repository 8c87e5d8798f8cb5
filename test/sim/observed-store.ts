/** A store that tells an observer of everything that takes effect on it, at once. */
import type { Etag, ObjectStore, PutBody, PutOptions, PutResult } from '../../src/core/objectstore/index.ts';
import { StoreLayer, type DeleteOptions } from '../../src/core/objectstore/layer.ts';

/** What took effect on a store. */
export type StoreChange =
  { readonly put: string; readonly bytes: Buffer; readonly etag: Etag } | { readonly deleted: string };

class ObservedStore extends StoreLayer {
  readonly #observe: (change: StoreChange) => void;

  constructor(below: ObjectStore, observe: (change: StoreChange) => void) {
    super(below);
    this.#observe = observe;
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    const bytes = Buffer.concat(body instanceof Uint8Array ? [body] : body);
    const result = await this.below.put(key, bytes, options);
    if (result.outcome === 'stored') this.#observe({ put: key, bytes, etag: result.etag });
    return result;
  }

  override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    const removed = await this.below.delete(key, options);
    if (removed) this.#observe({ deleted: key });
    return removed;
  }
}

export function observed(below: ObjectStore, observe: (change: StoreChange) => void): ObjectStore {
  return new ObservedStore(below, observe);
}
