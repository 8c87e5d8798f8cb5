/**
 * One file of the ring while the log is open: which records it holds and which page of the volume each of its slots was
 * written for, so that neither uploading nor recycling has to search.
 *
 * Invariant: pages below `nextPage` are written or about to be by the record that is open; record `firstSequence + i`
 * begins at page `startOf(i)`.
 */
import type { LogFile } from './contract.ts';
import { assert } from '../kit/index.ts';

/** In an entry of the table of records: a flush came right behind the record. */
const FLUSHED = 0x8000_0000;
const STARTS_MIN = 64;

export class RingFile {
  readonly number: number;
  readonly handle: LogFile;
  readonly pageCount: number;
  readonly firstSlot: number;
  generation = 0;
  nextPage = 1;
  #firstSequence = 0;
  #recordCount = 0;
  #starts = new Uint32Array(STARTS_MIN);
  /** By page in the file: 1 + the page of the volume, its low 32 bits and the rest; 0 where it is not data. Made when it is needed. */
  #ownersLow: Uint32Array | undefined;
  #ownersHigh: Uint8Array | undefined;

  constructor(number: number, handle: LogFile, pageCount: number) {
    this.number = number;
    this.handle = handle;
    this.pageCount = pageCount;
    this.firstSlot = number * pageCount;
  }

  get pagesLeft(): number {
    return this.pageCount - this.nextPage;
  }

  get firstSequence(): number {
    return this.#firstSequence;
  }

  /** Of its last record; below `firstSequence` when it has none. */
  get lastSequence(): number {
    return this.#firstSequence + this.#recordCount - 1;
  }

  /** Forgets what it held: it is about to be used again, first for record `firstSequence`. */
  reset(generation: number, firstSequence: number): void {
    this.generation = generation;
    this.nextPage = 1;
    this.#firstSequence = firstSequence;
    this.#recordCount = 0;
    if (this.#starts.length > STARTS_MIN) this.#starts = new Uint32Array(STARTS_MIN);
    this.#ownersLow?.fill(0);
    this.#ownersHigh = undefined;
  }

  addRecord(sequence: number, page: number): void {
    if (this.#recordCount === 0) this.#firstSequence = sequence;
    assert(sequence === this.lastSequence + 1, `record ${sequence} follows ${this.lastSequence}`);
    if (this.#recordCount === this.#starts.length) {
      const starts = new Uint32Array(this.#starts.length * 2);
      starts.set(this.#starts);
      this.#starts = starts;
    }
    this.#starts[this.#recordCount++] = page;
  }

  #at(sequence: number): number {
    const index = sequence - this.#firstSequence;
    assert(index >= 0 && index < this.#recordCount, `record ${sequence} is in file ${this.number}`);
    return index;
  }

  has(sequence: number): boolean {
    return sequence >= this.#firstSequence && sequence <= this.lastSequence;
  }

  /** Page of a record's header. */
  startOf(sequence: number): number {
    return (this.#starts[this.#at(sequence)] ?? 0) & ~FLUSHED;
  }

  markFlushed(sequence: number): void {
    const index = this.#at(sequence);
    this.#starts[index] = (this.#starts[index] ?? 0) | FLUSHED;
  }

  isFlushedBehind(sequence: number): boolean {
    return (this.#starts[this.#at(sequence)] ?? 0) >= FLUSHED;
  }

  /** Pages from the first record above `sequence` on. */
  pagesAbove(sequence: number): number {
    if (this.#recordCount === 0 || this.lastSequence <= sequence) return 0;
    return this.nextPage - this.startOf(Math.max(sequence + 1, this.#firstSequence));
  }

  /** The page of the volume that a page of this file was written for. */
  setOwner(pageInFile: number, page: number): void {
    const owner = page + 1;
    this.#ownersLow ??= new Uint32Array(this.pageCount);
    this.#ownersLow[pageInFile] = owner >>> 0;
    if (owner > 0xffff_ffff) {
      this.#ownersHigh ??= new Uint8Array(this.pageCount);
      this.#ownersHigh[pageInFile] = Math.floor(owner / 0x1_0000_0000);
    }
  }

  /** The volume's pages and the slots that they were written to, in the order of writing. */
  *owners(): Generator<readonly [page: number, slot: number]> {
    if (this.#ownersLow === undefined) return;
    for (let at = 1; at < this.nextPage; at++) {
      const owner = (this.#ownersHigh?.[at] ?? 0) * 0x1_0000_0000 + (this.#ownersLow[at] ?? 0);
      if (owner !== 0) yield [owner - 1, this.firstSlot + at];
    }
  }
}
