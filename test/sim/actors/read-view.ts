/** Reads a whole view through the real code: map, segment indexes, page hashes, frames. */
import { decodeFrame } from '../../../src/core/blockstore/frame-codec.ts';
import { PAGE_BYTES, PAGE_HASH_BYTES, popcount16, type VolumeView } from '../../../src/core/blockstore/index.ts';
import { contentOf } from '../disk-state.ts';

/** The contents of each mapped page. `between` is called before each run is read, so that reading can be slow. */
export async function readPages(
  view: Pick<VolumeView, 'map' | 'segments'>,
  between: () => Promise<void> = () => Promise.resolve(),
): Promise<Map<number, number>> {
  const pages = new Map<number, number>();
  for await (const leaf of view.map.leaves()) {
    for (const run of leaf.runs) {
      await between();
      const index = await view.segments.index(run.source);
      const entry = index.frame(run.frame);
      const stored = await view.segments.readSpan(run.source, entry.offset, entry.storedLength);
      const hashes = await view.segments.pageHashes(run.source);
      const own = hashes.subarray(
        entry.hashIndex * PAGE_HASH_BYTES,
        (entry.hashIndex + popcount16(entry.mask)) * PAGE_HASH_BYTES,
      );
      const raw = decodeFrame(run.source.key, entry, stored, own, index.opening(run.frame));
      for (let i = 0; i < run.count; i++) {
        const at = (run.slot + i) * PAGE_BYTES;
        pages.set(run.page + i, contentOf(raw.subarray(at, at + PAGE_BYTES), run.source.creators));
      }
    }
  }
  return pages;
}
