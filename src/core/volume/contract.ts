/**
 * What the gateway may do with a volume that it serves (DESIGN section 6). The wire protocols see only the `BlockDevice`.
 */
import type { BlockDevice } from '../blockdevice/index.ts';
import type { RecoveryPolicy, SnapshotEntry } from '../blockstore/index.ts';
import type { SgwError, VolumeId } from '../kit/index.ts';
import type { AckClass } from '../writelog/index.ts';
import type { ShadowStats } from './shadow/contract.ts';

export interface VolumeSettings {
  readonly ack: AckClass;
  /** Capacity of the upload buffer. */
  readonly bufferBytes: number;
  /** A commit is made at the latest this long after the oldest write that it holds. */
  readonly sealIntervalMs: number;
  /** Bytes that a sequential reader is read ahead; 0: none. */
  readonly readAheadBytes: number;
  /** Which recovery points are kept; the default when absent. */
  readonly recovery?: RecoveryPolicy;
}

/**
 * `available`; `degraded`: the store is out of reach or slow, local I/O goes on; `bootstrapping`, `pass-through`, `resyncing`: a
 * shadow that is behind its image; `fenced`: another gateway took over, nothing is
 * acknowledged any more and the log is kept; `damaged`: the log lost what was flushed, so the volume is read-only (C13).
 */
export type ServedState =
  'available' | 'degraded' | 'bootstrapping' | 'pass-through' | 'resyncing' | 'fenced' | 'damaged' | 'closed';

/** Counters grow from the opening on; gauges tell now. */
export interface VolumeStats {
  readonly state: ServedState;
  /** Why it is not `available`, a sentence; null when it is. */
  readonly reason: string | null;
  readonly sizeBytes: number;
  readonly mappedBytes: number;
  readonly seq: number;
  readonly epoch: number;
  readonly ack: AckClass;
  readonly readOps: number;
  readonly readBytes: number;
  readonly writeOps: number;
  readonly writeBytes: number;
  readonly flushOps: number;
  /** Sums of the time that calls took; divided by the operations they give the mean. */
  readonly readMs: number;
  readonly writeMs: number;
  readonly flushMs: number;
  /** Pages read from the write log, the cache in memory and in its file, and the store. */
  readonly logHits: number;
  readonly cacheHits: number;
  readonly storeReads: number;
  /** Exposure: acknowledged and not in the store. */
  readonly dirtyBytes: number;
  /** Age of the oldest write that is not in the store; 0 when all are. */
  readonly dirtyMs: number;
  readonly bufferBytes: number;
  /** When the buffer will be full if writing and uploading go on as in the last minute; null when it will not. */
  readonly fullInMs: number | null;
  readonly uploadedBytes: number;
  readonly downloadedBytes: number;
  readonly commits: number;
  readonly uploadErrors: number;
  readonly lastCommitMs: number | null;
  /** Commits that each of MODELLED_INTERVALS_MS would have made of the same writes; empty where nothing was uploaded yet. */
  readonly modelledCommits: readonly number[];
  /** Writers that wait for room now. */
  readonly waitingWrites: number;
  /** How far the store follows the image; null for a cached volume. */
  readonly shadow: ShadowStats | null;
}

/** Where a snapshot's barrier is in the volume's write log (C8). */
export interface BarrierPosition {
  readonly incarnation: string;
  readonly sequence: number;
}

/** A snapshot whose barrier is in the log, durably, and whose object is pending. */
export interface ServedSnapshot {
  readonly entry: SnapshotEntry;
  /** Resolves with the completed entry once its commit is in the store; rejects when the volume can not upload any more. */
  readonly completed: Promise<SnapshotEntry>;
}

/**
 * Makes the pending object of a snapshot. Without a barrier it waits, for `reason`; the barrier is put into the object later.
 */
export type PendingCreation = (
  place: { readonly barrier: BarrierPosition } | { readonly reason: string },
) => Promise<SnapshotEntry>;

export interface ServedVolume extends BlockDevice {
  readonly volumeId: VolumeId;
  readonly stats: VolumeStats;
  /** Why nothing more is acknowledged; undefined while all is well. */
  readonly failure: SgwError | undefined;
  /**
   * Puts a barrier behind everything acknowledged, and has `create` make the pending snapshot's object for it. When it
   * resolves, both are durable: a crash neither moves the barrier nor loses the request (C8). A shadow that is behind its image
   * has the object made at once, and places the barrier when it has caught up.
   */
  snapshot(create: PendingCreation): Promise<ServedSnapshot>;
  /** Durable in the log when it resolves, and in the store with its commit. */
  resize(sizeBytes: number): Promise<void>;
  configure(settings: Partial<VolumeSettings>): Promise<void>;
  /**
   * Asks the store now whether another gateway has taken the volume over (C6), and fails as at the next commit if so: nothing
   * more is acknowledged, and the log is kept.
   * @throws whatever the store throws; never for having been taken over
   */
  checkHeld(signal?: AbortSignal): Promise<void>;
  /**
   * Nothing is acknowledged any more, for `reason`, and the log is kept: the volume's group has given it to another gateway.
   * Close it then.
   */
  fence(reason: SgwError): void;
  /** Uploads everything acknowledged before the call. */
  drain(options?: {
    readonly signal?: AbortSignal;
    readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  }): Promise<void>;
  /**
   * Stops serving. With `drain`, everything is in the store and the head is given back when it resolves; without, what is
   * not uploaded stays in the log, synced, and the head stays taken. Idempotent.
   * @throws with `drain`: why not everything is in the store, such as fenced; the volume is closed all the same
   */
  close(options?: { readonly drain?: boolean; readonly signal?: AbortSignal }): Promise<void>;
}
