/**
 * Walks a volume's log from a checkpoint to its end (C1): the first absent seq. Objects of an epoch below the
 * highest seen are void and skipped; the rest must chain by hash.
 */
import type { VolumeId } from '../kit/index.ts';
import { damaged } from './damage.ts';
import { keys } from './keys.ts';
import type { BlockStoreOptions } from './options.ts';
import type { RecordSpan, SegmentIndex } from './segment-index.ts';
import { readSegmentIndex } from './segment-reader.ts';

/** Where a walk is: everything up to `seq` has been read. */
export interface LogPosition {
  readonly seq: number;
  readonly epoch: number;
  readonly logHash: string;
  readonly commitTimeMs: number;
  /** Seq of the newest data segment so far that changed contents; 0 before the first. */
  readonly dataSeq: number;
  /** The records of the local log that it holds; null when it was not made of a log. */
  readonly records: RecordSpan | null;
}

/** What stands at one place of the log. */
export type LogEntry = { readonly void: true } | { readonly void: false; readonly index: SegmentIndex };

/**
 * Reads the object after `position`; undefined at the end of the log.
 * @throws corrupt `object-damaged` when it is not what the chain says
 */
export async function readLogEntry(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  position: LogPosition,
  signal?: AbortSignal,
): Promise<LogEntry | undefined> {
  const seq = position.seq + 1;
  const key = keys.log(volumeId, seq);
  const index = await readSegmentIndex(options, key, signal);
  if (index === undefined) return undefined;
  const { footer } = index;
  if (footer.volumeId !== volumeId || footer.seq !== seq)
    throw damaged(key, `it is segment ${String(footer.seq)} of ${footer.volumeId}`);
  // Whatever its epoch: nobody proves what a tombstone says, and one that were passed as void would hide a commit.
  if (footer.kind === 'tombstone') throw damaged(key, 'it is a tombstone that the newest checkpoint does not cover');
  if (footer.epoch < position.epoch) return { void: true };
  if (footer.prevHash !== position.logHash) throw damaged(key, 'it does not follow the segment before it');
  return { void: false, index };
}

/** The position after an entry. */
export function advance(position: LogPosition, entry: LogEntry): LogPosition {
  if (entry.void) return { ...position, seq: position.seq + 1 };
  const { footer, hash } = entry.index;
  return {
    seq: footer.seq,
    epoch: footer.epoch,
    logHash: hash,
    commitTimeMs: Math.max(position.commitTimeMs, footer.commitTimeMs),
    ...(footer.kind === 'data' && footer.keepsContents !== true
      ? { dataSeq: footer.seq, records: footer.records }
      : { dataSeq: position.dataSeq, records: position.records }),
  };
}
