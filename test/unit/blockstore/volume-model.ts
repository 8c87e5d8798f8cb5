/** A volume as a plain byte array, and the means to commit to a real one beside it. */
import { blockViews, FrameEncoder } from '../../../src/core/blockstore/frame-codec.ts';
import { decodeFrame } from '../../../src/core/blockstore/frame-codec.ts';
import {
  BLOCK_BYTES,
  PAGE_BYTES,
  PAGE_HASH_BYTES,
  popcount16,
  type BlockStoreOptions,
  type EncodedFrames,
  type VolumeView,
} from '../../../src/core/blockstore/index.ts';
import { checkStoredNode, unpackNode, type NodePointer } from '../../../src/core/blockstore/node-codec.ts';
import { seededRandom, type Clock } from '../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';

/** A clock that moves one millisecond each time it is read; sleeping takes no time. */
export function steppingClock(): Clock {
  let now = Date.UTC(2026, 0, 1);
  return {
    nowMs: () => (now += 1),
    monotonicMs: () => (now += 1),
    sleep: () => Promise.resolve(),
  };
}

export const optionsOver = (objects: ObjectStore = memoryStore(), seed = 1): BlockStoreOptions => ({
  objects,
  clock: steppingClock(),
  random: seededRandom(seed),
});

export const ACCOUNT = '000000000001';
export const holder = { gatewayId: 'sgw-00000001', name: 'lab' };
export const otherHolder = { gatewayId: 'sgw-00000002', name: 'attic' };

/** Encodes blocks of an image: each `block` is 64 KiB at that index. */
export function encodeBlocks(image: Buffer, blocks: readonly number[]): EncodedFrames {
  const encoder = new FrameEncoder();
  for (const block of [...blocks].sort((a, b) => a - b)) {
    const bytes = Buffer.alloc(BLOCK_BYTES);
    image.copy(bytes, 0, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
    encoder.add(block, blockViews(bytes));
  }
  return encoder.finish();
}

/** A page filled with a number, so that wrong places show. */
export const stamp = (value: number): Buffer => Buffer.alloc(PAGE_BYTES, `<${String(value)}>`);

/** Reads a whole view, page by page, through frames. */
export async function readAll(view: Pick<VolumeView, 'sizeBytes' | 'map' | 'segments'>): Promise<Buffer> {
  const out = Buffer.alloc(Math.ceil(view.sizeBytes / PAGE_BYTES) * PAGE_BYTES);
  for await (const leaf of view.map.leaves()) {
    for (const run of leaf.runs) {
      const index = await view.segments.index(run.source);
      const entry = index.frame(run.frame);
      const stored = await view.segments.readSpan(run.source, entry.offset, entry.storedLength);
      const hashes = await view.segments.pageHashes(run.source);
      const own = hashes.subarray(
        entry.hashIndex * PAGE_HASH_BYTES,
        (entry.hashIndex + popcount16(entry.mask)) * PAGE_HASH_BYTES,
      );
      const raw = decodeFrame(run.source.key, entry, stored, own, index.opening(run.frame));
      raw.copy(out, run.page * PAGE_BYTES, run.slot * PAGE_BYTES, (run.slot + run.count) * PAGE_BYTES);
    }
  }
  return out.subarray(0, view.sizeBytes);
}

/** The node in stored bytes that are not sealed, checked against its pointer, as a loader gives it. */
export function nodeOf(stored: Buffer, pointer: NodePointer): Buffer {
  checkStoredNode(stored, pointer);
  return unpackNode(stored, pointer);
}
