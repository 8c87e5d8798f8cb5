/**
 * Recovery points (C7): states that a volume really had and that can be had again. There are two kinds: checkpoints that the
 * head keeps, thinned by age, each with a root of its own; and every consistent commit behind the newest checkpoint, for
 * as long as that is the newest.
 *
 * Invariant: the head gets a point in the same compare-and-set that makes it the newest checkpoint, and loses it only in
 * another one. So nobody adds one whose data gc may have taken, and a mark that has read a head has every point that this
 * volume will ever keep of what is there by then (docs/adr/0009-gc.md, Lemma 1).
 */
import { SgwError, type VolumeId } from '../kit/index.ts';
import type { Head } from './head.ts';
import type { Checkpoint } from './map-object.ts';
import type { BlockStoreOptions, Cancellable } from './options.ts';
import { keptPoints, type RecoveryPolicy } from './recovery-policy.ts';
import type { RecordSpan } from './segment-index.ts';
import { checkEpoch, replayLog, walkLog, whileHeadStays, type Replayed } from './volume-view.ts';

/** A state of a volume that can be had again. */
export interface RecoveryPoint {
  readonly seq: number;
  /** When it was committed. */
  readonly timeMs: number;
  readonly sizeBytes: number;
  readonly mappedPages: number;
  /** False for one behind the newest checkpoint, which may go when the next one is made. */
  readonly kept: boolean;
}

/** Just this commit, or the newest one that is not after that time. */
export type RecoveryTime = { readonly seq: number } | { readonly timeMs: number };

/**
 * The head with `checkpoint` among its recovery points, if it is to be one, and these thinned. One of a take-over keeps its
 * place in the write log of who was fenced.
 */
export function recorded(
  head: Head,
  checkpoint: Checkpoint,
  policy: RecoveryPolicy | undefined,
  nowMs: number,
  isTakeOver = false,
): Head {
  if (policy === undefined || !checkpoint.consistent) return head;
  const { dataSeq: _dataSeq, records: _records, ...bare } = checkpoint;
  const point = isTakeOver ? { ...checkpoint, takenOver: true as const } : bare;
  const before = (head.recovery?.points ?? []).filter(({ seq }) => seq < point.seq);
  return { ...head, recovery: { policy, points: keptPoints([...before, point], nowMs, policy) } };
}

/** The head without the points that its policy does not keep any more; the same object when there are none. */
export function pruned(head: Head, nowMs: number): Head {
  const { recovery } = head;
  if (recovery === undefined) return head;
  const points = keptPoints(recovery.points, nowMs, recovery.policy);
  return points.length === recovery.points.length ? head : { ...head, recovery: { ...recovery, points } };
}

/** The checkpoints that a head has of states that can be had again, by seq. */
function storedPoints({ checkpoint, consistent, recovery }: Head): Checkpoint[] {
  const all = [...(recovery?.points ?? []), ...(consistent === null ? [] : [consistent])];
  if (checkpoint.consistent) all.push(checkpoint);
  // The beginning of a volume or clone is no commit.
  const bySeq = new Map(all.filter(({ seq }) => seq > 0).map((point) => [point.seq, point]));
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq);
}

/**
 * The states of a volume's past that can be had again, oldest first. Costs reading the log behind the newest checkpoint.
 * Takes no lock.
 * @throws corrupt when the log, or the newest map, is damaged
 */
export async function listRecoveryPoints(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  { signal }: Cancellable = {},
): Promise<RecoveryPoint[]> {
  return await whileHeadStays(options, volumeId, signal, async (head) => {
    const points = storedPoints(head).map(({ seq, commitTimeMs, sizeBytes, mappedPages }): RecoveryPoint => ({
      ...{ seq, timeMs: commitTimeMs, sizeBytes, mappedPages },
      kept: head.recovery?.points.some((point) => point.seq === seq) === true,
    }));
    const { position } = await replayLog(
      options,
      volumeId,
      head.checkpoint,
      Number.MAX_SAFE_INTEGER,
      signal,
      ({ seq, commitTimeMs: timeMs, sizeBytes, mappedPages, consistent }) => {
        if (consistent) points.push({ seq, timeMs, sizeBytes, mappedPages, kept: false });
      },
    );
    await checkEpoch(options, volumeId, head, position, signal);
    return points;
  });
}

/**
 * Opens a state of a volume's past, for reading: from a root, with the log after it held against the chain of hashes.
 * Nothing keeps it from gc: see `withPin`.
 * @throws notFound `recovery-point-not-found`; corrupt
 */
export async function openRecoveryPoint(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  at: RecoveryTime,
  { signal }: Cancellable = {},
): Promise<Replayed> {
  const fits = (point: { readonly seq: number; readonly commitTimeMs: number }): boolean =>
    'seq' in at ? point.seq === at.seq : point.commitTimeMs <= at.timeMs;
  return await whileHeadStays(options, volumeId, signal, async (head) => {
    let last: number | undefined;
    for await (const { index, position } of walkLog(
      options,
      volumeId,
      head.checkpoint,
      Number.MAX_SAFE_INTEGER,
      signal,
    )) {
      const { kind, consistent } = index.footer;
      if (kind === 'data' && consistent && fits(position)) last = position.seq;
    }
    if (last !== undefined) return await replayLog(options, volumeId, head.checkpoint, last, signal);
    const point = storedPoints(head).findLast((stored) => fits(stored));
    if (point === undefined) throw notFound(volumeId, at);
    return await replayLog(options, volumeId, point, point.seq, signal);
  });
}

/** Of a state of a volume's past: the newest data segment that changed contents, and the records of a write log in it (C4). */
export interface PastState {
  readonly seq: number;
  readonly timeMs: number;
  readonly dataSeq: number;
  readonly records: RecordSpan | null;
}

/**
 * The newest state that can be had again and that `isWanted`, of those whose place in a write log is known: commits behind
 * the newest checkpoint, that checkpoint, and the volume as it was at each take-over.
 * @throws corrupt when the log is damaged
 */
export async function findPastState(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  isWanted: (state: PastState) => boolean,
  { signal }: Cancellable = {},
): Promise<PastState | undefined> {
  return await whileHeadStays(options, volumeId, signal, async (head) => {
    const states = storedPoints(head).flatMap(({ seq, commitTimeMs: timeMs, dataSeq, records = null }): PastState[] =>
      dataSeq === undefined ? [] : [{ seq, timeMs, dataSeq, records }],
    );
    const steps = walkLog(options, volumeId, head.checkpoint, Number.MAX_SAFE_INTEGER, signal);
    for await (const { index, position } of steps) {
      const { seq, commitTimeMs: timeMs, dataSeq, records } = position;
      if (index.footer.kind === 'data' && index.footer.consistent) states.push({ seq, timeMs, dataSeq, records });
    }
    return states.findLast(isWanted);
  });
}

function notFound(volumeId: VolumeId, at: RecoveryTime): SgwError {
  const what = 'seq' in at ? `commit ${String(at.seq)}` : `${new Date(at.timeMs).toISOString()} or before`;
  return new SgwError('notFound', 'recovery-point-not-found', `volume ${volumeId} has no recovery point of ${what}`, {
    hint: 'Choose one that is kept: they become fewer with age.',
    details: { volumeId, ...at },
  });
}
