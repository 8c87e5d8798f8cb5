/** Openings of a write log on a simulated disk, for the fault tests. */
import { systemClock, systemRandom } from '../../src/core/kit/index.ts';
import { findLog, LOG_PAGE_BYTES, openLog, type LogDisk, type WriteLog } from '../../src/core/writelog/index.ts';

export const FILE_PAGES = 16;

export async function openOn(
  disk: LogDisk,
  uploadedSequence = 0,
  capacityFiles = 6,
  filePages = FILE_PAGES,
): Promise<WriteLog> {
  return await openLog({
    disk,
    found: await findLog(disk),
    capacityBytes: capacityFiles * filePages * LOG_PAGE_BYTES,
    fileBytes: filePages * LOG_PAGE_BYTES,
    clock: systemClock,
    incarnation: { incarnation: systemRandom.bytes(8).toString('hex'), epoch: 1, baseSeq: 0, uploadedSequence },
  });
}

export const filled = (value: number, pages = 1): Buffer => Buffer.alloc(pages * LOG_PAGE_BYTES, value);

/** Appends `count` records of one page each: page i is filled with i. */
export async function appendPages(log: WriteLog, count: number, from = 1): Promise<void> {
  for (let i = from; i < from + count; i++) {
    while (!log.hasRoom(LOG_PAGE_BYTES)) await log.room(LOG_PAGE_BYTES);
    await log.append(i, filled(i));
  }
}

/** The byte that a page is filled with; undefined when the log does not have it. */
export function valueOf(log: WriteLog, page: number): number | undefined {
  const slot = log.lookup(page);
  if (slot < 0) return undefined;
  const target = Buffer.alloc(LOG_PAGE_BYTES);
  log.readSlots(slot, target);
  return target.every((byte) => byte === target[0]) ? target[0] : undefined;
}
