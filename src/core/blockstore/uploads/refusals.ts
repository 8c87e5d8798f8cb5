/** What writing a snapshot through the API is refused with. */
import { SgwError } from '../../kit/index.ts';
import { API_BLOCK_BYTES } from '../geometry.ts';
import type { UploadEntry } from '../upload-entry.ts';

export const blocksOf = (sizeBytes: number): number => Math.ceil(sizeBytes / API_BLOCK_BYTES);

export function sealedStore(): SgwError {
  return new SgwError('unsupported', 'upload-sealed-store', 'the store has a key that its customer holds', {
    hint: 'Blocks of such a store are read and written by a gateway that has the key.',
  });
}

export function notFound(snapshotId: string): SgwError {
  return new SgwError('notFound', 'snapshot-not-found', `snapshot "${snapshotId}" does not exist`, {
    details: { snapshotId },
  });
}

export function outOfRange({ snapshotId, sizeBytes }: UploadEntry, block: number): SgwError {
  const last = String(blocksOf(sizeBytes) - 1);
  return new SgwError('invalid', 'block-out-of-range', `snapshot ${snapshotId} has no block ${String(block)}`, {
    hint: `Its blocks are 0 to ${last}.`,
    details: { snapshotId, block },
  });
}

export function notOpen({ snapshotId, state, upload }: UploadEntry, isExpired: boolean): SgwError {
  const what = isExpired
    ? 'was not written to for too long'
    : state === 'pending'
      ? `is ${upload.state}`
      : `is ${state}`;
  return new SgwError('conflict', 'upload-not-open', `snapshot ${snapshotId} ${what}, and takes no blocks`, {
    hint: 'Start another snapshot.',
    details: { snapshotId, state },
  });
}

export function writeConflict(snapshotId: string, block: number): SgwError {
  return new SgwError(
    'conflict',
    'block-write-conflict',
    `block ${String(block)} of snapshot ${snapshotId} is written by others at the same time`,
    { hint: 'Let one writer write each block.', details: { snapshotId, block } },
  );
}

export function claimedOtherwise({ snapshotId, upload }: UploadEntry): SgwError {
  const blocks = String(upload.sealed?.blocks ?? 0);
  return new SgwError(
    'conflict',
    'upload-claimed-otherwise',
    `snapshot ${snapshotId} is being completed with ${blocks} blocks and another checksum or count`,
    { hint: 'Complete it with what it was completed with first.', details: { snapshotId } },
  );
}
