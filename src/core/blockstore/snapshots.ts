/**
 * Creating snapshots (C8). A snapshot shows the volume's last consistent commit; its map goes under its own key, so
 * that one who does not hold the volume can make it, and it costs what changed since the last checkpoint.
 *
 * States: `pending` (the object exists, its map does not yet) -> `completed`, or `failed` with a reason.
 */
import { SgwError, assert, newSnapshotId, toSgwError, type SnapshotId } from '../kit/index.ts';
import { Catalog } from './catalog.ts';
import { damaged } from './damage.ts';
import { createDocument } from './documents.ts';
import type { ScheduleMark, SnapshotEntry, VolumeEntry } from './entries.ts';
import { readHead } from './head.ts';
import { keys } from './keys.ts';
import { encodeMap, parseMapObject, type Checkpoint } from './map-object.ts';
import { withSignal, type BlockStoreOptions, type Cancellable } from './options.ts';
import { requirePresent } from './presence.ts';
import { openRecoveryPoint, type RecoveryTime } from './recovery-points.ts';
import { dataKeyOf } from './sealing/volume-keys.ts';
import { openConsistentView, openRecordView, type Replayed } from './volume-view.ts';

export interface NewSnapshot extends Cancellable {
  readonly volume: VolumeEntry;
  readonly name: string;
  readonly accountId: string;
  readonly description?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly clientToken?: string;
  /** The gateway that makes it, so that it knows again what it left behind. */
  readonly maker?: string;
  /** Where its state ends in the write log of a volume that is being served (C8). */
  readonly barrier?: SnapshotBarrier;
  /** Why it waits for its barrier. */
  readonly reason?: string;
  /** Shows this state of the volume's past, not its last one. */
  readonly recoveryPoint?: RecoveryTime;
  /** When a schedule makes it. */
  readonly schedule?: ScheduleMark;
}

/** A record of a write log: everything up to it, and nothing behind it, is in the snapshot. */
export interface SnapshotBarrier {
  readonly incarnation: string;
  readonly sequence: number;
}

/**
 * Creates a snapshot of the volume's last consistent commit, or of a recovery point. Durable and completed when it resolves.
 * @throws notFound `recovery-point-not-found`; conflict `import-unfinished` when the volume has no consistent state yet; notFound `volume-not-found` when it is
 * deleted; conflict `snapshot-not-pending` when gc, which saw it pending for a whole grace period, gave it up
 */
export async function createSnapshot(options: BlockStoreOptions, request: NewSnapshot): Promise<SnapshotEntry> {
  const { volume, signal } = request;
  const { volumeId } = volume;
  // A volume which has nothing to show leaves no snapshot behind.
  const { recoveryPoint: at } = request;
  const open = async (): Promise<Replayed> =>
    at === undefined
      ? await openConsistentView(options, volumeId, withSignal(signal))
      : await openRecoveryPoint(options, volumeId, at, withSignal(signal));
  if (at !== undefined || (await readHead(options, volumeId, signal)).value.consistent === null) await open();
  const pending = pendingEntry(options, request);
  const created = await createDocument(options, keys.snapshot(pending.snapshotId), pending, signal);
  assert(created, 'a snapshot id is new');
  try {
    // What is read from here on, gc knows to be wanted (C11).
    await requirePresent(options, volumeId, signal);
    const view = await open();
    const checkpoint = await storeMap(options, pending, view, signal);
    return await complete(options, pending, checkpoint, signal);
  } catch (error) {
    await markFailed(options, pending, toSgwError(error));
    throw error;
  }
}

/**
 * Makes the object of a snapshot whose state is in a write log and not in the store yet. Durable and `pending` when it
 * resolves; `completeSnapshot` or `failSnapshot` follow, if need be after a restart.
 * @throws notFound `volume-not-found` when the volume is deleted
 */
export async function createPendingSnapshot(
  options: BlockStoreOptions,
  request: NewSnapshot & ({ readonly barrier: SnapshotBarrier } | { readonly reason: string }),
): Promise<SnapshotEntry> {
  await requirePresent(options, request.volume.volumeId, request.signal);
  const pending = pendingEntry(options, request);
  const created = await createDocument(options, keys.snapshot(pending.snapshotId), pending, request.signal);
  assert(created, 'a snapshot id is new');
  return pending;
}

/**
 * Completes a pending snapshot from a checkpoint that the volume's holder has just made of exactly its state. The holder
 * commits nothing behind it until this has resolved, so the checkpoint is the newest one, which gc keeps for the head.
 * @throws conflict `snapshot-not-pending`; notFound when it was purged
 */
export async function completeSnapshot(
  options: BlockStoreOptions,
  pending: SnapshotEntry,
  checkpoint: Checkpoint,
  signal?: AbortSignal,
): Promise<SnapshotEntry> {
  return complete(options, pending, checkpoint, signal);
}

/** Gives a pending snapshot up, for a reason that people read. One that is pending no more stays as it is. */
export async function failSnapshot(
  options: BlockStoreOptions,
  snapshotId: SnapshotId,
  reason: string,
): Promise<SnapshotEntry> {
  return new Catalog(options).updateSnapshot(snapshotId, (now) =>
    now.state === 'pending' ? { ...now, state: 'failed', reason } : now,
  );
}

/**
 * After a crash: completes a pending snapshot whose barrier the store holds already, from the log; `notYet` when the
 * store has not got that far, or has passed by.
 */
export async function completeBarrier(
  options: BlockStoreOptions,
  pending: SnapshotEntry,
  signal?: AbortSignal,
): Promise<SnapshotEntry | 'notYet'> {
  const { barrier } = pending;
  if (barrier === undefined) return 'notYet';
  const view = await openRecordView(options, pending.volumeId, barrier, withSignal(signal));
  if (view === undefined) return 'notYet';
  const checkpoint = await storeMap(options, pending, view, signal);
  return complete(options, pending, checkpoint, signal);
}

function pendingEntry(options: BlockStoreOptions, request: NewSnapshot): SnapshotEntry {
  const { volume } = request;
  return {
    snapshotId: newSnapshotId(options.random),
    name: request.name,
    state: 'pending',
    reason: request.reason ?? null,
    volumeId: volume.volumeId,
    volumeName: volume.name,
    lineage: volume.lineage,
    seq: 0,
    sizeBytes: volume.sizeBytes,
    mappedPages: 0,
    accountId: request.accountId,
    creators: [],
    createdAt: new Date(options.clock.nowMs()).toISOString(),
    completedAt: null,
    description: request.description ?? '',
    tags: request.tags ?? {},
    clientToken: request.clientToken ?? null,
    root: null,
    ...(request.maker === undefined ? {} : { maker: request.maker }),
    ...(request.barrier === undefined ? {} : { barrier: request.barrier }),
    ...(request.schedule === undefined ? {} : { schedule: request.schedule }),
  };
}

/** Stores the nodes that no checkpoint has; nothing when there are none. */
async function storeMap(
  options: BlockStoreOptions,
  snapshot: SnapshotEntry,
  view: Replayed,
  signal?: AbortSignal,
): Promise<Checkpoint> {
  const key = keys.snapshotMap(snapshot.snapshotId);
  const facts = {
    seq: view.seq,
    sizeBytes: view.sizeBytes,
    epoch: view.epoch,
    commitTimeMs: view.lastCommitTimeMs,
    logHash: view.position.logHash,
    consistent: true,
    dataSeq: view.position.dataSeq,
    records: view.position.records,
  };
  const dataKey = await dataKeyOf(options, snapshot.volumeId, signal);
  const seal = dataKey && { volumeId: snapshot.volumeId, dataKey, random: options.random };
  const encoded = encodeMap(view.map, key, snapshot.snapshotId, facts, seal);
  // A map of nothing needs no object.
  if (encoded.checkpoint.root?.key !== key) return encoded.checkpoint;
  const result = await options.objects.put(key, encoded.body, { condition: { ifAbsent: true }, ...withSignal(signal) });
  return result.outcome === 'stored'
    ? encoded.checkpoint
    : await storedBefore(options, key, encoded.checkpoint, signal);
}

/**
 * An object under the key already is of an earlier try, perhaps before a crash: of the same state, and, where it is sealed,
 * in other bytes. Returns the checkpoint with the root that is there.
 * @throws corrupt `object-damaged` when it is of another state
 */
async function storedBefore(
  options: BlockStoreOptions,
  key: string,
  wanted: Checkpoint,
  signal?: AbortSignal,
): Promise<Checkpoint> {
  const there = await options.objects.get(key, withSignal(signal));
  if (there === undefined) throw damaged(key, 'it was refused as present, and is absent');
  const { root, seq, logHash, mappedPages } = parseMapObject(key, there.bytes);
  const isSame = seq === wanted.seq && logHash === wanted.logHash && mappedPages === wanted.mappedPages;
  if (!isSame || root === null || wanted.root === null) throw damaged(key, 'it is of another state of the volume');
  return { ...wanted, root: { ...root, creators: wanted.root.creators } };
}

async function complete(
  options: BlockStoreOptions,
  pending: SnapshotEntry,
  checkpoint: Checkpoint,
  signal?: AbortSignal,
): Promise<SnapshotEntry> {
  return new Catalog(options).updateSnapshot(
    pending.snapshotId,
    (now) => {
      if (now.state !== 'pending') {
        throw new SgwError(
          'conflict',
          'snapshot-not-pending',
          `snapshot ${now.name} became ${now.state} while it was made`,
          { details: { snapshotId: now.snapshotId } },
        );
      }
      return {
        ...now,
        state: 'completed',
        seq: checkpoint.seq,
        sizeBytes: checkpoint.sizeBytes,
        mappedPages: checkpoint.mappedPages,
        creators: checkpoint.root?.creators ?? [],
        completedAt: new Date(options.clock.nowMs()).toISOString(),
        root: checkpoint.root,
      };
    },
    signal,
  );
}

/** Notes why, so that no snapshot stays pending for ever. Best effort: the store may be what failed. */
async function markFailed(options: BlockStoreOptions, pending: SnapshotEntry, error: SgwError): Promise<void> {
  try {
    await new Catalog(options).updateSnapshot(pending.snapshotId, (now) =>
      now.state === 'pending' ? { ...now, state: 'failed', reason: error.message } : now,
    );
  } catch {
    // The caller learns of the first error; a snapshot left pending is listed as such.
  }
}
