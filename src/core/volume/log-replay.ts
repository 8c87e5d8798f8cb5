/**
 * The write log of a volume that another gateway has taken over: reads it, changing nothing, and puts what the store never
 * got upon a copy of the state that it continues (C4, C6).
 */
import type { WriteCall } from '../blockdevice/index.ts';
import { PAGE_BYTES } from '../blockstore/index.ts';
import { SgwError, type Clock } from '../kit/index.ts';
import { findLog, LOG_SECTOR_BYTES, openLog, type LogDisk, type LogExtent, type WriteLog } from '../writelog/index.ts';
import type { ServedVolume } from './contract.ts';
import { positionOf, recordsIn, uploadedAtLeast, type StorePosition } from './log-position.ts';

/** Log whose headers are read at a time. */
const SLICE_BYTES = 4 << 20;
/** Pages that are copied at a time. */
const COPY_PAGES = 256;

/** What a log holds. */
export interface LogContents {
  /** Of the newest valid record; 0 when there is none. */
  readonly lastSequence: number;
  /** What the log lost, so that only what is before that can be had; null when nothing. */
  readonly damage: string | null;
  /** Records that were not in the store when the log was opened last: the most that only this log may hold. */
  readonly recordsMax: number;
  /** Up to which record a state of the volume holds this log's; undefined for a state that the log does not continue. */
  readonly recordsIn: (state: StorePosition) => number | undefined;
  /** Whether the volume, as the store has it now, was written by somebody else since, with records here that it lacks. */
  readonly isOvertakenBy: (state: StorePosition) => boolean;
}

/** Looks at the log in `disk`, without changing it. @throws unavailable when it can not be read */
export async function readLogContents(disk: LogDisk): Promise<LogContents> {
  const found = await findLog(disk);
  const { lastSequence, damage, incarnations } = found;
  return {
    lastSequence,
    damage,
    recordsMax: Math.max(0, lastSequence - uploadedAtLeast(incarnations)),
    recordsIn: (state) => recordsIn(incarnations, state),
    isOvertakenBy: (state) => positionOf(found, state).kind === 'overtaken',
  };
}

export interface LogReplay {
  readonly disk: LogDisk;
  readonly clock: Clock;
  readonly bufferBytes: number;
  /** Records up to here are in `volume` already. */
  readonly from: number;
  readonly volume: ServedVolume;
  readonly signal: AbortSignal;
  readonly onProgress: (doneRecords: number, totalRecords: number) => void;
}

/**
 * Writes the records behind `from` into `volume`, in their order; returns how many. What is in its own log then is not in the
 * store yet: drain it.
 * @throws notFound `log-records-missing` when the log does not reach back to `from`
 */
export async function replayLogInto(replay: LogReplay): Promise<number> {
  const { disk, clock, bufferBytes, from, volume, signal, onProgress } = replay;
  const found = await findLog(disk);
  const log = await openLog({
    disk,
    found,
    capacityBytes: bufferBytes,
    clock,
    incarnation: { incarnation: '0'.repeat(16), epoch: 0, baseSeq: 0, uploadedSequence: from },
    readOnly: true,
  });
  try {
    let next = from + 1;
    for (;;) {
      const records = log.records(next, SLICE_BYTES);
      for (const { sequence, extents } of records) {
        signal.throwIfAborted();
        if (sequence !== next) throw missing(next, sequence);
        for (const extent of extents) await apply(log, extent, volume, signal);
        next += 1;
      }
      if (records.length === 0) break;
      onProgress(next - 1 - from, found.lastSequence - from);
    }
    if (next <= found.lastSequence) throw missing(next, found.lastSequence);
    return next - 1 - from;
  } finally {
    await log.close();
  }
}

async function apply(log: WriteLog, extent: LogExtent, volume: ServedVolume, signal: AbortSignal): Promise<void> {
  switch (extent.kind) {
    case 'pages': {
      const { firstPage, pageCount, slot } = extent;
      // What was atomic is an extent by itself, and stays whole in what is committed meanwhile.
      const end = (firstPage + pageCount) * PAGE_BYTES;
      const isWhole = pageCount * PAGE_BYTES <= (volume.limits.atomic?.bytesMax ?? 0) && end <= volume.sizeBytes;
      const call: WriteCall = isWhole ? { signal, atomic: true } : { signal };
      for (let at = 0; at < pageCount; at += COPY_PAGES) {
        const bytes = Buffer.allocUnsafe(Math.min(COPY_PAGES, pageCount - at) * PAGE_BYTES);
        log.readSlots(slot + at, bytes);
        const offset = (firstPage + at) * PAGE_BYTES;
        await volume.write(offset, bytes.subarray(0, Math.max(0, volume.sizeBytes - offset)), call);
      }
      return;
    }
    case 'sectors': {
      const bytes = Buffer.allocUnsafe(PAGE_BYTES);
      log.readSlots(extent.slot, bytes);
      for (let sector = 0; sector < PAGE_BYTES / LOG_SECTOR_BYTES; sector++) {
        if ((extent.mask & (1 << sector)) === 0) continue;
        const at = sector * LOG_SECTOR_BYTES;
        await volume.write(extent.page * PAGE_BYTES + at, bytes.subarray(at, at + LOG_SECTOR_BYTES), { signal });
      }
      return;
    }
    case 'zeroes': {
      const offset = extent.firstPage * PAGE_BYTES;
      const length = Math.min(extent.pageCount * PAGE_BYTES, volume.sizeBytes - offset);
      if (length > 0) await volume.writeZeroes(offset, length, { signal });
      return;
    }
    case 'resize':
      await volume.resize(extent.sizeBytes);
      return;
    case 'barrier':
      return;
  }
}

function missing(wanted: number, there: number): SgwError {
  return new SgwError(
    'notFound',
    'log-records-missing',
    `the write log begins with record ${String(there)}; what it is to be put upon ends before record ${String(wanted)}`,
    { hint: 'The folder of the log is left as it is.' },
  );
}
