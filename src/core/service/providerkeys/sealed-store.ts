/**
 * An object store whose objects are sealed on their way to the store below, and opened on their way back. Who works on it
 * sees plain bytes and plain sizes; etags, conditions and names of calls are those of the store below.
 *
 * Sealing the same bytes again gives other ones, so what is compared to settle a put (C3) is what was opened. A part of an
 * object is read by the chunks that it lies in, and the header with its salt, which is remembered.
 */
import { BoundedCache } from '../../blockstore/inspect/index.ts';
import { damaged } from '../../blockstore/index.ts';
import { SgwError, toSgwError, type Random } from '../../kit/index.ts';
import {
  bodyLength,
  bodyPieces,
  checkSpan,
  resolveSpan,
  StoreLayer,
  type ByteSpan,
  type CallOptions,
  type Etag,
  type GetOptions,
  type ListOptions,
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type PutResult,
  type PutStream,
} from '../../objectstore/index.ts';
import {
  CHUNK_BYTES,
  HEADER_BYTES,
  keyIdOf,
  openChunks,
  plainSize,
  SEALED_CHUNK_BYTES,
  sealedSize,
  sealPieces,
  type NamedKey,
} from './sealed-object.ts';

/** Which key an object is sealed by. */
export interface ObjectKeys {
  /** The key to seal an object with that is about to be put. `body`: what is put, where it is there as a whole. */
  toSeal(objectKey: string, body: PutBody | undefined, signal?: AbortSignal): Promise<NamedKey>;
  /** The key of an object that is there. @throws corrupt */
  toOpen(objectKey: string, signal?: AbortSignal): Promise<NamedKey>;
}

interface Header {
  readonly etag: Etag;
  readonly bytes: Buffer;
}

/** What was read of an object, and from which chunk on. */
interface Part {
  readonly info: ObjectInfo;
  readonly header: Buffer;
  readonly first: number;
  readonly chunks: Buffer;
}

const HEADERS_CACHE_BYTES = 4 << 20;
const HEADER_COST_BYTES = 512;
/** How often an object is read again that is replaced while it is read. */
const TRIES_MAX = 16;

export class SealedStore extends StoreLayer {
  readonly #keys: ObjectKeys;
  readonly #random: Random;
  readonly #headers = new BoundedCache<Header>(HEADERS_CACHE_BYTES, () => HEADER_COST_BYTES);
  readonly putStream?: PutStream;

  constructor(below: ObjectStore, keys: ObjectKeys, random: Random) {
    super(below);
    this.#keys = keys;
    this.#random = random;
    const stream = below.streamsUnhashed === true ? below.putStream?.bind(below) : undefined;
    if (stream === undefined) return;
    this.putStream = async (key, { sizeBytes, pieces }, options) => {
      const named = await this.#keys.toSeal(key, undefined, options?.signal);
      const sealing = { named, random: this.#random, objectKey: key, plainBytes: sizeBytes };
      const body = { sizeBytes: sealedSize(sizeBytes), sha256: '', crc32: '', pieces: sealPieces(sealing, pieces) };
      return await stream(key, body, options);
    };
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    const named = await this.#keys.toSeal(key, body, options?.signal);
    const sealing = { named, random: this.#random, objectKey: key, plainBytes: bodyLength(body) };
    return await this.below.put(key, await Array.fromAsync(sealPieces(sealing, bodyPieces(body))), options);
  }

  /** @throws also corrupt `object-damaged` unless every byte that was read is as it was sealed */
  override async get(key: string, options: GetOptions = {}): Promise<ObjectBody | undefined> {
    checkSpan(key, options.span);
    try {
      const opened = await this.#open(key, options);
      if (opened !== 'damaged') return opened;
      // What was damaged on its way is read once more, as a store does.
      const again = await this.#open(key, options);
      if (again !== 'damaged') return again;
    } catch (error) {
      if (toSgwError(error).code === 'span-past-end') await this.#requireEnd(key, options.signal);
      throw error;
    }
    throw notSealed(key);
  }

  /** That an object ends where it seems to. @throws corrupt `object-damaged` */
  async #requireEnd(key: string, signal: AbortSignal | undefined): Promise<void> {
    const part = await this.#read(key, { suffix: 1 }, signal);
    if (part === undefined) return;
    const { info, header, first, chunks } = part;
    const named = await this.#keys.toOpen(key, signal);
    const opening = { named, objectKey: key, header, storedBytes: info.sizeBytes };
    const none = { start: first * CHUNK_BYTES, end: first * CHUNK_BYTES };
    if ((await openChunks(opening, first, chunks, none)) === undefined) throw notSealed(key);
  }

  async #open(key: string, { span, signal }: GetOptions): Promise<ObjectBody | undefined | 'damaged'> {
    const part = await this.#read(key, span, signal);
    if (part === undefined) return undefined;
    const { info, header, first, chunks } = part;
    const sizeBytes = plainSize(info.sizeBytes);
    if (sizeBytes === undefined || keyIdOf(header) === undefined) return 'damaged';
    const named = await this.#keys.toOpen(key, signal);
    const wanted = resolveSpan(key, span, sizeBytes);
    const opening = { named, objectKey: key, header, storedBytes: info.sizeBytes };
    const bytes = await openChunks(opening, first, chunks, wanted);
    return bytes === undefined ? 'damaged' : { key, sizeBytes, etag: info.etag, bytes };
  }

  /** The chunks that a part lies in, and the header of the same version. */
  async #read(key: string, span: ByteSpan | undefined, signal: AbortSignal | undefined): Promise<Part | undefined> {
    const how = signal === undefined ? {} : { signal };
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const isBehind = span !== undefined && storedSpan(span).offset !== 0;
      const known = this.#headers.peek(key);
      const asked = isBehind && known === undefined ? this.#readHeader(key, how) : Promise.resolve(known);
      const [body, header] = await Promise.all([this.#readBelow(key, span, how), asked]);
      if (body === undefined) return undefined;
      const { bytes, ...info } = body;
      const offset = span === undefined ? 0 : startOf(storedSpan(span), info.sizeBytes);
      if (offset === 0) return { info, header: bytes, first: 0, chunks: bytes.subarray(HEADER_BYTES) };
      const own = header?.etag === info.etag ? header : await this.#readHeader(key, how);
      // Otherwise it was replaced meanwhile.
      if (own?.etag === info.etag) return inChunks(info, own.bytes, bytes, offset);
    }
    throw new SgwError('unavailable', 'store-busy', `${key} is changed too fast by others`, { details: { key } });
  }

  async #readBelow(key: string, span: ByteSpan | undefined, how: CallOptions): Promise<ObjectBody | undefined> {
    if (span === undefined) return await this.below.get(key, how);
    const { isSuffix, offset, length } = storedSpan(span);
    try {
      return await this.below.get(key, { ...how, span: isSuffix ? { suffix: length } : { offset, length } });
    } catch (error) {
      if (toSgwError(error).code !== 'span-past-end') throw error;
      // Said in the caller's numbers.
      const info = await this.head(key, how);
      if (info === undefined) return undefined;
      resolveSpan(key, span, info.sizeBytes);
      throw error;
    }
  }

  async #readHeader(key: string, how: CallOptions): Promise<Header | undefined> {
    const body = await this.below.get(key, { ...how, span: { offset: 0, length: HEADER_BYTES } });
    if (body === undefined) return undefined;
    const header = { etag: body.etag, bytes: body.bytes };
    if (body.bytes.length === HEADER_BYTES) this.#headers.replace(key, header);
    return header;
  }

  override async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    const info = await this.below.head(key, options);
    return info === undefined ? undefined : plainInfo(info);
  }

  override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    for await (const info of this.below.list(prefix, options)) yield plainInfo(info);
  }
}

const notSealed = (key: string): SgwError => damaged(key, 'it is not what the service sealed under this name');

/** One that is no sealed object has no size; reading it tells. */
const plainInfo = (info: ObjectInfo): ObjectInfo => ({ ...info, sizeBytes: plainSize(info.sizeBytes) ?? 0 });

interface StoredSpan {
  readonly isSuffix: boolean;
  /** 0 for a suffix. */
  readonly offset: number;
  readonly length: number;
}

/** The chunks that a part lies in. From chunk 0 on the header is read along. */
function storedSpan(span: ByteSpan): StoredSpan {
  if ('suffix' in span) {
    // How long the last chunk is shows only in the answer: at most one chunk too much is read.
    const chunks = Math.ceil(span.suffix / CHUNK_BYTES) + 1;
    return { isSuffix: true, offset: 0, length: safe(HEADER_BYTES + chunks * SEALED_CHUNK_BYTES) };
  }
  const first = Math.floor(span.offset / CHUNK_BYTES);
  const chunks = Math.floor((span.offset + span.length - 1) / CHUNK_BYTES) - first + 1;
  const offset = first === 0 ? 0 : safe(HEADER_BYTES + first * SEALED_CHUNK_BYTES);
  const length = chunks * SEALED_CHUNK_BYTES + (first === 0 ? HEADER_BYTES : 0);
  return { isSuffix: false, offset, length: Math.min(length, Number.MAX_SAFE_INTEGER - offset) };
}

const safe = (count: number): number => Math.min(count, Number.MAX_SAFE_INTEGER - CHUNK_BYTES);

/** Where in the stored object the bytes begin that were read. */
const startOf = ({ isSuffix, offset, length }: StoredSpan, sizeBytes: number): number =>
  isSuffix ? Math.max(0, sizeBytes - length) : offset;

/** From the first whole chunk on. */
function inChunks(info: ObjectInfo, header: Buffer, bytes: Buffer, offset: number): Part {
  const first = Math.max(0, Math.ceil((offset - HEADER_BYTES) / SEALED_CHUNK_BYTES));
  const from = HEADER_BYTES + first * SEALED_CHUNK_BYTES;
  return { info, header, first, chunks: bytes.subarray(from - offset) };
}
