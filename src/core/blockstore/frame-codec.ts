/**
 * Frames to bytes and back: compression, checksums, page hashes. Synchronous and pure; the worker threads of
 * `FramePool` run it, and small single cases call it directly.
 */
import { crc32 } from 'node:zlib';
import { SgwError } from '../kit/index.ts';
import { damaged } from './damage.ts';
import { BLOCK_BYTES, BLOCK_PAGES, PAGE_BYTES, PAGE_HASH_BYTES } from './geometry.ts';
import { blake3 } from './hash.ts';
import { CODECS, popcount16, type FrameEntry, type PageExtent } from './segment-index.ts';
import type { EncodedFrames } from './segment-codec.ts';
import { blockCompressor } from './zstd.ts';

const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);

/** Builds the frames of many blocks into one buffer. */
export class FrameEncoder {
  readonly #frames: FrameEntry[] = [];
  readonly #parts: Buffer[] = [];
  readonly #hashes: Buffer[] = [];
  readonly #zeroed: PageExtent[] = [];
  #storedBytes = 0;
  #dataPages = 0;
  #readBytes = 0;

  /**
   * Adds what a block holds now. Zero pages are left out. With `known` (16 hashes; all zeroes: not mapped), pages
   * whose hash is known already are left out too, and mapped pages that are zero now are reported as zeroed.
   */
  add(block: number, bytes: Buffer, known?: Uint8Array, creators = 0): void {
    this.#readBytes += bytes.length;
    const hashes: Buffer[] = [];
    let mask = 0;
    for (let i = 0; i * PAGE_BYTES < bytes.length; i++) {
      const page = bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES);
      const knownHash = known?.subarray(i * PAGE_HASH_BYTES, (i + 1) * PAGE_HASH_BYTES);
      if (page.equals(ZERO_PAGE)) {
        if (knownHash !== undefined && !isZero(knownHash)) this.#zero(block * BLOCK_PAGES + i);
        continue;
      }
      const hash = blake3(page).subarray(0, PAGE_HASH_BYTES);
      if (knownHash !== undefined && hash.equals(knownHash)) continue;
      mask |= 1 << i;
      hashes.push(hash);
    }
    if (mask !== 0) this.#append(block, bytes, mask, hashes, creators);
  }

  #append(block: number, bytes: Buffer, mask: number, hashes: readonly Buffer[], creators: number): void {
    const raw = mask === 0xffff ? bytes : gather(bytes, mask);
    const compressed = blockCompressor().compress(raw);
    // A frame that hardly shrinks is stored as it is, so that reading it costs no decompression.
    const worthIt = compressed.length < raw.length - raw.length / 16;
    // Copied: the block is part of a larger buffer, and the compressor reuses its own.
    const stored = Buffer.from(worthIt ? compressed : raw);
    this.#frames.push({
      block,
      offset: this.#storedBytes,
      storedLength: stored.length,
      mask,
      codec: worthIt ? CODECS.zstd : CODECS.none,
      crc32: crc32(stored),
      creators,
      hashIndex: this.#dataPages,
    });
    this.#parts.push(stored);
    this.#hashes.push(...hashes);
    this.#storedBytes += stored.length;
    this.#dataPages += hashes.length;
  }

  #zero(page: number): void {
    const last = this.#zeroed.at(-1);
    if (last !== undefined && last.firstPage + last.pageCount === page) {
      this.#zeroed[this.#zeroed.length - 1] = { firstPage: last.firstPage, pageCount: last.pageCount + 1 };
    } else this.#zeroed.push({ firstPage: page, pageCount: 1 });
  }

  /** In memory of its own, never Buffer's shared pool, so that it can be moved to another thread. */
  #joined(): Buffer {
    const joined = Buffer.allocUnsafeSlow(this.#storedBytes);
    let at = 0;
    for (const part of this.#parts) at += part.copy(joined, at);
    return joined;
  }

  finish(): EncodedFrames {
    return {
      stored: this.#joined(),
      frames: this.#frames,
      pageHashes: Buffer.concat(this.#hashes),
      dataPages: this.#dataPages,
      zeroed: this.#zeroed,
      readBytes: this.#readBytes,
    };
  }
}

const isZero = (hash: Uint8Array): boolean => hash.every((byte) => byte === 0);

/** The pages of a block that the mask names, one after the other. */
function gather(bytes: Buffer, mask: number): Buffer {
  const pages: Buffer[] = [];
  for (let i = 0; i < BLOCK_PAGES; i++) {
    if ((mask & (1 << i)) !== 0) pages.push(bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES));
  }
  return Buffer.concat(pages);
}

/**
 * Decodes a frame: checks its checksum, decompresses it, checks the hash of every page. Returns the pages of all
 * slots, 4 KiB each.
 * @throws corrupt `object-damaged` naming `key` and the block
 */
export function decodeFrame(key: string, entry: FrameEntry, stored: Buffer, pageHashes: Uint8Array): Buffer {
  const what = `the frame at byte ${String(entry.offset)} (volume offset ${String(entry.block * BLOCK_BYTES)})`;
  if (stored.length !== entry.storedLength || crc32(stored) !== entry.crc32)
    throw damaged(key, `${what} does not match its checksum`);
  const pages = popcount16(entry.mask);
  const raw = decompress(key, entry, stored, what);
  if (raw.length !== pages * PAGE_BYTES) throw damaged(key, `${what} has ${String(raw.length)} bytes`);
  for (let slot = 0; slot < pages; slot++) {
    const hash = blake3(raw.subarray(slot * PAGE_BYTES, (slot + 1) * PAGE_BYTES)).subarray(0, PAGE_HASH_BYTES);
    if (!hash.equals(pageHashes.subarray(slot * PAGE_HASH_BYTES, (slot + 1) * PAGE_HASH_BYTES))) {
      throw damaged(key, `page ${String(slot)} of ${what} does not match its hash`);
    }
  }
  return raw;
}

function decompress(key: string, entry: FrameEntry, stored: Buffer, what: string): Buffer {
  if (entry.codec === CODECS.none) return stored;
  if (entry.codec !== CODECS.zstd) {
    throw new SgwError('unsupported', 'frame-codec', `${what} of object ${key} has codec ${String(entry.codec)}`, {
      hint: 'Use a newer sgw.',
      details: { key },
    });
  }
  try {
    return blockCompressor().decompress(stored, BLOCK_BYTES);
  } catch (error) {
    throw damaged(key, `${what} can not be decompressed`, error);
  }
}
