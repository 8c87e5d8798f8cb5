/**
 * The hashes of the pages that a leaf of the map holds now, so that an import or a comparison can skip what is unchanged (C17).
 */
import { SgwError } from '../kit/index.ts';
import { LEAF_PAGES, PAGE_HASH_BYTES } from './geometry.ts';
import type { LeafView } from './page-map.ts';
import type { SegmentReader } from './segment-reader.ts';

/**
 * 16 bytes for each of the leaf's 1024 pages; all zero where no page is mapped.
 * @throws corrupt when a segment is missing, damaged, or lacks the frame that the map names
 */
export async function hashesOfLeaf(leaf: LeafView, segments: SegmentReader, signal?: AbortSignal): Promise<Uint8Array> {
  const hashes = new Uint8Array(LEAF_PAGES * PAGE_HASH_BYTES);
  for (const run of leaf.runs) {
    const index = await segments.index(run.source, signal);
    const table = await segments.pageHashes(run.source, signal);
    if (run.frame >= index.frameCount) {
      throw new SgwError(
        'corrupt',
        'frame-missing',
        `object ${run.source.key} has no frame ${String(run.frame)}, which page ${String(run.page)} needs`,
        {
          details: { key: run.source.key, offset: run.page * 4096 },
        },
      );
    }
    const first = (index.frame(run.frame).hashIndex + run.slot) * PAGE_HASH_BYTES;
    hashes.set(
      table.subarray(first, first + run.count * PAGE_HASH_BYTES),
      (run.page - leaf.firstPage) * PAGE_HASH_BYTES,
    );
  }
  return hashes;
}
