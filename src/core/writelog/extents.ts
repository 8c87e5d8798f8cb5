/** Reading the extents and checksums in a record's header page. @see docs/formats/writelog.md */
import { certain } from './certain.ts';
import type { LogExtent, Slot } from './contract.ts';
import { getU64, viewOf } from '../kit/index.ts';
import { CHECKSUM_BYTES, ENTRY_FIXED_BYTES, EXTENT_BYTES, EXTENT_KINDS, type Entry } from './format.ts';

/** Bytes that a barrier's name takes behind its entry. */
export const nameBytesPadded = (bytes: number): number => (bytes + 7) & ~7;

/**
 * The extents of a record whose data pages begin at `firstSlot`; undefined when the header contradicts itself, which only
 * a bug or a forger can make it do.
 */
export function decodeExtents(entry: Entry, page: Uint8Array, firstSlot: Slot): LogExtent[] | undefined {
  const view = viewOf(page);
  const checksumsAt = entry.usedBytes - entry.dataPages * CHECKSUM_BYTES;
  if (checksumsAt < ENTRY_FIXED_BYTES) return undefined;
  const extents: LogExtent[] = [];
  let at = ENTRY_FIXED_BYTES;
  let dataPage = 0;
  const checksums = (count: number): Uint32Array => {
    const values = new Uint32Array(count);
    for (let i = 0; i < count; i++) values[i] = view.getUint32(checksumsAt + (dataPage + i) * CHECKSUM_BYTES, true);
    dataPage += count;
    return values;
  };
  for (let i = 0; i < entry.extentCount; i++) {
    if (at + EXTENT_BYTES > checksumsAt) return undefined;
    const firstPage = view.getUint32(at, true) + view.getUint16(at + 4, true) * 0x1_0000_0000;
    const kind = view.getUint8(at + 6);
    const mask = view.getUint8(at + 7);
    const count = getU64(view, at + 8);
    const slot = firstSlot + dataPage;
    at += EXTENT_BYTES;
    if (kind === EXTENT_KINDS.pages) {
      if (dataPage + count > entry.dataPages) return undefined;
      extents.push({ kind: 'pages', firstPage, pageCount: count, slot, checksums: checksums(count) });
    } else if (kind === EXTENT_KINDS.sectors) {
      if (dataPage + 1 > entry.dataPages) return undefined;
      extents.push({ kind: 'sectors', page: firstPage, mask, slot, checksum: certain(checksums(1)[0]) });
    } else if (kind === EXTENT_KINDS.zeroes) extents.push({ kind: 'zeroes', firstPage, pageCount: count });
    else if (kind === EXTENT_KINDS.resize) extents.push({ kind: 'resize', sizeBytes: count });
    else if (kind === EXTENT_KINDS.barrier) {
      if (at + nameBytesPadded(count) > checksumsAt) return undefined;
      extents.push({ kind: 'barrier', name: Buffer.from(page.subarray(at, at + count)).toString('utf8') });
      at += nameBytesPadded(count);
    } else return undefined;
  }
  return at === checksumsAt && dataPage === entry.dataPages ? extents : undefined;
}

/** CRC-32 of data page `index` of a record, as its header says. */
export function checksumOf(entry: Entry, page: Uint8Array, index: number): number {
  return viewOf(page).getUint32(entry.usedBytes - (entry.dataPages - index) * CHECKSUM_BYTES, true);
}
