/**
 * The bytes of an object as the service seals it: a header, and chunks that are opened one by one (docs/formats/provider-sealed.md).
 * Each object that is sealed has a key of its own, from a fresh salt (C16). Does no I/O.
 */
import type { KeyObject } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { decrypt, deriveKey, encrypt, NONCES, SALT_BYTES, TAG_BYTES } from '../../blockstore/sealing/index.ts';
import { SgwError, type Random } from '../../kit/index.ts';

const MAGIC = Buffer.from('SGWPROV1', 'latin1');
const VERSION = 1;
const AES_256_GCM = 1;
const VERSION_AT = 8;
const CIPHER_AT = 9;
const KEY_ID_AT = 16;
export const KEY_ID_BYTES = 16;
const SALT_AT = KEY_ID_AT + KEY_ID_BYTES;
export const HEADER_BYTES = SALT_AT + SALT_BYTES;
export const CHUNK_BYTES = 64 * 1024;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
const INFO = 'sgw provider object';
/** Handed on as one piece: a directory writes each piece by a call of its own. */
const PIECE_CHUNKS = 16;

/** A key, and what headers call it. */
export interface NamedKey {
  /** 32 hex digits. */
  readonly keyId: string;
  readonly key: KeyObject;
}

const chunksOf = (plainBytes: number): number => Math.max(1, Math.ceil(plainBytes / CHUNK_BYTES));

/** Bytes of the stored object of `plainBytes`. */
export const sealedSize = (plainBytes: number): number => HEADER_BYTES + plainBytes + chunksOf(plainBytes) * TAG_BYTES;

/** Bytes of what an object of `storedBytes` holds; undefined when no sealed object has that size. */
export function plainSize(storedBytes: number): number | undefined {
  const body = storedBytes - HEADER_BYTES;
  if (body < TAG_BYTES) return undefined;
  const whole = Math.floor(body / SEALED_CHUNK_BYTES);
  const rest = body % SEALED_CHUNK_BYTES;
  if (rest === 0) return whole * CHUNK_BYTES;
  // Only an empty object has a chunk without contents.
  if (rest < TAG_BYTES || (rest === TAG_BYTES && whole > 0)) return undefined;
  return whole * CHUNK_BYTES + rest - TAG_BYTES;
}

/** Whether `bytes` begin as a sealed object does. */
const isHeader = (bytes: Buffer): boolean =>
  bytes.length >= HEADER_BYTES &&
  bytes.subarray(0, VERSION_AT).equals(MAGIC) &&
  bytes[VERSION_AT] === VERSION &&
  bytes[CIPHER_AT] === AES_256_GCM;

/** The id of the key that an object was sealed by; undefined when that is no header. */
export const keyIdOf = (header: Buffer): string | undefined =>
  isHeader(header) ? header.toString('hex', KEY_ID_AT, SALT_AT) : undefined;

/** What seals and opens the chunks of one object. */
class ChunkKey {
  readonly header: Buffer;
  readonly #key: KeyObject;
  readonly #place: Buffer;

  constructor({ key }: NamedKey, header: Buffer, objectKey: string) {
    this.header = header.subarray(0, HEADER_BYTES);
    this.#key = deriveKey(key, header.subarray(SALT_AT, HEADER_BYTES), INFO);
    this.#place = Buffer.from(objectKey, 'utf8');
  }

  seal(index: number, isLast: boolean, plain: Uint8Array): readonly [Buffer, Buffer] {
    return encrypt(this.#key, NONCES.chunk, index, this.#associated(isLast), plain);
  }

  open(index: number, isLast: boolean, sealed: Buffer): Buffer | undefined {
    return decrypt(this.#key, NONCES.chunk, index, this.#associated(isLast), sealed);
  }

  #associated(isLast: boolean): Buffer {
    return Buffer.concat([this.header, Buffer.of(isLast ? 1 : 0), this.#place]);
  }
}

function newHeader({ keyId }: NamedKey, random: Random): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header[VERSION_AT] = VERSION;
  header[CIPHER_AT] = AES_256_GCM;
  header.write(keyId, KEY_ID_AT, 'hex');
  random.bytes(SALT_BYTES).copy(header, SALT_AT);
  return header;
}

export interface Sealing {
  readonly named: NamedKey;
  readonly random: Random;
  readonly objectKey: string;
  readonly plainBytes: number;
}

/**
 * Seals what comes piece by piece; nothing of the last chunk goes out before all has come.
 * @throws invalid `body-size` when more or less comes than `plainBytes`; what `pieces` throws
 */
export async function* sealPieces(
  { named, random, objectKey, plainBytes }: Sealing,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Buffer> {
  const key = new ChunkKey(named, newHeader(named, random), objectKey);
  const last = chunksOf(plainBytes) - 1;
  let ready: Buffer[] = [key.header];
  let index = 0;
  for await (const chunk of inChunks(pieces, plainBytes, objectKey)) {
    ready.push(...key.seal(index, index === last, chunk));
    index += 1;
    if (index % PIECE_CHUNKS !== 0) continue;
    yield Buffer.concat(ready);
    ready = [];
    // Other work gets its turn between two of them.
    await turn();
  }
  if (ready.length > 0) yield Buffer.concat(ready);
}

/** Cut at multiples of a chunk; the last one, which may be short or empty, once everything has come. */
async function* inChunks(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  plainBytes: number,
  objectKey: string,
): AsyncGenerator<Uint8Array> {
  let kept: Uint8Array[] = [];
  let keptBytes = 0;
  let comeBytes = 0;
  const taken = (): Uint8Array => {
    const [only] = kept;
    const chunk = kept.length === 1 && only !== undefined ? only : Buffer.concat(kept);
    kept = [];
    keptBytes = 0;
    return chunk;
  };
  for await (const piece of pieces) {
    comeBytes += piece.length;
    if (comeBytes > plainBytes) throw wrongSize(objectKey, comeBytes, plainBytes);
    for (let at = 0; at < piece.length;) {
      if (keptBytes === CHUNK_BYTES) yield taken();
      const part = piece.subarray(at, at + CHUNK_BYTES - keptBytes);
      kept.push(part);
      keptBytes += part.length;
      at += part.length;
    }
  }
  if (comeBytes < plainBytes) throw wrongSize(objectKey, comeBytes, plainBytes);
  yield taken();
}

function wrongSize(key: string, gotBytes: number, plainBytes: number): SgwError {
  const message = `${String(gotBytes)} bytes came of ${key}, not ${String(plainBytes)}`;
  return new SgwError('invalid', 'body-size', message, { details: { key } });
}

export interface Opening {
  readonly named: NamedKey;
  readonly objectKey: string;
  /** At least `HEADER_BYTES`. */
  readonly header: Buffer;
  /** Of the whole object, as it is stored. */
  readonly storedBytes: number;
}

/** The part of the contents from `start` to before `end`. */
export interface Wanted {
  readonly start: number;
  readonly end: number;
}

/**
 * A part of what is in some chunks, from chunk `first` on; they end at a chunk's end, or the object's.
 * Undefined unless all of them are just what was sealed by this key, in this place of this object, and the part is in them.
 */
export async function openChunks(
  opening: Opening,
  first: number,
  sealed: Buffer,
  { start, end }: Wanted,
): Promise<Buffer | undefined> {
  const { named, objectKey, header, storedBytes } = opening;
  const plainBytes = plainSize(storedBytes);
  if (plainBytes === undefined || keyIdOf(header) !== named.keyId) return undefined;
  const key = new ChunkKey(named, header, objectKey);
  const last = chunksOf(plainBytes) - 1;
  const plain = Buffer.allocUnsafeSlow(end - start);
  let openedTo = first * CHUNK_BYTES;
  if (openedTo > start) return undefined;
  for (let at = 0, index = first; at < sealed.length; at += SEALED_CHUNK_BYTES, index += 1) {
    const opened = key.open(index, index === last, sealed.subarray(at, at + SEALED_CHUNK_BYTES));
    if (opened === undefined) return undefined;
    const from = Math.max(0, start - openedTo);
    const to = Math.min(opened.length, end - openedTo);
    if (from < to) opened.copy(plain, openedTo + from - start, from, to);
    openedTo += opened.length;
    if ((index - first + 1) % PIECE_CHUNKS === 0) await turn();
  }
  return openedTo < end ? undefined : plain;
}
