/** The last page of a volume whose size is no multiple of a page: what shrinking does to it (C9). */
import { blockViews, decodeFrame, FrameEncoder } from './frame-codec.ts';
import { BLOCK_BYTES, BLOCK_PAGES, PAGE_BYTES, PAGE_HASH_BYTES } from './geometry.ts';
import { creatorSet } from './node-codec.ts';
import type { PageMap, PageRun } from './page-map.ts';
import type { EncodedFrames } from './segment-codec.ts';
import { popcount16, type PageExtent } from './segment-index.ts';
import type { SegmentReader } from './segment-reader.ts';

interface CutPage {
  readonly encoded: readonly EncodedFrames[];
  readonly unmap: readonly PageExtent[];
  readonly creators: readonly (readonly string[])[];
}

/** What to commit so that the page holding byte `sizeBytes` reads as zeroes from there on; undefined when nothing is to do. */
export async function cutTailPage(
  volume: { readonly map: PageMap; readonly segments: SegmentReader },
  sizeBytes: number,
  accountId: string,
  signal?: AbortSignal,
): Promise<CutPage | undefined> {
  const page = Math.floor(sizeBytes / PAGE_BYTES);
  const keptBytes = sizeBytes % PAGE_BYTES;
  if (keptBytes === 0) return undefined;
  const run = (await volume.map.runsAround(page, signal)).find((r) => r.page <= page && page < r.page + r.count);
  if (run === undefined) return undefined;
  const bytes = await readPage(volume.segments, run, page, signal);
  bytes.fill(0, keptBytes);
  const block = Buffer.alloc(BLOCK_BYTES);
  bytes.copy(block, (page % BLOCK_PAGES) * PAGE_BYTES);
  const encoder = new FrameEncoder();
  encoder.add(Math.floor(page / BLOCK_PAGES), blockViews(block));
  const encoded = encoder.finish();
  const unmap = encoded.dataPages === 0 ? [{ firstPage: page, pageCount: 1 }] : [];
  return { encoded: [encoded], unmap, creators: [creatorSet(run.source.creators, [accountId])] };
}

/** Reads one page through the map's run that holds it; a copy. */
async function readPage(segments: SegmentReader, run: PageRun, page: number, signal?: AbortSignal): Promise<Buffer> {
  const index = await segments.index(run.source, signal);
  const entry = index.frame(run.frame);
  const stored = await segments.readSpan(run.source, entry.offset, entry.storedLength, signal);
  const hashes = await segments.pageHashes(run.source, signal);
  const own = hashes.subarray(
    entry.hashIndex * PAGE_HASH_BYTES,
    (entry.hashIndex + popcount16(entry.mask)) * PAGE_HASH_BYTES,
  );
  const raw = decodeFrame(run.source.key, entry, stored, own, index.opening(run.frame));
  const slot = run.slot + (page - run.page);
  return Buffer.from(raw.subarray(slot * PAGE_BYTES, (slot + 1) * PAGE_BYTES));
}
