/**
 * Snapshots of a served volume between their barrier in the log and their completion in the store (C8).
 *
 * A barrier is named by a random word in the log; the pending object says at which sequence it is. What is uploaded up to a
 * barrier waits there until that object exists, and the snapshot is completed before the next commit takes effect. A barrier
 * that nobody knows belongs to a command that ended before its object was made: it is passed by.
 */
import {
  completeBarrier,
  completeSnapshot,
  failSnapshot,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeWriter,
} from '../blockstore/index.ts';
import { toSgwError } from '../kit/index.ts';
import { isPassing } from './passing.ts';

export interface Barrier {
  /** Stands in the log. */
  readonly name: string;
  /** Makes the pending object, now that the barrier's place is known and durable. */
  readonly place: (sequence: number) => Promise<SnapshotEntry>;
  /** Nothing will come of it: lets the uploader pass by. */
  readonly abandon: (reason: unknown) => void;
}

export class Barriers {
  readonly #blocks: BlockStoreOptions;
  /** By name: what the uploader waits for; null when it is to pass by. */
  readonly #placed = new Map<string, Promise<SnapshotEntry | null>>();
  /** By sequence. */
  readonly #completed = new Map<number, SnapshotEntry>();
  /** Pending, by sequence: placed by this process, or left by one of before. */
  readonly #pending: Map<number, SnapshotEntry>;

  constructor(blocks: BlockStoreOptions, left: readonly SnapshotEntry[]) {
    this.#blocks = blocks;
    this.#pending = new Map(left.flatMap((entry) => (entry.barrier ? [[entry.barrier.sequence, entry] as const] : [])));
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
      await this.#giveUp(sequence, entry, message);
    }
    this.#pending.delete(sequence);
  }

  /** Notes what became of a snapshot that can't be completed; one that is completed already stays so. */
  async #giveUp(sequence: number, { snapshotId }: SnapshotEntry, reason: string): Promise<void> {
    try {
      this.#completed.set(sequence, await failSnapshot(this.#blocks, snapshotId, reason));
    } catch (error) {
      const failure = toSgwError(error);
      if (isPassing(failure)) throw failure;
    }
  }

  /** After an opening: completes what the store holds already up to its barrier, before anything is committed behind it. */
  async recover(uploadedSequence: number): Promise<void> {
    // One that is being placed may be in the store already, by a commit whose reply was lost.
    await Promise.all(this.#placed.values());
    for (const [sequence, entry] of this.#pending) {
      if (sequence > uploadedSequence) continue;
      try {
        const answer = await completeBarrier(this.#blocks, entry);
        if (answer !== 'notYet') this.#completed.set(sequence, answer);
        else await this.#giveUp(sequence, entry, 'the writes before it were lost');
      } catch (error) {
        const failure = toSgwError(error);
        if (isPassing(failure)) throw failure;
        await this.#giveUp(sequence, entry, failure.message);
      }
      this.#pending.delete(sequence);
    }
  }
}
