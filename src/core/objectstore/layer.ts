/** The shape of every layer over a store: passes all calls on; a layer overrides what it changes. */
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
  StoreFacts,
} from './contract.ts';

export type DeleteOptions = CallOptions & { readonly ifMatch?: Etag };

/** Owns the store below: closing the layer closes it. */
export class StoreLayer implements ObjectStore {
  protected readonly below: ObjectStore;

  constructor(below: ObjectStore) {
    this.below = below;
  }

  get description(): string {
    return this.below.description;
  }

  get streamsUnhashed(): boolean {
    return this.below.streamsUnhashed === true;
  }

  async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    return this.below.put(key, body, options);
  }

  async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    return this.below.get(key, options);
  }

  async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    return this.below.head(key, options);
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    return this.below.list(prefix, options);
  }

  listFolders(prefix: string, options?: CallOptions): AsyncIterable<string> {
    return this.below.listFolders(prefix, options);
  }

  async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    return this.below.delete(key, options);
  }

  facts(): StoreFacts | undefined {
    return this.below.facts?.();
  }

  async close(): Promise<void> {
    await this.below.close();
  }
}
