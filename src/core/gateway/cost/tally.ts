/** Requests that were made of a store since the process began, by the kind of object and by the volume that a key names. */
import { volumeOfKey } from '../../blockstore/index.ts';
import { STORE_OPERATIONS, type StoreOperation, type StoreRequest } from '../../objectstore/index.ts';
import { KIND_NAMES, kindOf } from './kinds.ts';

/** Requests by operation, and bytes of bodies each way. They only grow. */
export type RequestCounts = Record<StoreOperation | 'upBytes' | 'downBytes', number>;

export const noRequests = (): RequestCounts => ({
  put: 0,
  get: 0,
  head: 0,
  list: 0,
  delete: 0,
  upBytes: 0,
  downBytes: 0,
});

export const COUNTED = [...STORE_OPERATIONS, 'upBytes', 'downBytes'] as const;

/** Adds `more` to `counts`. */
export function addRequests(counts: RequestCounts, more: Readonly<RequestCounts>): void {
  for (const name of COUNTED) counts[name] += more[name];
}

/** Volumes that are told apart; what is asked of others counts with what names no volume. */
const VOLUMES_MAX = 10_000;
/** What no volume's key names. */
export const NO_VOLUME = '';

export class RequestTally {
  readonly #byKind = new Map<string, RequestCounts>();
  readonly #byVolume = new Map<string, RequestCounts>();

  /** Counts a request. */
  readonly count = (request: StoreRequest): void => {
    add(this.#byKind, kindOf(request.key), request);
    const volumeId = volumeOfKey(request.key) ?? NO_VOLUME;
    const isKnown = this.#byVolume.has(volumeId) || this.#byVolume.size < VOLUMES_MAX;
    add(this.#byVolume, isKnown ? volumeId : NO_VOLUME, request);
  };

  /** Kinds that anything was asked of, in the order of showing. */
  kinds(): { readonly kind: string; readonly counts: Readonly<RequestCounts> }[] {
    return KIND_NAMES.flatMap((kind) => {
      const counts = this.#byKind.get(kind);
      return counts === undefined ? [] : [{ kind, counts }];
    });
  }

  /** By volume, with `NO_VOLUME` for what names none. Live. */
  volumes(): ReadonlyMap<string, Readonly<RequestCounts>> {
    return this.#byVolume;
  }
}

function add(all: Map<string, RequestCounts>, name: string, { operation, upBytes, downBytes }: StoreRequest): void {
  let counts = all.get(name);
  if (counts === undefined) all.set(name, (counts = noRequests()));
  counts[operation] += 1;
  counts.upBytes += upBytes;
  counts.downBytes += downBytes;
}
