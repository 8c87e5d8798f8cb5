/**
 * Frames to bytes and back: compression, checksums, page hashes. Synchronous and pure; the worker threads of
 * `FramePool` run it, and small single cases call it directly.
 */
import { crc32 } from 'node:zlib';
import { SgwError } from '../kit/index.ts';
import { damaged } from './damage.ts';
import { BLOCK_BYTES, BLOCK_PAGES, PAGE_BYTES, PAGE_HASH_BYTES } from './geometry.ts';
import { blake3ShortInto } from './hash.ts';
import { CODECS, popcount16, type FrameEntry, type PageExtent } from './segment-index.ts';
import { openFrame, type FrameOpening } from './sealing/segment-seal.ts';
import type { EncodedFrames } from './segment-codec.ts';
import { blockCompressor, compressBound } from './zstd.ts';

const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);

/** A block in memory, and its pages, as views that are made once and used for many blocks: work on them allocates nothing. */
export interface BlockViews {
  readonly bytes: Buffer;
  readonly pages: readonly Buffer[];
}

/** The views of the 64 KiB of `bytes` from `offset` on. */
export function blockViews(bytes: Buffer, offset = 0): BlockViews {
  const block = bytes.subarray(offset, offset + BLOCK_BYTES);
  const pages = Array.from({ length: BLOCK_PAGES }, (_, i) => block.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES));
  return { bytes: block, pages };
}

/** Where frames are gathered before their length is known; one for the thread, since an encoder never waits. */
let scratch = Buffer.alloc(0);
const gathered = blockViews(Buffer.alloc(BLOCK_BYTES));
let scratchHashes = Buffer.alloc(1024 * PAGE_HASH_BYTES);
const ZERO_HASH = Buffer.alloc(PAGE_HASH_BYTES);

/** Builds the frames of many blocks into one buffer. One at a time in a thread, from `new` to `finish`, without a pause. */
export class FrameEncoder {
  readonly #frames: FrameEntry[] = [];
  readonly #zeroed: PageExtent[] = [];
  #storedBytes = 0;
  #dataPages = 0;
  #readBytes = 0;

  /**
   * Adds what a block holds now. Zero pages are left out. With `known` (16 hashes; all zeroes: not mapped), pages
   * whose hash is known already are left out too, and mapped pages that are zero now are reported as zeroed.
   */
  add(block: number, content: BlockViews, known?: Uint8Array, creators = 0): void {
    this.#readBytes += BLOCK_BYTES;
    const hashIndex = this.#dataPages;
    let mask = 0;
    content.pages.forEach((page, i) => {
      const isKnown =
        known !== undefined && ZERO_HASH.compare(known, i * PAGE_HASH_BYTES, (i + 1) * PAGE_HASH_BYTES) !== 0;
      if (page.equals(ZERO_PAGE)) {
        if (isKnown) this.#zero(block * BLOCK_PAGES + i);
        return;
      }
      this.#hash(page);
      if (isKnown && this.#lastHashIs(known, i * PAGE_HASH_BYTES)) return;
      mask |= 1 << i;
      this.#dataPages += 1;
    });
    if (mask !== 0) this.#append(block, content, mask, hashIndex, creators);
  }

  /**
   * Adds the pages of a block that `wanted` names; the others are not looked at. Zero pages are left out and reported as
   * zeroed. Returns which pages the frame has.
   */
  addPages(block: number, content: BlockViews, wanted: number, creators: number): number {
    const hashIndex = this.#dataPages;
    let mask = 0;
    for (let i = 0; i < BLOCK_PAGES; i++) {
      const page = content.pages[i];
      if (page === undefined || (wanted & (1 << i)) === 0) continue;
      this.#readBytes += PAGE_BYTES;
      if (page.equals(ZERO_PAGE)) {
        this.#zero(block * BLOCK_PAGES + i);
        continue;
      }
      this.#hash(page);
      mask |= 1 << i;
      this.#dataPages += 1;
    }
    if (mask !== 0) this.#append(block, content, mask, hashIndex, creators);
    return mask;
  }

  #append(block: number, content: BlockViews, mask: number, hashIndex: number, creators: number): void {
    const raw = mask === 0xffff ? content.bytes : gather(content, mask);
    const target = this.#room(compressBound(raw.length));
    let storedLength = blockCompressor().compress(raw, target);
    // A frame that hardly shrinks is stored as it is, so that reading it costs no decompression.
    const worthIt = storedLength < raw.length - raw.length / 16;
    if (!worthIt) storedLength = raw.copy(target);
    this.#frames.push({
      block,
      offset: this.#storedBytes,
      storedLength,
      mask,
      codec: worthIt ? CODECS.zstd : CODECS.none,
      crc32: crc32(target.subarray(0, storedLength)),
      creators,
      hashIndex,
    });
    this.#storedBytes += storedLength;
  }

  /** Puts the page's hash behind those that count. */
  #hash(page: Buffer): void {
    const at = this.#dataPages * PAGE_HASH_BYTES;
    if (scratchHashes.length < at + PAGE_HASH_BYTES) scratchHashes = Buffer.concat([scratchHashes, scratchHashes]);
    blake3ShortInto(page, scratchHashes, at);
  }

  #lastHashIs(known: Uint8Array, knownAt: number): boolean {
    const at = this.#dataPages * PAGE_HASH_BYTES;
    return scratchHashes.compare(known, knownAt, knownAt + PAGE_HASH_BYTES, at, at + PAGE_HASH_BYTES) === 0;
  }

  /** At least `bytes` free bytes behind what is stored so far. */
  #room(bytes: number): Buffer {
    if (scratch.length < this.#storedBytes + bytes) {
      const larger = Buffer.allocUnsafeSlow(2 * (this.#storedBytes + bytes));
      scratch.copy(larger, 0, 0, this.#storedBytes);
      scratch = larger;
    }
    return scratch.subarray(this.#storedBytes);
  }

  #zero(page: number): void {
    const last = this.#zeroed.at(-1);
    if (last !== undefined && last.firstPage + last.pageCount === page) {
      this.#zeroed[this.#zeroed.length - 1] = { firstPage: last.firstPage, pageCount: last.pageCount + 1 };
    } else this.#zeroed.push({ firstPage: page, pageCount: 1 });
  }

  /** `raw`: what the one block that was added holds; it is taken, and not copied, where it is stored as it is. */
  finish(raw?: Buffer): EncodedFrames {
    const [first] = this.#frames;
    const isRaw = raw !== undefined && first?.codec === CODECS.none && this.#storedBytes === raw.length;
    // In memory of its own, never Buffer's shared pool, so that it can be moved to another thread.
    const stored = isRaw ? raw : Buffer.allocUnsafeSlow(this.#storedBytes);
    if (!isRaw) scratch.copy(stored, 0, 0, this.#storedBytes);
    const dataPages = this.#dataPages;
    const pageHashes = Buffer.from(scratchHashes.subarray(0, dataPages * PAGE_HASH_BYTES));
    return { stored, frames: this.#frames, pageHashes, dataPages, zeroed: this.#zeroed, readBytes: this.#readBytes };
  }
}

/** The pages of a block that the mask names, one after the other; valid until the next call. */
function gather(content: BlockViews, mask: number): Buffer {
  let length = 0;
  content.pages.forEach((page, i) => {
    if ((mask & (1 << i)) !== 0) length += page.copy(gathered.bytes, length);
  });
  return gathered.bytes.subarray(0, length);
}

/** Where frames are decompressed to. */
const decoded = blockViews(Buffer.alloc(BLOCK_BYTES));
const pageHash = Buffer.alloc(PAGE_HASH_BYTES);

/**
 * Decodes a frame: checks its checksum, opens it with `opening` if its segment is sealed (`SegmentIndex.opening`),
 * decompresses it, checks the hash of every page. Returns the pages of all
 * slots, 4 KiB each.
 * @throws corrupt `object-damaged` naming `key` and the block
 */
export function decodeFrame(
  key: string,
  entry: FrameEntry,
  stored: Buffer,
  pageHashes: Uint8Array,
  opening?: FrameOpening,
): Buffer {
  return Buffer.from(decodeFrameInPlace(key, entry, stored, pageHashes, opening));
}

/**
 * As `decodeFrame`, into memory of this module: the result is valid until the next call. Without page hashes nothing but the
 * checksum is checked: for who holds the pages against something else.
 */
export function decodeFrameInPlace(
  key: string,
  entry: FrameEntry,
  stored: Buffer,
  pageHashes: Uint8Array | null,
  opening?: FrameOpening,
): Buffer {
  const what = `the frame at byte ${String(entry.offset)} (volume offset ${String(entry.block * BLOCK_BYTES)})`;
  if (stored.length !== entry.storedLength || crc32(stored) !== entry.crc32)
    throw damaged(key, `${what} does not match its checksum`);
  const pages = popcount16(entry.mask);
  const packed = opening === undefined ? stored : openFrame(opening, entry, stored);
  if (packed === undefined) throw damaged(key, `${what} was altered, or belongs elsewhere`);
  const rawLength = decompress(key, entry, packed, what);
  const isWhole = pageHashes === null || pageHashes.length === pages * PAGE_HASH_BYTES;
  if (rawLength !== pages * PAGE_BYTES || !isWhole) throw damaged(key, `${what} has ${String(rawLength)} bytes`);
  if (pageHashes === null) return decoded.bytes.subarray(0, rawLength);
  decoded.pages.slice(0, pages).forEach((page, slot) => {
    const at = slot * PAGE_HASH_BYTES;
    blake3ShortInto(page, pageHash, 0);
    if (pageHash.compare(pageHashes, at, at + PAGE_HASH_BYTES) === 0) return;
    throw damaged(key, `page ${String(slot)} of ${what} does not match its hash`);
  });
  return decoded.bytes.subarray(0, rawLength);
}

/** Decompresses to `decoded`; returns the length. */
function decompress(key: string, entry: FrameEntry, stored: Buffer, what: string): number {
  if (entry.codec === CODECS.none) return stored.copy(decoded.bytes);
  if (entry.codec !== CODECS.zstd) {
    throw new SgwError('unsupported', 'frame-codec', `${what} of object ${key} has codec ${String(entry.codec)}`, {
      hint: 'Use a newer sgw.',
      details: { key },
    });
  }
  try {
    return blockCompressor().decompress(stored, decoded.bytes);
  } catch (error) {
    throw damaged(key, `${what} can not be decompressed`, error);
  }
}
