/**
 * A block of 512 KiB that was written through the API, as a segment of its own (docs/formats/segment.md): pages of zeroes are
 * extents, since they stand in front of what a parent has there. Pure: no store, no clock.
 */
import { assert, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import { FrameEncoder, blockViews } from '../frame-codec.ts';
import { API_BLOCK_BYTES, BLOCK_BYTES, BLOCK_PAGES } from '../geometry.ts';
import { ZERO_HASH, sealSegment, type SealedSegment } from '../segment-codec.ts';
import type { PageExtent } from '../segment-index.ts';

export interface BlockFacts {
  readonly snapshotId: SnapshotId;
  readonly volumeId: VolumeId;
  /** Of the snapshot. */
  readonly sizeBytes: number;
  /** Who wrote it: the creator of all its frames (C17). */
  readonly accountId: string;
  /** Counted in blocks of 512 KiB. */
  readonly block: number;
  /** SHA-256 of the bytes, hex. */
  readonly sha256: string;
  /** 16 random bytes, hex. */
  readonly segmentId: string;
  readonly writtenAtMs: number;
}

const ALL_PAGES = (1 << BLOCK_PAGES) - 1;

/** `bytes`: all 512 KiB of the block; they must not change while the result is in use. */
export function encodeBlockObject(key: string, facts: BlockFacts, bytes: Buffer): SealedSegment {
  assert(bytes.length === API_BLOCK_BYTES, 'a block is given whole');
  const { snapshotId, volumeId, sizeBytes, accountId, block, sha256, segmentId, writtenAtMs } = facts;
  const first = (block * API_BLOCK_BYTES) / BLOCK_BYTES;
  const pieces = Array.from({ length: API_BLOCK_BYTES / BLOCK_BYTES }, (_, i) => {
    const encoder = new FrameEncoder();
    const views = blockViews(bytes, i * BLOCK_BYTES);
    encoder.addPages(first + i, views, ALL_PAGES, 0);
    return encoder.finish(views.bytes);
  });
  return sealSegment(
    key,
    {
      kind: 'data',
      volumeId,
      seq: 0,
      epoch: 0,
      segmentId,
      commitTimeMs: writtenAtMs,
      prevHash: ZERO_HASH,
      sizeBytes,
      consistent: false,
      records: null,
      creators: [[accountId]],
      upload: { snapshotId, block, sha256 },
    },
    pieces,
    joined(pieces.flatMap(({ zeroed }) => zeroed)),
  );
}

/** Extents that follow each other as one. */
function joined(extents: readonly PageExtent[]): PageExtent[] {
  const out: PageExtent[] = [];
  for (const extent of extents) {
    const last = out.at(-1);
    if (last !== undefined && last.firstPage + last.pageCount === extent.firstPage)
      out[out.length - 1] = { firstPage: last.firstPage, pageCount: last.pageCount + extent.pageCount };
    else out.push(extent);
  }
  return out;
}
