/**
 * The search behind the place where a log's chain ends: entries that are valid by themselves, wherever they are, and what
 * they say. @see find.ts
 */
import { LOG_PAGE_BYTES, type LogFile } from './contract.ts';
import { decodeBegin, decodeEntry, type Entry, type KeptIncarnation } from './format.ts';
import { PageReader } from './page-reader.ts';

/** A part of a file to search. */
export interface SearchedFile {
  readonly handle: LogFile;
  readonly pageCount: number;
  readonly fromPage: number;
  /** Generations that its entries may have. */
  readonly generationMin: number;
  readonly generationMax: number;
}

export interface Survivor {
  readonly fileName: string;
  readonly entry: Entry;
}

export interface Survivors {
  /** Highest watermarks, sequence of a record and generation that they have; 0 when there are none. */
  readonly flushedSequence: number;
  readonly uploadedSequence: number;
  readonly lastSequence: number;
  readonly generation: number;
  readonly logBytes: number;
  /** The first one that `resumable` accepted. */
  readonly resume: Survivor | undefined;
  /** Incarnations that begin there. */
  readonly begun: readonly KeptIncarnation[];
  /** Records after the bad one, of the same incarnation. */
  readonly successorCount: number;
}

export interface Search {
  readonly logId: string;
  readonly badSequence: number;
  readonly incarnation: string;
  /** Incarnations that ended before: what is left of them is no survivor of this one. */
  readonly past: ReadonlySet<string>;
}

/** Searches `files` in order. */
export async function searchBehind(files: readonly SearchedFile[], search: Search): Promise<Survivors> {
  const sum = {
    flushedSequence: 0,
    uploadedSequence: 0,
    lastSequence: 0,
    generation: 0,
    logBytes: 0,
    successorCount: 0,
  };
  const begun: KeptIncarnation[] = [];
  let resume: Survivor | undefined;
  for (const file of files) {
    for await (const { entry, begins } of entriesOf(file, search.logId)) {
      if (search.past.has(entry.incarnation)) continue;
      if (begins !== undefined) begun.push(begins);
      sum.flushedSequence = Math.max(sum.flushedSequence, entry.flushedSequence);
      sum.uploadedSequence = Math.max(sum.uploadedSequence, entry.uploadedSequence);
      sum.generation = Math.max(sum.generation, entry.generation);
      if (entry.kind !== 'record' || entry.sequence < search.badSequence) continue;
      sum.logBytes += (1 + entry.dataPages) * LOG_PAGE_BYTES;
      sum.lastSequence = Math.max(sum.lastSequence, entry.sequence);
      if (entry.sequence === search.badSequence) continue;
      if (entry.incarnation === search.incarnation) sum.successorCount += 1;
      resume ??= { fileName: file.handle.name, entry };
    }
  }
  return { ...sum, begun, resume };
}

async function* entriesOf(
  file: SearchedFile,
  logId: string,
): AsyncGenerator<{
  readonly entry: Entry;
  readonly begins: KeptIncarnation | undefined;
}> {
  const reader = new PageReader(file.handle, file.pageCount);
  for (let page = file.fromPage; page < file.pageCount; page++) {
    const bytes = await reader.page(page);
    if (bytes === undefined) continue;
    const entry = decodeEntry(bytes);
    if (entry?.logId !== logId || entry.page !== page) continue;
    if (entry.generation < file.generationMin || entry.generation > file.generationMax) continue;
    yield { entry, begins: entry.kind === 'begin' ? decodeBegin(entry, bytes) : undefined };
    page += entry.dataPages;
  }
}
