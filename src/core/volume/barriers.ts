/**
 * Snapshots of a served volume between their barrier in the log and their completion in the store (C8).
 *
 * A barrier is named by a random word in the log; the pending object says at which sequence it is. What is uploaded up to a
 * barrier waits there until that object exists, and the snapshot is completed before the next commit takes effect. A barrier
 * that nobody knows belongs to a command that ended before its object was made: it is passed by.
 *
 * A maker can end between its last commit and the completion. Whoever opens the volume next completes what the store holds up
 * to its barrier, also where that was another gateway's, for its own commits would bury the place.
 */
import {
  Catalog,
  completeBarrier,
  completeSnapshot,
  failSnapshot,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeWriter,
} from '../blockstore/index.ts';
import { toSgwError, type VolumeId } from '../kit/index.ts';
import { isPassing } from './passing.ts';

export interface Barrier {
  /** Stands in the log. */
  readonly name: string;
  /** Makes the pending object, now that the barrier's place is known and durable. */
  readonly place: (sequence: number) => Promise<SnapshotEntry>;
  /** Nothing will come of it: lets the uploader pass by. */
  readonly abandon: (reason: unknown) => void;
}

/** Snapshots of a volume that are pending with a barrier in a write log. */
export interface LeftBarriers {
  /** By sequence in the log that is open. */
  readonly own: ReadonlyMap<number, SnapshotEntry>;
  /** In other gateways' logs, or in one of this gateway's that is gone. */
  readonly others: readonly SnapshotEntry[];
}

/**
 * What processes of before have begun. To be read when the volume is open in a new epoch: nobody else's barrier can get into
 * the store any more.
 */
export async function leftBarriers(
  blocks: BlockStoreOptions,
  volumeId: VolumeId,
  incarnations: readonly string[],
  signal?: AbortSignal,
): Promise<LeftBarriers> {
  const own = new Map<number, SnapshotEntry>();
  const others: SnapshotEntry[] = [];
  for (const entry of await new Catalog(blocks).listSnapshots(signal === undefined ? {} : { signal })) {
    const { state, barrier } = entry;
    if (state !== 'pending' || entry.volumeId !== volumeId || barrier === undefined) continue;
    if (incarnations.includes(barrier.incarnation)) own.set(barrier.sequence, entry);
    else others.push(entry);
  }
  return { own, others };
}

export class Barriers {
  readonly #blocks: BlockStoreOptions;
  readonly #gatewayId: string;
  /** By name: what the uploader waits for; null when it is to pass by. */
  readonly #placed = new Map<string, Promise<SnapshotEntry | null>>();
  /** By sequence. */
  readonly #completed = new Map<number, SnapshotEntry>();
  /** Pending, by sequence: placed by this process, or left by one of before. */
  readonly #pending: Map<number, SnapshotEntry>;
  /** Pending with a barrier that is not in this log. */
  readonly #others: SnapshotEntry[];

  constructor(blocks: BlockStoreOptions, gatewayId: string, left: LeftBarriers) {
    this.#blocks = blocks;
    this.#gatewayId = gatewayId;
    this.#pending = new Map(left.own);
    this.#others = [...left.others];
  }

  register(create: (sequence: number) => Promise<SnapshotEntry>): Barrier {
    const name = this.#blocks.random.bytes(8).toString('hex');
    const placed = Promise.withResolvers<SnapshotEntry | null>();
    this.#placed.set(name, placed.promise);
    return {
      name,
      place: async (sequence) => {
        const entry = await create(sequence);
        this.#pending.set(sequence, entry);
        placed.resolve(entry);
        return entry;
      },
      abandon: () => {
        placed.resolve(null);
      },
    };
  }

  /** What became of the snapshot of a barrier that was reached, completed mostly; forgets it. */
  completedEntry(sequence: number): SnapshotEntry | undefined {
    const entry = this.#completed.get(sequence);
    this.#completed.delete(sequence);
    return entry;
  }

  /**
   * Completes the snapshot of a barrier; called in commit order, with everything up to the barrier applied and nothing
   * behind it.
   */
  async reached(name: string, sequence: number, writer: VolumeWriter): Promise<void> {
    const entry = (await this.#placed.get(name)) ?? this.#pending.get(sequence);
    this.#placed.delete(name);
    if (entry === undefined) return;
    // It stays pending when this fails: `recover` completes it once the volume is open again.
    const checkpoint = await writer.checkpointHere();
    try {
      this.#completed.set(sequence, await completeSnapshot(this.#blocks, entry, checkpoint));
    } catch (error) {
      // It was deleted or given up meanwhile, which is no matter of the volume's, or completed by a call whose reply was lost.
      const { kind, message } = toSgwError(error);
      if (kind !== 'conflict' && kind !== 'notFound') throw error;
      const now = await this.#giveUp(entry, message);
      if (now !== undefined) this.#completed.set(sequence, now);
    }
    this.#pending.delete(sequence);
  }

  /** After an opening: completes what the store holds already up to its barrier, before anything is committed behind it. */
  async recover(uploadedSequence: number): Promise<void> {
    for (let other = this.#others.at(-1); other !== undefined; other = this.#others.at(-1)) {
      await this.#recoverOther(other);
      this.#others.pop();
    }
    // One that is being placed may be in the store already, by a commit whose reply was lost.
    await Promise.all(this.#placed.values());
    for (const [sequence, entry] of this.#pending) {
      if (sequence > uploadedSequence) continue;
      const now = await this.#recovered(entry, LOST);
      if (now !== undefined) this.#completed.set(sequence, now);
      this.#pending.delete(sequence);
    }
  }

  /** Another gateway's stays pending when the store did not get that far: its maker says what becomes of it. */
  async #recoverOther(entry: SnapshotEntry): Promise<void> {
    await this.#recovered(entry, entry.maker === this.#gatewayId ? LOST : undefined);
  }

  /** Completes a snapshot whose barrier the store holds; one that can't be is given up, where a reason is given. */
  async #recovered(entry: SnapshotEntry, lost: string | undefined): Promise<SnapshotEntry | undefined> {
    let reason = lost;
    try {
      const answer = await completeBarrier(this.#blocks, entry);
      if (answer !== 'notYet') return answer;
    } catch (error) {
      const failure = toSgwError(error);
      if (isPassing(failure)) throw failure;
      reason &&= failure.message;
    }
    return reason === undefined ? undefined : await this.#giveUp(entry, reason);
  }

  /** Notes what became of a snapshot that can't be completed; one that is completed already stays so. */
  async #giveUp({ snapshotId }: SnapshotEntry, reason: string): Promise<SnapshotEntry | undefined> {
    try {
      return await failSnapshot(this.#blocks, snapshotId, reason);
    } catch (error) {
      const failure = toSgwError(error);
      if (isPassing(failure)) throw failure;
      return undefined;
    }
  }
}

const LOST = 'the writes before it were lost';
