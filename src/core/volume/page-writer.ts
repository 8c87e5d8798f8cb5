/**
 * Turns writes, zeroes and trims of any extent into pages and sectors of the write log. Everything that one call appends is
 * appended in one task of the event loop, so it is in one record as a rule. Where a record or a file of the log is full it goes
 * on in the next: a write that was not acknowledged may then be there in part, by pages, after a crash. Atomic writes are in
 * one record always.
 *
 * Parts of a page become a whole page when the rest is at hand, else sectors over what is below, without fetching that.
 * Parts of a sector need the rest of it: then the page is fetched first, and looked at again before it is appended, so that
 * no write to its other bytes is undone.
 */
import { PAGE_BYTES } from '../blockstore/index.ts';
import { LOG_SECTOR_BYTES, type WriteLog } from '../writelog/index.ts';
import type { PageBelow, PageReader } from './page-reader.ts';

/** For what is appended later than it was asked for, since pages had to be fetched. */
export interface LateAppends {
  /** @throws why nothing may be appended any more: the volume was fenced or closed meanwhile */
  readonly check: () => void;
  /** About so many bytes are in the log only now. */
  readonly appended: (bytes: number) => void;
}

/** Bytes in one page. */
interface Part {
  readonly page: number;
  /** In the page. */
  readonly from: number;
  readonly to: number;
}

export class PageWriter {
  readonly #log: WriteLog;
  readonly #reader: PageReader;
  readonly #late: LateAppends;

  constructor(log: WriteLog, reader: PageReader, late: LateAppends) {
    this.#log = log;
    this.#reader = reader;
    this.#late = late;
  }

  /**
   * Room that the log must have for a write of `length`: two pages for its ends, and three for the records that the ends and
   * what lies between may each begin, since looking at a page that was just appended ends its record.
   */
  static costBytes(length: number): number {
    return length + 5 * PAGE_BYTES;
  }

  /** Appends `data`. Resolves when it is in the log. */
  write(offset: number, data: Buffer, signal?: AbortSignal): Promise<void> {
    const { length } = data;
    if (offset % PAGE_BYTES === 0 && length % PAGE_BYTES === 0) return this.#log.append(offset / PAGE_BYTES, data);
    return this.#appendParts(offset, length, data, signal);
  }

  /** Appends pages in one record. Reads that are under way see all of them or none. */
  writeWhole(offset: number, data: Buffer): Promise<void> {
    const appended = this.#log.appendWhole(offset / PAGE_BYTES, data);
    this.#reader.replaced(offset, data.length);
    return appended;
  }

  /** Makes bytes zero. Resolves when that is in the log. */
  zero(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    if (offset % PAGE_BYTES === 0 && length % PAGE_BYTES === 0)
      return this.#log.appendZeroes(offset / PAGE_BYTES, length / PAGE_BYTES);
    return this.#appendParts(offset, length, undefined, signal);
  }

  #appendParts(offset: number, length: number, data: Buffer | undefined, signal?: AbortSignal): Promise<void> {
    const parts = partsOf(offset, length);
    const torn = parts.filter(({ from, to }) => from % LOG_SECTOR_BYTES !== 0 || to % LOG_SECTOR_BYTES !== 0);
    if (torn.length === 0) return this.#append(offset, length, data, new Map());
    return this.#appendTorn(offset, length, data, torn, signal);
  }

  /** As `#append`, after what is below the torn pages was fetched. */
  async #appendTorn(
    offset: number,
    length: number,
    data: Buffer | undefined,
    torn: readonly Part[],
    signal?: AbortSignal,
  ): Promise<void> {
    const cost = PageWriter.costBytes(length);
    for (;;) {
      const below = new Map<number, PageBelow>();
      for (const { page } of torn) below.set(page, await this.#reader.waitBelow(page, signal));
      this.#late.check();
      // Others may have filled the log meanwhile.
      if (!this.#log.hasRoom(cost)) await this.#log.room(cost, signal);
      // From here to the append nothing else runs.
      else if ([...below].every(([page, one]) => this.#reader.overlayLog(page, one))) {
        const appended = this.#append(offset, length, data, below);
        this.#late.appended(length);
        await appended;
        return;
      }
    }
  }

  /** `whole`: what the pages hold now of which parts of sectors are written. */
  async #append(
    offset: number,
    length: number,
    data: Buffer | undefined,
    whole: ReadonlyMap<number, PageBelow>,
  ): Promise<void> {
    const end = offset + length;
    const firstWhole = Math.ceil(offset / PAGE_BYTES);
    const endWhole = Math.floor(end / PAGE_BYTES);
    const appended: Promise<void>[] = [];
    for (const part of partsOf(offset, length)) {
      const at = part.page * PAGE_BYTES + part.from - offset;
      appended.push(this.#appendPart(part, data?.subarray(at, at + part.to - part.from), whole.get(part.page)?.bytes));
    }
    if (endWhole > firstWhole) {
      const at = firstWhole * PAGE_BYTES - offset;
      appended.push(
        data === undefined
          ? this.#log.appendZeroes(firstWhole, endWhole - firstWhole)
          : this.#log.append(firstWhole, data.subarray(at, at + (endWhole - firstWhole) * PAGE_BYTES)),
      );
    }
    // Any of them may fail, and none may do so unheard.
    await Promise.all(appended);
  }

  #appendPart({ page, from, to }: Part, data: Buffer | undefined, whole: Buffer | undefined): Promise<void> {
    const bytes = whole ?? Buffer.allocUnsafe(PAGE_BYTES);
    const isWhole = whole !== undefined || this.#reader.tryPage(page, bytes);
    if (!isWhole) bytes.fill(0);
    if (data === undefined) bytes.fill(0, from, to);
    else data.copy(bytes, from);
    return isWhole ? this.#log.append(page, bytes) : this.#log.appendSectors(page, maskOf(from, to), bytes);
  }
}

/** The pages at the ends of an extent that it covers in part. */
function partsOf(offset: number, length: number): Part[] {
  const end = offset + length;
  const first = Math.floor(offset / PAGE_BYTES);
  const last = Math.floor((end - 1) / PAGE_BYTES);
  const parts = first === last ? [first] : [first, last];
  return parts
    .map((page) => ({
      page,
      from: Math.max(0, offset - page * PAGE_BYTES),
      to: Math.min(PAGE_BYTES, end - page * PAGE_BYTES),
    }))
    .filter(({ from, to }) => to - from < PAGE_BYTES);
}

function maskOf(from: number, to: number): number {
  let mask = 0;
  for (let sector = from / LOG_SECTOR_BYTES; sector < to / LOG_SECTOR_BYTES; sector++) mask |= 1 << sector;
  return mask;
}
