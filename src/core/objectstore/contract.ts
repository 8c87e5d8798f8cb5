/**
 * The contract of an object store: whole immutable values under flat keys, with conditional writes.
 * Every implementation and every decorator passes `test/contract/objectstore.ts`.
 *
 * Keys are `/`-separated, of `[A-Za-z0-9._-]` components, at most 512 bytes, no component `.` or `..`, none above 200 bytes.
 * All calls are linearizable per key: a read that starts after a write returned sees that write or a newer one.
 */

/** An opaque version of an object. Two equal etags of one key name the same bytes. */
export type Etag = string & { readonly __brand?: 'Etag' };

export interface ObjectInfo {
  readonly key: string;
  readonly sizeBytes: number;
  readonly etag: Etag;
}

export interface ObjectBody extends ObjectInfo {
  /** The bytes asked for; the whole object unless a range was given. The caller owns the buffer. */
  readonly bytes: Buffer;
}

/**
 * A part of an object: `length` bytes from `offset`, or the last `suffix` bytes; both at least one byte. Both are cut at
 * the object's ends; a start at or past the end is `invalid` (`span-past-end`), so no part of an empty object can be asked for.
 */
export type ByteSpan = { readonly offset: number; readonly length: number } | { readonly suffix: number };

/** The bytes of an object to store: one buffer, or pieces in order, so that a large body need not be copied together. */
export type PutBody = Uint8Array | readonly Uint8Array[];

/**
 * An object to store that comes piece by piece, and is never in memory as a whole. The pieces can be read once; together
 * they have `sizeBytes`. Who gives it checks it: what is wrong makes `pieces` throw before its last piece, and then nothing
 * is stored.
 */
export interface StreamedBody {
  readonly sizeBytes: number;
  /** Of all bytes, hex; empty where they are only made while they are sent: see `ObjectStore.streamsUnhashed`. */
  readonly sha256: string;
  /** Of all bytes, 8 hex digits; empty as that. */
  readonly crc32: string;
  readonly pieces: AsyncIterable<Uint8Array>;
}

/** When a put may take place: always (default), only if the key is absent, or only if the current version is `ifMatch`. */
export type PutCondition = { readonly ifAbsent: true } | { readonly ifMatch: Etag };

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface PutOptions extends CallOptions {
  readonly condition?: PutCondition;
  /**
   * Names the call, alike at each try of it. A store that is able to keeps it beside the object, and so tells a success of
   * its own whose reply was lost from somebody else's.
   */
  readonly callId?: string;
}

export interface GetOptions extends CallOptions {
  readonly span?: ByteSpan;
}

/**
 * `stored`, or `preconditionFailed` when the condition did not hold and nothing was changed.
 *
 * `ambiguous`: an earlier try of this same call ended with an unknown outcome, so the version that is in the way may be
 * what this call wrote. The caller settles it by comparing what is there with what it sent (PROTOCOL C3).
 */
export type PutResult =
  | { readonly outcome: 'stored'; readonly etag: Etag }
  | { readonly outcome: 'preconditionFailed'; readonly ambiguous?: true };

export interface ListOptions extends CallOptions {
  /** Only keys above this one, in byte order. */
  readonly startAfter?: string;
  /** At most this many; no limit when absent. */
  readonly limit?: number;
}

/** What is known of the server of a store, beside what the contract tells. */
export interface StoreFacts {
  /** Who runs it; null when that is not known. */
  readonly provider: string | null;
  /** Sentences on what it is known not to do. */
  readonly limits: readonly string[];
  /** Its time less this machine's, milliseconds, good to a second; null when nothing was asked yet. */
  readonly clockOffsetMs: number | null;
}

/** Puts what comes piece by piece: see `ObjectStore.putStream`. */
export type PutStream = (key: string, body: StreamedBody, options?: PutOptions) => Promise<PutResult>;

/**
 * @throws SgwError
 * - `unavailable` / `timeout`: the outcome is unknown; a write may have been applied. The caller may send the same bytes again.
 * - `invalid`: key, range or condition is malformed. - `denied`, `exhausted`: as they say, nothing was changed.
 * - `aborted`: the signal fired; the outcome of a write is unknown.
 */
export interface ObjectStore {
  /** A name for people: a directory, or a URL without secrets. */
  readonly description: string;
  /** Stores the whole object. Durable when it resolves with `stored`: it survives loss of power of the store's machine. */
  put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult>;
  /**
   * As `put`, of what comes piece by piece; by stores that keep nothing of it in memory. One try: who has the pieces no
   * more can't repeat it.
   */
  putStream?: PutStream;
  /** Whether `putStream` takes bodies whose hashes are not known before all of it was sent. */
  readonly streamsUnhashed?: boolean;
  /** Reads an object or a part of it; undefined when there is none. */
  get(key: string, options?: GetOptions): Promise<ObjectBody | undefined>;
  /** Size and version; undefined when there is none. Of one that the store can't give any more, as `list`. */
  head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined>;
  /**
   * Yields the objects whose keys start with `prefix`, in byte order of their keys. Objects created meanwhile may be missing.
   * One that the store itself can't give any more is listed all the same, with no size and an etag that matches none.
   */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>;
  /**
   * Yields the folders right under `prefix`, which is empty or ends in `/`: what stands before the next `/` of the keys
   * that have one, each once, in byte order. Costs the folders, not the objects below them. May also yield a folder
   * whose objects were all deleted.
   */
  listFolders(prefix: string, options?: CallOptions): AsyncIterable<string>;
  /**
   * Removes an object; true if there was one. With `ifMatch`, only that version: another one is `conflict`
   * (`etag-mismatch`), none is false. Durable when it resolves.
   */
  delete(key: string, options?: CallOptions & { readonly ifMatch?: Etag }): Promise<boolean>;
  /** For stores behind a server. */
  facts?(): StoreFacts | undefined;
  /** Releases handles. Idempotent. No call may be under way or follow. */
  close(): Promise<void>;
}

/** Bytes in a body to put. */
export const bodyLength = (body: PutBody): number =>
  body instanceof Uint8Array ? body.length : body.reduce((sum, piece) => sum + piece.length, 0);

/** The pieces of a body to put. */
export const bodyPieces = (body: PutBody): readonly Uint8Array[] => (body instanceof Uint8Array ? [body] : body);
