/** What the walk over a log's files found: the contract's `FoundLog`, and what opening needs besides. */
import type { FoundLog } from './contract.ts';
import type { FileHeader, KeptIncarnation } from './format.ts';

/** A file that entries were found in, or may be put into. */
export interface FoundFile {
  readonly name: string;
  readonly number: number;
  readonly sizeBytes: number;
  /** Undefined: a file that was never used, or whose first page is damaged. */
  readonly header: FileHeader | undefined;
}

/** A file of the chain, in the order of use. */
export interface ChainedFile {
  readonly file: FoundFile;
  readonly header: FileHeader;
  /** Header pages of its records, and the sequence of the first. */
  readonly starts: number[];
  firstSequence: number;
  /** Behind its last valid entry. */
  nextPage: number;
}

export class FoundState implements FoundLog {
  readonly bootId: string;
  readonly files: readonly FoundFile[];
  incarnations: KeptIncarnation[] = [];
  lastSequence = 0;
  flushedSequence = 0;
  damage: string | null = null;
  /** The log's identity; undefined for one that was never begun. */
  logId: string | undefined;
  pageCount = 0;
  /** From the file that holds what is not uploaded on. */
  chain: ChainedFile[] = [];
  lastChecksum = 0;
  /** The incarnation at its end; empty when there is none. */
  lastIncarnation = '';
  /** It ends with an end note: closed in order, and nothing was written since. */
  isClosed = false;
  /** Behind its end there are entries that are valid by themselves. */
  hasRemnants = false;
  /** A sync failed since an opening last wrote again and synced what was there. */
  isDoubtful = false;
  /** Of all files, also those that the chain does not reach. */
  lastGeneration = 0;
  /** What the log itself knows to be in the store. */
  uploadedSequence = 0;
  /** Files that come after the chain's end by their generation: their records were torn away. */
  strays: FoundFile[] = [];
  /** Records up to the end were valid, with these watermarks: flushes came right behind them. */
  readonly flushPoints = new Set<number>();

  constructor(files: readonly FoundFile[], bootId: string) {
    this.bootId = bootId;
    this.files = files;
  }
}
