/**
 * What an opening for writing does with the files that were found, whoever makes the records: takes them into the ring, and makes
 * what was found durable, so that nothing of it can be lost and nothing that was torn away can come back.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { assert } from '../kit/index.ts';
import type { Appender } from './appender.ts';
import { LOG_PAGE_BYTES, type LogDisk } from './contract.ts';
import { INCARNATIONS_MAX, type KeptIncarnation } from './format.ts';
import type { ChainedFile, FoundState } from './found.ts';
import { RingFile } from './ring-file.ts';
import type { Ring } from './ring.ts';
import type { Syncer } from './syncer.ts';

const FILE_BYTES_MIN = 4 * 1024 ** 2;
const FILE_BYTES_MAX = 64 * 1024 ** 2;
const LOG_FILE_BYTES_MIN = 4 * LOG_PAGE_BYTES;
/** Small files are made, looked through and freed quickly; each takes a file descriptor. */
const FILES_WANTED = 256;
const REWRITE_BYTES = 1024 ** 2;

export interface Adopting {
  readonly disk: LogDisk;
  /** Records up to here are in the store. */
  readonly uploaded: number;
  /** The store has more than what is left here: sequences go on behind that, in another file. */
  readonly hasJump: boolean;
  readonly isReadOnly: boolean;
}

/** The size of a new log's files, by default. */
function logFileBytes(capacityBytes: number): number {
  const wanted = Math.floor(capacityBytes / FILES_WANTED);
  return Math.max(FILE_BYTES_MIN, Math.min(FILE_BYTES_MAX, wanted - (wanted % LOG_PAGE_BYTES)));
}

/** Pages of each file: those that there are, or those of a new log. */
export function pageCountOf(
  found: FoundState,
  options: { readonly capacityBytes: number; readonly fileBytes?: number },
): number {
  const fileBytes = options.fileBytes ?? logFileBytes(options.capacityBytes);
  assert(fileBytes % LOG_PAGE_BYTES === 0 && fileBytes >= LOG_FILE_BYTES_MIN, `log files of ${fileBytes} bytes`);
  return found.logId === undefined ? fileBytes / LOG_PAGE_BYTES : found.pageCount;
}

/** Those that have records, of which the store lacks some or holds the last ones. */
export function stillNeeded(
  incarnations: readonly KeptIncarnation[],
  lastSequence: number,
  uploaded: number,
): KeptIncarnation[] {
  const needed = incarnations.filter(({ firstSequence }, i) => {
    const last = (incarnations[i + 1]?.firstSequence ?? lastSequence + 1) - 1;
    return last >= firstSequence && last >= uploaded;
  });
  return needed.slice(1 - INCARNATIONS_MAX);
}

/** Opens the files and takes them into the ring: as live those with records that the store may lack, as free the others. */
export async function adoptFiles(ring: Ring, found: FoundState, adopting: Adopting): Promise<void> {
  const { chain, files } = found;
  const { disk, isReadOnly } = adopting;
  const fileBytes = ring.pageCount * LOG_PAGE_BYTES;
  const chained = new Set(chain.map(({ file }) => file));
  for (const one of chain) await adoptChained(ring, found, one, adopting);
  const others = files.filter((file) => !chained.has(file));
  others.sort((a, b) => (a.header?.generation ?? 0) - (b.header?.generation ?? 0));
  for (const file of isReadOnly ? [] : others) {
    if (file.sizeBytes !== fileBytes) {
      await disk.remove(file.name);
      continue;
    }
    const handle = await disk.open(file.name, fileBytes);
    ring.adopt(new RingFile(file.number, handle, ring.pageCount), 'free');
  }
}

async function adoptChained(ring: Ring, found: FoundState, chained: ChainedFile, adopting: Adopting): Promise<void> {
  const { chain, flushPoints, lastSequence } = found;
  const { disk, uploaded, hasJump } = adopting;
  const { file: foundFile, header, starts, firstSequence, nextPage } = chained;
  const handle = await disk.open(foundFile.name, ring.pageCount * LOG_PAGE_BYTES);
  const file = new RingFile(foundFile.number, handle, ring.pageCount);
  file.reset(header.generation, firstSequence);
  starts.forEach((page, i) => {
    const sequence = firstSequence + i;
    file.addRecord(sequence, page);
    if (flushPoints.has(sequence) || sequence === lastSequence) file.markFlushed(sequence);
  });
  file.nextPage = nextPage;
  const isLast = chained === chain.at(-1);
  // One that has only notes is a link of the chain as well.
  const isLive = (isLast && !hasJump) || file.lastSequence > uploaded;
  ring.adopt(file, isLive ? 'live' : 'free');
}

/** Makes all that was found durable; files that were begun after its end are free for good. @throws unavailable */
export async function makeDurable(ring: Ring, found: FoundState, appender: Appender, syncer: Syncer): Promise<void> {
  wipeStrays(ring, found, appender);
  await rewriteUnflushed(ring, appender);
  await syncer.sync();
  const { position } = appender;
  position.flushedSequence = position.lastSequence;
}

/** Files that were begun after what is the last one now: nothing of them may come back. */
function wipeStrays(ring: Ring, { strays }: FoundState, appender: Appender): void {
  const numbers = new Set(strays.map((file) => file.number));
  for (const file of ring.files) {
    if (!numbers.has(file.number)) continue;
    file.handle.writeSync([Buffer.alloc(LOG_PAGE_BYTES)], 0);
    appender.unsynced.add(file);
  }
}

/**
 * Writes again what no flush is known for, as it is. After a sync that failed in the process before, the kernel may hold
 * pages that it takes for written and that the disk does not have.
 */
async function rewriteUnflushed(ring: Ring, appender: Appender): Promise<void> {
  const { flushedSequence } = appender.position;
  for (const file of ring.live) {
    if (file.lastSequence <= flushedSequence && file !== ring.current) continue;
    const pages = file.pagesAbove(flushedSequence);
    const end = file.nextPage * LOG_PAGE_BYTES;
    const buffer = Buffer.allocUnsafe(Math.min(REWRITE_BYTES, pages * LOG_PAGE_BYTES));
    for (let at = end - pages * LOG_PAGE_BYTES; at < end; at += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, end - at));
      file.handle.readSync(piece, at);
      file.handle.writeSync([piece], at);
      await breathe();
    }
    // Its first page as well.
    const first = Buffer.allocUnsafe(LOG_PAGE_BYTES);
    file.handle.readSync(first, 0);
    file.handle.writeSync([first], 0);
    appender.unsynced.add(file);
  }
}
