/** Reads a block that was written through the API out of its object, before a map points to it. */
import { createHash } from 'node:crypto';
import type { ReadBlock } from '../blocks/index.ts';
import { damaged, missing } from '../damage.ts';
import { decodeFrameInPlace } from '../frame-codec.ts';
import { API_BLOCK_BYTES, API_BLOCK_PAGES, PAGE_BYTES, PAGE_HASH_BYTES } from '../geometry.ts';
import { uploadOfKey } from '../keys.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { forEachPage, popcount16 } from '../segment-index.ts';
import { pageHashesOf, parseSegmentTail } from '../segment-parse.ts';

/** All 512 KiB and their SHA-256, checked against the hashes of its pages. The caller owns the buffer. @throws corrupt */
export async function readUploadedBlock(
  { objects }: Pick<BlockStoreOptions, 'objects'>,
  key: string,
  signal?: AbortSignal,
): Promise<ReadBlock> {
  const object = await objects.get(key, withSignal(signal));
  if (object === undefined) throw missing(key);
  const { bytes } = object;
  const parsed = parseSegmentTail(key, bytes, bytes.length);
  if (!('index' in parsed)) throw damaged(key, 'it is cut short');
  const { index } = parsed;
  const name = uploadOfKey(key);
  const { upload } = index.footer;
  if (name?.kind !== 'block' || upload?.snapshotId !== name.snapshotId || upload.block !== name.block)
    throw damaged(key, 'it is another block');
  const hashes = pageHashesOf(key, bytes, index);
  const out = Buffer.alloc(API_BLOCK_BYTES);
  const firstPage = name.block * API_BLOCK_PAGES;
  for (let frame = 0; frame < index.frameCount; frame++) {
    const entry = index.frame(frame);
    const stored = bytes.subarray(entry.offset, entry.offset + entry.storedLength);
    const ofFrame = hashes.subarray(
      entry.hashIndex * PAGE_HASH_BYTES,
      (entry.hashIndex + popcount16(entry.mask)) * PAGE_HASH_BYTES,
    );
    const raw = decodeFrameInPlace(key, entry, stored, ofFrame, index.opening(frame));
    forEachPage(entry, (page, slot) => {
      if (page < firstPage || page >= firstPage + API_BLOCK_PAGES) throw damaged(key, 'it has pages of another block');
      raw.copy(out, (page - firstPage) * PAGE_BYTES, slot * PAGE_BYTES, (slot + 1) * PAGE_BYTES);
    });
  }
  return { bytes: out, sha256: createHash('sha256').update(out).digest('hex') };
}
