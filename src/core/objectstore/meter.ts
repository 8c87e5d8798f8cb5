/**
 * Tells of each request that is made of a store: what was asked, of which key, and how many bytes went each way. For stores
 * where a call is one request; a store behind a server tells of its requests itself (s3/client.ts).
 */
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
  PutStream,
} from './contract.ts';
import { StoreLayer, type DeleteOptions } from './layer.ts';

export const STORE_OPERATIONS = ['put', 'get', 'head', 'list', 'delete'] as const;
export type StoreOperation = (typeof STORE_OPERATIONS)[number];

/** A request that has ended, well or not. */
export interface StoreRequest {
  readonly operation: StoreOperation;
  /** What a list's keys begin with, or else the key. */
  readonly key: string;
  /** Bytes of the body of an object that was sent, stored or not. */
  readonly upBytes: number;
  /** Bytes of the body of an object that was answered. */
  readonly downBytes: number;
}

/** Called often; must be cheap. */
export type OnRequest = (request: StoreRequest) => void;

class MeteringStore extends StoreLayer {
  readonly #onRequest: OnRequest;
  readonly putStream?: PutStream;

  constructor(below: ObjectStore, onRequest: OnRequest) {
    super(below);
    this.#onRequest = onRequest;
    const stream = below.putStream?.bind(below);
    if (stream === undefined) return;
    this.putStream = async (key, body, options) => {
      try {
        return await stream(key, body, options);
      } finally {
        this.#tell('put', key, body.sizeBytes);
      }
    };
  }

  #tell(operation: StoreOperation, key: string, upBytes = 0, downBytes = 0): void {
    this.#onRequest({ operation, key, upBytes, downBytes });
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    try {
      return await this.below.put(key, body, options);
    } finally {
      this.#tell('put', key, bodyLength(body));
    }
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    let downBytes = 0;
    try {
      const body = await this.below.get(key, options);
      downBytes = body?.bytes.length ?? 0;
      return body;
    } finally {
      this.#tell('get', key, 0, downBytes);
    }
  }

  override async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    try {
      return await this.below.head(key, options);
    } finally {
      this.#tell('head', key);
    }
  }

  /** One request, however many objects it yields. */
  override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    this.#tell('list', prefix);
    yield* this.below.list(prefix, options);
  }

  override async *listFolders(prefix: string, options?: CallOptions): AsyncGenerator<string> {
    this.#tell('list', prefix);
    yield* this.below.listFolders(prefix, options);
  }

  override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    try {
      return await this.below.delete(key, options);
    } finally {
      this.#tell('delete', key);
    }
  }
}

/** `below`, with each call told of. Closing the store closes `below`. */
export function withMeter(below: ObjectStore, onRequest: OnRequest): ObjectStore {
  return new MeteringStore(below, onRequest);
}
