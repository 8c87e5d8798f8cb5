/**
 * How far the store has got with a local log, found when a volume is opened (C4). The newest data segment says which records
 * it holds; a log that the store has overtaken must never be replayed over newer data.
 */
import type { FoundLog, Incarnation } from '../writelog/index.ts';

/** What the store says of the newest data segment of a volume. */
export interface StorePosition {
  /** Its seq; 0 when there is none. */
  readonly dataSeq: number;
  /** The records of the local log that it holds; null when it was not made of a log. */
  readonly records: { readonly incarnation: string; readonly last: number } | null;
}

export type LogPosition =
  /** Records up to `uploadedSequence` are in the store; those behind it are to be uploaded. */
  | { readonly kind: 'continues'; readonly uploadedSequence: number }
  /** The volume was written by somebody else since: records behind `uploadedSequence` are not in the store and must not get there. */
  | { readonly kind: 'overtaken'; readonly uploadedSequence: number; readonly lostRecords: number };

/**
 * Compares a local log with the store. The log continues when the newest data segment is one of its own, or one that was
 * there already when one of its incarnations began; otherwise it is overtaken, which matters only when it holds records that
 * are not uploaded.
 */
export function positionOf(found: Pick<FoundLog, 'incarnations' | 'lastSequence'>, store: StorePosition): LogPosition {
  const { incarnations, lastSequence } = found;
  const named = namedBy(incarnations, store);
  if (named !== undefined) return { kind: 'continues', uploadedSequence: named };
  const base = incarnations.findLast(({ baseSeq }) => baseSeq >= store.dataSeq);
  if (base !== undefined) return { kind: 'continues', uploadedSequence: base.uploadedSequence };
  if (incarnations.length === 0) return { kind: 'continues', uploadedSequence: lastSequence };
  const uploadedSequence = uploadedAtLeast(incarnations);
  const lostRecords = Math.max(0, lastSequence - uploadedSequence);
  return lostRecords === 0
    ? { kind: 'continues', uploadedSequence: lastSequence }
    : { kind: 'overtaken', uploadedSequence, lostRecords };
}

/**
 * The records of a log that a state of the volume holds: all up to the returned sequence, and nothing that is not from this
 * log or from before it. Undefined for a state that the log does not continue.
 */
export function recordsIn(incarnations: readonly Incarnation[], state: StorePosition): number | undefined {
  const base = incarnations.findLast(({ baseSeq }) => baseSeq === state.dataSeq);
  return namedBy(incarnations, state) ?? base?.uploadedSequence;
}

/** The last record of this log that a state says it holds; undefined when it was not made of this log. */
function namedBy(incarnations: readonly Incarnation[], { records }: StorePosition): number | undefined {
  if (records === null) return undefined;
  return incarnations.some(({ incarnation }) => incarnation === records.incarnation) ? records.last : undefined;
}

/** Records that are known to have been in the store once. */
export const uploadedAtLeast = (incarnations: readonly Incarnation[]): number =>
  incarnations.reduce((most, { uploadedSequence }) => Math.max(most, uploadedSequence), 0);
