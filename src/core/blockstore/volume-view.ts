/** A volume or a snapshot as it is at one point of its history, for reading. */
import { SgwError, throwIfAborted, toSgwError, type VolumeId } from '../kit/index.ts';
import { damaged, missing, unlessPutBack } from './damage.ts';
import type { SnapshotEntry } from './entries.ts';
import { readHead, type Head } from './head.ts';
import { keys } from './keys.ts';
import { advance, readLogEntry, type LogPosition } from './log-reader.ts';
import { nodeLoader, type Checkpoint } from './map-object.ts';
import type { NodePointer } from './node-codec.ts';
import type { BlockStoreOptions, Cancellable } from './options.ts';
import { PageMap, type NodeLoader } from './page-map.ts';
import type { RecordSpan, SegmentIndex } from './segment-index.ts';
import { SegmentReader } from './segment-reader.ts';

export interface VolumeView {
  readonly sizeBytes: number;
  /** The commit that it shows. */
  readonly seq: number;
  readonly epoch: number;
  /** When that commit was made; 0 before the first. */
  readonly lastCommitTimeMs: number;
  readonly map: PageMap;
  readonly segments: SegmentReader;
  /** Reads nodes of the map, and keeps a few map objects. */
  readonly load: NodeLoader;
}

/** A checkpoint with the log after it applied. */
export interface Replayed extends VolumeView {
  readonly position: LogPosition;
  /** True when this state is one that the volume really had (C7). */
  readonly consistent: boolean;
}

/** Leaves kept of a map that is walked beside another. */
const BESIDE_LEAVES = 64;

/**
 * Opens a completed snapshot; with `beside`, to be walked once beside that view, in little memory of its own.
 * @throws conflict `snapshot-not-completed`
 */
export function openSnapshotView(
  options: BlockStoreOptions,
  snapshot: Pick<SnapshotEntry, 'snapshotId' | 'name' | 'state' | 'sizeBytes' | 'seq' | 'createdAt' | 'root'>,
  beside?: VolumeView,
): VolumeView {
  const load = beside?.load ?? nodeLoader(options);
  if (snapshot.state !== 'completed') {
    throw new SgwError('conflict', 'snapshot-not-completed', `snapshot ${snapshot.name} is ${snapshot.state}`, {
      hint:
        snapshot.state === 'pending'
          ? 'Wait until `sgw snapshot show` says completed.'
          : 'Choose another snapshot: `sgw snapshot list`.',
      details: { snapshotId: snapshot.snapshotId, state: snapshot.state },
    });
  }
  return {
    sizeBytes: snapshot.sizeBytes,
    seq: snapshot.seq,
    epoch: 0,
    lastCommitTimeMs: Date.parse(snapshot.createdAt),
    map: new PageMap({ root: snapshot.root, load, ...(beside === undefined ? {} : { leafLimit: BESIDE_LEAVES }) }),
    segments: new SegmentReader(options),
    load,
  };
}

/** A stored map, to be walked once, in little memory. */
export const openStoredMap = (options: BlockStoreOptions, root: NodePointer): PageMap =>
  new PageMap({ root, load: nodeLoader(options), leafLimit: BESIDE_LEAVES });

/** Opens the newest committed state of a volume: a checkpoint and the log after it. Takes no lock and no epoch. */
export async function openVolumeView(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  { signal }: Cancellable = {},
): Promise<Replayed> {
  return whileHeadStays(options, volumeId, signal, async (head) => {
    const view = await replayLog(options, volumeId, head.checkpoint, Number.MAX_SAFE_INTEGER, signal);
    await checkEpoch(options, volumeId, head, view.position, signal);
    return view;
  });
}

/**
 * Opens what the head says. Where that meets damage, and the head has moved on to a newer checkpoint meanwhile, or has lost
 * recovery points, gc may have removed what the older one needed: then it begins again. It ends, since each time takes a
 * checkpoint of a writer, or leaves fewer points.
 */
export async function whileHeadStays<T>(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  signal: AbortSignal | undefined,
  open: (head: Head) => Promise<T>,
): Promise<T> {
  let head = (await readHead(options, volumeId, signal)).value;
  for (;;) {
    try {
      return await open(head);
    } catch (error) {
      if (toSgwError(error).kind !== 'corrupt') throw error;
      const now = (await readHead(options, volumeId, signal)).value;
      const isSame = now.recovery?.points.length === head.recovery?.points.length;
      if (now.checkpoint.seq <= head.checkpoint.seq && isSame) throw error;
      head = now;
    }
  }
}

/**
 * No epoch is in the log that its head did not name first, so a head of a lower one is an older version of itself. It is
 * read once more: an opening may have been under way.
 * @throws corrupt `object-damaged`
 */
export async function checkEpoch(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  head: Head,
  end: LogPosition,
  signal?: AbortSignal,
): Promise<void> {
  if (end.epoch <= head.epoch) return;
  const { epoch } = (await readHead(options, volumeId, signal)).value;
  if (end.epoch > epoch)
    throw damaged(keys.head(volumeId), `it is of epoch ${String(epoch)}, and the log of ${String(end.epoch)}`);
}

/**
 * Opens the newest consistent state of a volume (C7).
 * @throws conflict `import-unfinished` when there is none yet
 */
export async function openConsistentView(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  { signal }: Cancellable = {},
): Promise<Replayed> {
  return whileHeadStays(options, volumeId, signal, (head) => openConsistent(options, volumeId, head, signal));
}

/**
 * Opens the state of the commit that ends with a record of a write log; undefined when no commit behind the newest checkpoint,
 * nor that checkpoint itself, does.
 */
export async function openRecordView(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  record: { readonly incarnation: string; readonly sequence: number },
  { signal }: Cancellable = {},
): Promise<Replayed | undefined> {
  const isIt = (records: RecordSpan | null | undefined): boolean =>
    records?.incarnation === record.incarnation && records.last === record.sequence;
  return whileHeadStays(options, volumeId, signal, async ({ checkpoint }) => {
    if (isIt(checkpoint.records)) return replayLog(options, volumeId, checkpoint, checkpoint.seq, signal);
    for await (const { index } of walkLog(options, volumeId, checkpoint, Number.MAX_SAFE_INTEGER, signal))
      if (isIt(index.footer.records)) return replayLog(options, volumeId, checkpoint, index.footer.seq, signal);
    return undefined;
  });
}

async function openConsistent(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  head: Head,
  signal?: AbortSignal,
): Promise<Replayed> {
  const { last, end } = await lastConsistentSeq(options, volumeId, head.checkpoint, signal);
  await checkEpoch(options, volumeId, head, end, signal);
  if (last !== undefined) return replayLog(options, volumeId, head.checkpoint, last, signal);
  if (head.consistent !== null) return replayLog(options, volumeId, head.consistent, head.consistent.seq, signal);
  throw new SgwError(
    'conflict',
    'import-unfinished',
    `volume ${volumeId} has no consistent state yet: its import is not finished`,
    {
      hint: 'Run the same `sgw volume import` again: it resumes.',
      details: { volumeId },
    },
  );
}

async function lastConsistentSeq(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  from: Checkpoint,
  signal?: AbortSignal,
): Promise<{ readonly last: number | undefined; readonly end: LogPosition }> {
  let last = from.consistent ? from.seq : undefined;
  const steps = walkLog(options, volumeId, from, Number.MAX_SAFE_INTEGER, signal);
  for (;;) {
    const step = await steps.next();
    if (step.done === true) return { last, end: step.value };
    if (step.value.index.footer.consistent) last = step.value.index.footer.seq;
  }
}

interface Step {
  readonly index: SegmentIndex;
  readonly position: LogPosition;
}

const positionOf = (checkpoint: Checkpoint): LogPosition => ({
  seq: checkpoint.seq,
  epoch: checkpoint.epoch,
  logHash: checkpoint.logHash,
  commitTimeMs: checkpoint.commitTimeMs,
  dataSeq: checkpoint.dataSeq ?? checkpoint.seq,
  records: checkpoint.records ?? null,
});

/**
 * Yields the valid segments after a checkpoint, up to `upToSeq`; returns where the walk ended.
 * @throws corrupt `object-missing` when the log was seen to go further
 */
export async function* walkLog(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  from: Checkpoint,
  upToSeq: number,
  signal?: AbortSignal,
): AsyncGenerator<Step, LogPosition> {
  let position = positionOf(from);
  // Commits that are seen while this walks may be behind its end: that is no damage.
  const seenSeq = options.witness?.newest(keys.logOf(volumeId)) ?? 0;
  while (position.seq < upToSeq) {
    throwIfAborted(signal);
    const entry = await readLogEntry(options, volumeId, position, signal);
    if (entry === undefined) {
      if (seenSeq > position.seq) throw unlessPutBack(missing(keys.log(volumeId, position.seq + 1)));
      options.witness?.saw(keys.logOf(volumeId), position.seq);
      break;
    }
    position = advance(position, entry);
    if (!entry.void) yield { index: entry.index, position };
  }
  return position;
}

/** What a replay has applied so far, at a segment of kind data. */
export interface ReplayedSoFar {
  readonly seq: number;
  readonly commitTimeMs: number;
  readonly sizeBytes: number;
  readonly mappedPages: number;
  readonly consistent: boolean;
}

/** Applies the log after a checkpoint, up to `upToSeq` or its end. `onData` is told of each state on the way. */
export async function replayLog(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  from: Checkpoint,
  upToSeq: number,
  signal?: AbortSignal,
  onData?: (state: ReplayedSoFar) => void,
): Promise<Replayed> {
  const load = nodeLoader(options);
  const map = new PageMap({ root: from.root, load });
  const segments = new SegmentReader(options);
  let { sizeBytes, consistent } = from;
  const steps = walkLog(options, volumeId, from, upToSeq, signal);
  for (;;) {
    const step = await steps.next();
    if (step.done === true) {
      const position = step.value;
      return {
        map,
        segments,
        load,
        sizeBytes,
        consistent,
        position,
        seq: position.seq,
        epoch: position.epoch,
        lastCommitTimeMs: position.commitTimeMs,
      };
    }
    const { index, position } = step.value;
    await map.applySegment(index, signal);
    segments.remember(index);
    if (index.footer.kind !== 'data') continue;
    ({ sizeBytes, consistent } = index.footer);
    const { seq, commitTimeMs } = position;
    onData?.({ seq, commitTimeMs, sizeBytes, consistent, mappedPages: map.mappedPages });
  }
}
