/**
 * A block of 512 KiB that was written through the API, as a segment of its own (docs/formats/segment.md): pages of zeroes are
 * extents, since they stand in front of what a parent has there. Pure: no store, no clock.
 */
import { assert, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import { FrameEncoder, blockViews } from '../frame-codec.ts';
import { API_BLOCK_BYTES, BLOCK_BYTES, BLOCK_PAGES } from '../geometry.ts';
import { ZERO_HASH, sealSegment, type SealedSegment } from '../segment-codec.ts';

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
  const encoder = new FrameEncoder();
  const first = (block * API_BLOCK_BYTES) / BLOCK_BYTES;
  for (let i = 0; i < API_BLOCK_BYTES / BLOCK_BYTES; i++)
    encoder.addPages(first + i, blockViews(bytes, i * BLOCK_BYTES), ALL_PAGES, 0);
  const encoded = encoder.finish();
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
    [encoded],
    encoded.zeroed,
  );
}
