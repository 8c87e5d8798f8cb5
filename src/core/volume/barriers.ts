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
  readonly #completed = new Map<string, SnapshotEntry>();
  /** Left by a process of before; by sequence. */
  readonly #left: Map<number, SnapshotEntry>;

  constructor(blocks: BlockStoreOptions, left: readonly SnapshotEntry[]) {
    this.#blocks = blocks;
    this.#left = new Map(left.flatMap((entry) => (entry.barrier ? [[entry.barrier.sequence, entry] as const] : [])));
  }

  register(create: (sequence: number) => Promise<SnapshotEntry>): Barrier {
    const name = this.#blocks.random.bytes(8).toString('hex');
    const placed = Promise.withResolvers<SnapshotEntry | null>();
    this.#placed.set(name, placed.promise);
    return {
      name,
      place: async (sequence) => {
        const entry = await create(sequence);
        placed.resolve(entry);
        return entry;
      },
      abandon: () => {
        placed.resolve(null);
      },
    };
  }

  /** The completed snapshot of a barrier that was reached; forgets it. */
  completedEntry(name: string): SnapshotEntry | undefined {
    const entry = this.#completed.get(name);
    this.#completed.delete(name);
    return entry;
  }

  /**
   * Completes the snapshot of a barrier; called in commit order, with everything up to the barrier applied and nothing
   * behind it.
   */
  async reached(name: string, sequence: number, writer: VolumeWriter): Promise<void> {
    const entry = (await this.#placed.get(name)) ?? this.#left.get(sequence);
    this.#placed.delete(name);
    this.#left.delete(sequence);
    if (entry === undefined) return;
    const checkpoint = await writer.checkpointHere();
    try {
      this.#completed.set(name, await completeSnapshot(this.#blocks, entry, checkpoint));
    } catch (error) {
      // It was deleted or given up meanwhile: that is no matter of the volume's.
      const { kind } = toSgwError(error);
      if (kind !== 'conflict' && kind !== 'notFound') throw error;
    }
  }

  /** After an opening: completes what the store holds already up to its barrier. */
  async recover(uploadedSequence: number): Promise<void> {
    for (const [sequence, entry] of this.#left) {
      if (sequence > uploadedSequence) continue;
      this.#left.delete(sequence);
      try {
        const answer = await completeBarrier(this.#blocks, entry);
        if (answer === 'notYet') await failSnapshot(this.#blocks, entry.snapshotId, 'the writes before it were lost');
      } catch (error) {
        const failure = toSgwError(error);
        if (failure.kind === 'unavailable' || failure.kind === 'timeout') throw failure;
        await failSnapshot(this.#blocks, entry.snapshotId, failure.message).catch(() => undefined);
      }
    }
  }
}
