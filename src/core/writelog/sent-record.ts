/** The shape of a record that comes from another gateway. Its pages are held against their checksums whenever they are read. */
import { getU64, viewOf } from '../kit/index.ts';
import { LOG_PAGE_BYTES, LOG_SECTOR_BYTES, type SentRecord } from './contract.ts';
import { nameBytesPadded } from './extents.ts';
import { BARRIER_NAME_BYTES_MAX, CHECKSUM_BYTES, ENTRY_FIXED_BYTES, EXTENT_BYTES, EXTENT_KINDS } from './format.ts';
import { PAGES_MAX } from './page-index.ts';

const MASK_BITS = LOG_PAGE_BYTES / LOG_SECTOR_BYTES;
const FULL = 2 ** MASK_BITS - 1;

/** Whether it could have been made by a log of this format, so that every reader of it gets along. */
export function isWellFormed(record: SentRecord): boolean {
  const { sequence, epoch, appendedMs, uploadedSequence, incarnation, body, pages } = record;
  const areSafe = [sequence, epoch, appendedMs, uploadedSequence].every((one) => Number.isSafeInteger(one) && one >= 0);
  if (!areSafe || sequence < 1 || uploadedSequence >= sequence || !/^[0-9a-f]{16}$/.test(incarnation)) return false;
  const dataPages = pages.length / LOG_PAGE_BYTES;
  const checksumsAt = body.length - dataPages * CHECKSUM_BYTES;
  if (!Number.isInteger(dataPages) || checksumsAt < 0 || body.length > LOG_PAGE_BYTES - ENTRY_FIXED_BYTES) return false;
  return areExtents(body, checksumsAt, record.extentCount, dataPages);
}

/** Whether `count` extents with `dataPages` pages end just before the checksums. */
function areExtents(body: Buffer, checksumsAt: number, count: number, dataPages: number): boolean {
  const view = viewOf(body);
  let at = 0;
  let pages = 0;
  for (let i = 0; i < count; i++) {
    if (at + EXTENT_BYTES > checksumsAt) return false;
    const extent = {
      page: view.getUint32(at, true) + view.getUint16(at + 4, true) * 0x1_0000_0000,
      kind: view.getUint8(at + 6),
      mask: view.getUint8(at + 7),
      count: getU64(view, at + 8),
    };
    if (!isExtent(extent)) return false;
    at += EXTENT_BYTES;
    if (extent.kind === EXTENT_KINDS.pages || extent.kind === EXTENT_KINDS.sectors) pages += extent.count;
    if (extent.kind === EXTENT_KINDS.barrier) at += nameBytesPadded(extent.count);
  }
  return count > 0 && at === checksumsAt && pages === dataPages;
}

interface Extent {
  readonly page: number;
  readonly kind: number;
  readonly mask: number;
  readonly count: number;
}

function isExtent({ page, kind, mask, count }: Extent): boolean {
  const isWithin = count > 0 && page + count <= PAGES_MAX;
  switch (kind) {
    case EXTENT_KINDS.pages:
      return mask === FULL && isWithin;
    case EXTENT_KINDS.sectors:
      return mask > 0 && mask < FULL && count === 1 && isWithin;
    case EXTENT_KINDS.zeroes:
      return mask === 0 && isWithin;
    case EXTENT_KINDS.resize:
      return page === 0 && mask === 0 && count <= PAGES_MAX * LOG_PAGE_BYTES;
    case EXTENT_KINDS.barrier:
      return page === 0 && mask === 0 && count <= BARRIER_NAME_BYTES_MAX;
    default:
      return false;
  }
}
