/**
 * Restores everything: first the blocks of a profile, then all in the order of the tree, which is that of the image. Wanted blocks
 * go before. Two rounds are under way at a time, so that one fetches while the other syncs.
 *
 * States: running -> done | failed | stopped. A store that is out of reach, or a full disk, does not end it: it tries again. What
 * is damaged in the snapshot, and what is below that in the tree, is left out; when all else is restored, a served image is tried
 * again after a while, since guests may overwrite blocks, and else it fails.
 */
import type { BlockDevice } from '../blockdevice/index.ts';
import { MIB, toSgwError, type Clock, type SgwError } from '../kit/index.ts';
import type { BlockTree } from './block-tree.ts';
import { DamagedBlocks } from './damaged-blocks.ts';
import type { Demand } from './demand.ts';
import type { Rounds } from './rounds.ts';
import { withZeroChildren } from './zero-blocks.ts';

/** Rounds become larger while nobody asks for blocks; when guests do, what they wait for must not take long. */
const ROUND_BYTES_MAX = 64 * MIB;
const ROUND_BYTES_MIN = 2 * MIB;
/** How long a served image is left to its first guests. */
const FIRST_GUESTS_MS = 300;
const ROUNDS_MAX = 2;
const DEMAND_BLOCKS = 64;
/** Blocks without data that join a round, beyond its bytes: while guests ask, and else. */
const ZERO_BLOCKS_BUSY = 64;
const ZERO_BLOCKS_MAX = 4096;
/** Between two tries of what is damaged. */
const DAMAGE_RETRY_MS = 5 * 60_000;
const RETRY_MS = [250, 1000, 5000, 15_000] as const;
const PASSING_KINDS: ReadonlySet<string> = new Set(['unavailable', 'timeout', 'exhausted', 'denied']);

export interface BackgroundParts {
  readonly tree: BlockTree;
  readonly rounds: Rounds;
  readonly demand: Demand;
  /** The snapshot. */
  readonly source: BlockDevice;
  readonly clock: Clock;
  /** Blocks to restore first. */
  readonly profile: readonly number[];
  /** Bytes of the image a second; undefined: as fast as it goes. */
  readonly rateBytes: number | undefined;
  /** To guests: then failures that may pass are waited out, which else end it. */
  readonly isServed: boolean;
  readonly onProgress: () => void;
}

export class Background {
  readonly #parts: BackgroundParts;
  #cursor = 0;
  #profileAt = 0;
  #roundBytes = ROUND_BYTES_MIN;
  /** When the next round may begin, for the rate. */
  #nextMs = 0;
  #failure: SgwError | undefined;
  /** What the last pass could not restore. */
  #damage: SgwError | undefined;
  readonly #damaged: DamagedBlocks;

  constructor(parts: BackgroundParts) {
    this.#parts = parts;
    this.#damaged = new DamagedBlocks(parts.tree);
  }

  /** Why it waits to try again; undefined when it does not. */
  get failure(): SgwError | undefined {
    return this.#failure ?? this.#damage;
  }

  /** Every block is restored when it resolves; nothing of it need be on the disk. @throws what ended it */
  async run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const serving = this.#serveDemand(either).catch((error: unknown) => {
      if (!either.aborted) stop.abort(error);
    });
    try {
      await this.#fill(either);
    } finally {
      stop.abort(new Error('all is restored'));
      await serving;
      await this.#parts.rounds.settle();
    }
  }

  async #fill(signal: AbortSignal): Promise<void> {
    const { tree, isServed, clock } = this.#parts;
    if (isServed) await clock.sleep(FIRST_GUESTS_MS, signal);
    for (;;) {
      await this.#pass(signal);
      if (tree.isComplete) break;
      this.#damage = this.#damaged.failure();
      if (!isServed) throw this.#damage;
      await clock.sleep(DAMAGE_RETRY_MS, signal);
      this.#damaged.forget();
    }
    this.#damage = undefined;
  }

  /** When it resolves, what is not restored is damaged, or below what is. @throws what is no damage */
  async #pass(signal: AbortSignal): Promise<void> {
    const { tree } = this.#parts;
    this.#cursor = 0;
    const underWay = new Set<Promise<void>>();
    const failures: unknown[] = [];
    const goesOn = (): boolean => failures.length === 0;
    while (!tree.isComplete && goesOn()) {
      const batch = this.#nextBatch();
      if (batch.length === 0) {
        if (underWay.size > 0) await Promise.race(underWay);
        else if (this.#damaged.isEmpty) this.#cursor = 0;
        else break;
        continue;
      }
      await this.#keepRate(batch, signal);
      const work = this.#restore(batch, signal)
        .catch((error: unknown) => {
          failures.push(error);
        })
        .finally(() => {
          underWay.delete(work);
        });
      underWay.add(work);
      while (underWay.size >= ROUNDS_MAX && goesOn()) await Promise.race(underWay);
    }
    await Promise.all(underWay);
    if (!goesOn()) throw toSgwError(failures[0]);
  }

  /** As `#restoreSound`, but for blocks that are damaged, of which it takes note. */
  async #restore(batch: readonly number[], signal: AbortSignal): Promise<void> {
    const { tree } = this.#parts;
    const blocks = batch.filter((block) => !tree.isRestored(block) && !this.#damaged.stops(block));
    if (blocks.length === 0) return;
    try {
      await this.#restoreSound(blocks, signal);
    } catch (error) {
      const failure = toSgwError(error);
      if (failure.kind !== 'corrupt') throw failure;
      if (blocks.length > 1) {
        const half = Math.ceil(blocks.length / 2);
        await this.#restore(blocks.slice(0, half), signal);
        await this.#restore(blocks.slice(half), signal);
        return;
      }
      // Whether it is this one, or one above it that was not restored either.
      const path = tree.pathTo(blocks[0] ?? 0) ?? blocks;
      if (path.length > 1) for (const block of path) await this.#restore([block], signal);
      else for (const block of path) this.#damaged.add(block, failure);
    }
  }

  /** Goes on after failures that may pass. */
  async #restoreSound(batch: readonly number[], signal: AbortSignal): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#parts.rounds.restore(await this.#withZeroes(batch, signal), signal);
        this.#failure = undefined;
        this.#parts.onProgress();
        return;
      } catch (error) {
        const failure = toSgwError(error);
        if (signal.aborted || !this.#parts.isServed || !PASSING_KINDS.has(failure.kind)) throw failure;
        this.#failure = failure;
        await this.#parts.clock.sleep(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] ?? 0, signal);
      }
    }
  }

  async #withZeroes(batch: readonly number[], signal: AbortSignal): Promise<number[]> {
    const { source, tree, demand } = this.#parts;
    const max = demand.isRecent ? ZERO_BLOCKS_BUSY : ZERO_BLOCKS_MAX;
    try {
      return await withZeroChildren(source, tree, batch, max, signal);
    } catch (error) {
      // What is damaged there is found when it is its turn.
      if (toSgwError(error).kind === 'corrupt') return [...batch];
      throw error;
    }
  }

  #nextBatch(): number[] {
    const { tree, profile, demand, rateBytes } = this.#parts;
    this.#roundBytes = demand.isRecent ? ROUND_BYTES_MIN : Math.min(2 * this.#roundBytes, ROUND_BYTES_MAX);
    const bytesMax = rateBytes === undefined ? this.#roundBytes : Math.min(this.#roundBytes, rateBytes);
    const batch: number[] = [];
    let bytes = 0;
    const add = (block: number): void => {
      if (tree.isRestored(block) || this.#damaged.stops(block)) return;
      batch.push(block);
      bytes += tree.blocks.lengthOf(block);
    };
    for (; this.#profileAt < profile.length && bytes < bytesMax; this.#profileAt++) {
      const block = profile[this.#profileAt] ?? 0;
      if (block < tree.blocks.count) add(block);
    }
    for (; this.#cursor < tree.blocks.count && bytes < bytesMax; this.#cursor++) add(this.#cursor);
    return batch;
  }

  async #keepRate(batch: readonly number[], signal: AbortSignal): Promise<void> {
    const { rateBytes, clock, tree } = this.#parts;
    signal.throwIfAborted();
    if (rateBytes === undefined) return;
    const bytes = batch.reduce((sum, block) => sum + tree.blocks.lengthOf(block), 0);
    const nowMs = clock.monotonicMs();
    if (this.#nextMs > nowMs) await clock.sleep(this.#nextMs - nowMs, signal);
    this.#nextMs = Math.max(nowMs, this.#nextMs) + (bytes / rateBytes) * 1000;
  }

  /** Blocks that were read are restored, so that they are read from the image next time. */
  async #serveDemand(signal: AbortSignal): Promise<void> {
    const { demand, rounds, clock } = this.#parts;
    for (;;) {
      await demand.wanted(signal);
      try {
        const wanted = demand.take(DEMAND_BLOCKS).filter((block) => !this.#damaged.stops(block));
        await rounds.restore(wanted, signal);
        this.#parts.onProgress();
      } catch (error) {
        signal.throwIfAborted();
        // Who read has its answer; the background comes to these blocks and tells what is wrong with them.
        await clock.sleep(RETRY_MS[0], signal);
        if (toSgwError(error).kind === 'internal') throw error;
      }
    }
  }
}
