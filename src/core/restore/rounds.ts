/**
 * Restores blocks in the order of C23. A round is a set of blocks that are restored together: (1) each block is written with its
 * mark in place of its first sector, and their other children get their marks; (2) one sync; (3) the marks are overwritten,
 * parents first. A power cut keeps any part of (3), and each is a state of the tree: what is below a mark counts for nothing.
 * So a block whose parent is in the same round needs no mark: in (1) it is written as it will be.
 *
 * Invariants: a block is in one round at a time; with a block, its unrestored ancestors are in its round, or in rounds that have
 * done (1) and whose (3) comes before that of this round; the bytes that rounds fetch are bounded.
 */
import type { BlockDevice } from '../blockdevice/index.ts';
import type { ImageFile } from '../image/index.ts';
import { MIB, Semaphore, throwIfAborted, toSgwError, type SgwError } from '../kit/index.ts';
import { cutPieces, fetchPieces, givenPieces, type ContentPiece, type GivenContent } from './block-content.ts';
import type { BlockTree } from './block-tree.ts';
import { MARK_BYTES, MARK_PAGE_BYTES, parentOf } from './geometry.ts';
import type { Marks } from './marks.ts';
import type { SharedSync } from './shared-sync.ts';

const FETCH_BYTES_MAX = 32 * MIB;
/** Of neighbouring blocks that are fetched together. */
const RUN_BYTES_MAX = 4 * MIB;

export interface RoundsParts {
  readonly tree: BlockTree;
  readonly marks: Marks;
  readonly image: Pick<ImageFile, 'write' | 'zero'>;
  readonly syncs: SharedSync;
  /** The snapshot. */
  readonly source: BlockDevice;
  /** Called before the last mark that is known of is overwritten; again when more become known. */
  readonly beforeLast: () => Promise<void>;
}

interface Round {
  /** False while (1) is under way. */
  isWritten: boolean;
  /** End of (1), and of everything; they resolve also when the round failed. */
  readonly written: Promise<undefined>;
  readonly ended: Promise<undefined>;
  failure: SgwError | undefined;
}

/** What a block's first page is once it is restored. */
type FirstPage = { readonly sector: Buffer } | { readonly mayTrim: boolean };

export class Rounds {
  readonly #parts: RoundsParts;
  readonly #room = new Semaphore(FETCH_BYTES_MAX);
  readonly #byBlock = new Map<number, Round>();
  #writes = 0;

  constructor(parts: RoundsParts) {
    this.#parts = parts;
  }

  /**
   * Restores `targets` and their ancestors, all or some of which others may be restoring. When it resolves, guests may write to
   * them; it is not on the disk before a sync. Of a target with given content, nothing is fetched. Returns the targets whose
   * given content was used.
   * @throws what the snapshot, or the image, throws
   */
  async restore(
    targets: readonly number[],
    signal: AbortSignal,
    given: ReadonlyMap<number, GivenContent> = new Map(),
  ): Promise<Set<number>> {
    const used = new Set<number>();
    for (;;) {
      throwIfAborted(signal);
      const plan = this.#plan(targets);
      if ('unknown' in plan) {
        await this.#parts.tree.learn(plan.unknown, signal);
        continue;
      }
      if (plan.busy.length > 0) {
        await Promise.all(plan.busy.map(async ({ written }) => written));
        continue;
      }
      if (plan.claims.length === 0 && plan.after.length === 0) return used;
      const round = plan.claims.length === 0 ? undefined : this.#begin(plan, given, signal);
      await Promise.all([...plan.after, ...(round === undefined ? [] : [round])].map(async ({ ended }) => ended));
      const failure = round?.failure;
      // A round that failed because one before it did is tried again, with the blocks of that.
      if (failure !== undefined && plan.after.every((other) => other.failure === undefined)) throw failure;
      if (failure === undefined) for (const block of plan.claims.filter((one) => given.has(one))) used.add(block);
    }
  }

  /** How often the image was written to. */
  get writes(): number {
    return this.#writes;
  }

  /** Every round that is under way has ended when it resolves. */
  async settle(): Promise<void> {
    await Promise.all([...new Set(this.#byBlock.values())].map(async ({ ended }) => ended));
  }

  /** Blocks that can be begun with now, and rounds to wait for. */
  #plan(
    targets: readonly number[],
  ): { readonly unknown: number } | { readonly claims: number[]; readonly after: Round[]; readonly busy: Round[] } {
    const claims = new Set<number>();
    const after = new Set<Round>();
    const busy = new Set<Round>();
    for (const target of targets) {
      if (claims.has(target)) continue;
      const path = this.#parts.tree.pathTo(target);
      if (path === undefined) return { unknown: target };
      for (const block of path) {
        const round = this.#byBlock.get(block);
        if (round === undefined) claims.add(block);
        else if (round.isWritten) after.add(round);
        else busy.add(round);
      }
    }
    return { claims: [...claims].sort((a, b) => a - b), after: [...after], busy: [...busy] };
  }

  #begin(
    { claims, after }: { readonly claims: readonly number[]; readonly after: readonly Round[] },
    given: ReadonlyMap<number, GivenContent>,
    signal: AbortSignal,
  ): Round {
    const written = Promise.withResolvers<undefined>();
    const ended = Promise.withResolvers<undefined>();
    const round: Round = {
      isWritten: false,
      written: written.promise,
      ended: ended.promise,
      failure: undefined,
    };
    /** Ascending. */
    const blocks: ReadonlySet<number> = new Set(claims);
    for (const block of blocks) this.#byBlock.set(block, round);
    const run = async (): Promise<void> => {
      try {
        const pages = await this.#write(blocks, given, signal);
        round.isWritten = true;
        written.resolve(undefined);
        await this.#parts.syncs.sync();
        await this.#overwriteMarks(blocks, pages, after);
      } catch (error) {
        round.failure = toSgwError(error);
      } finally {
        for (const block of blocks) this.#byBlock.delete(block);
        written.resolve(undefined);
        ended.resolve(undefined);
      }
    };
    void run();
    return round;
  }

  /** (1). Ends only when nothing of it is under way, also when it fails. */
  async #write(
    blocks: ReadonlySet<number>,
    given: ReadonlyMap<number, GivenContent>,
    signal: AbortSignal,
  ): Promise<Map<number, FirstPage>> {
    const { tree } = this.#parts;
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const pages = new Map<number, FirstPage>();
    const put = (block: number, pieces: readonly ContentPiece[]): void => {
      this.#writes += 1;
      for (const child of tree.blocks.childrenOf(block)) if (!blocks.has(child)) this.#writeMarkPage(child);
      if (block > 0 && blocks.has(parentOf(block))) this.#writeWhole(block, pieces);
      else pages.set(block, this.#writeBehindMark(block, pieces));
    };
    const writing = this.#runsOf(blocks, given).map(async (run) => {
      try {
        await this.#writeRun(run, given, put, either);
      } catch (error) {
        stop.abort(error);
        throw error;
      }
    });
    const results = await Promise.allSettled(writing);
    throwIfAborted(signal);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw toSgwError(stop.signal.reason);
    return pages;
  }

  /** All of the page, so that the disk need not read what was there. */
  #writeMarkPage(block: number): void {
    const { tree, marks, image } = this.#parts;
    const page = Buffer.alloc(MARK_PAGE_BYTES);
    marks.of(block).copy(page);
    image.write(tree.blocks.offsetOf(block), page);
  }

  /** Neighbours that are fetched together; a block with given content is alone. */
  #runsOf(blocks: ReadonlySet<number>, given: ReadonlyMap<number, GivenContent>): number[][] {
    const longest = Math.max(1, Math.floor(RUN_BYTES_MAX / this.#parts.tree.blocks.blockBytes));
    const runs: number[][] = [];
    for (const block of blocks) {
      const run = runs.at(-1);
      const last = run?.at(-1) ?? block;
      const isNext = last === block - 1 && !given.has(last) && !given.has(block);
      if (run !== undefined && isNext && run.length < longest) run.push(block);
      else runs.push([block]);
    }
    return runs;
  }

  async #writeRun(
    run: readonly number[],
    given: ReadonlyMap<number, GivenContent>,
    put: (block: number, pieces: readonly ContentPiece[]) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { tree, source } = this.#parts;
    const [first = 0] = run;
    const content = given.get(first);
    if (content !== undefined) {
      put(first, givenPieces(content, tree.blocks.lengthOf(first)));
      return;
    }
    const offset = tree.blocks.offsetOf(first);
    const length = tree.blocks.endOf(run.at(-1) ?? first) - offset;
    const release = await this.#room.acquire(length, signal);
    try {
      throwIfAborted(signal);
      const pieces = await fetchPieces(source, offset, length, signal);
      throwIfAborted(signal);
      for (const block of run)
        put(block, cutPieces(pieces, tree.blocks.offsetOf(block) - offset, tree.blocks.lengthOf(block)));
    } finally {
      release();
    }
  }

  #writeWhole(block: number, pieces: readonly ContentPiece[]): void {
    const { tree, image } = this.#parts;
    const offset = tree.blocks.offsetOf(block);
    for (const { at, length, data, mayTrim } of pieces)
      if (data === undefined) image.zero(offset + at, length, mayTrim);
      else image.write(offset + at, data);
  }

  /** With its mark in place of its first sector. Returns what its first page will be. */
  #writeBehindMark(block: number, pieces: readonly ContentPiece[]): FirstPage {
    const { tree, image, marks } = this.#parts;
    const offset = tree.blocks.offsetOf(block);
    const first = Buffer.alloc(MARK_PAGE_BYTES);
    let isFirstZero = true;
    let mayTrim = true;
    for (const { at, length, data, mayTrim: trims } of pieces) {
      const end = at + length;
      if (at < MARK_PAGE_BYTES) {
        mayTrim &&= trims;
        if (data !== undefined) {
          isFirstZero = false;
          data.copy(first, at, 0, MARK_PAGE_BYTES - at);
        }
      }
      const from = Math.max(at, MARK_PAGE_BYTES);
      if (from >= end) continue;
      if (data === undefined) image.zero(offset + from, end - from, trims);
      else image.write(offset + from, data.subarray(from - at, length));
    }
    const sector = Buffer.from(first.subarray(0, MARK_BYTES));
    marks.of(block).copy(first);
    image.write(offset, first);
    return isFirstZero ? { mayTrim } : { sector };
  }

  /** (3). */
  async #overwriteMarks(
    blocks: ReadonlySet<number>,
    pages: ReadonlyMap<number, FirstPage>,
    after: readonly Round[],
  ): Promise<void> {
    const { tree, image, beforeLast } = this.#parts;
    for (const round of after) {
      await round.ended;
      if (round.failure !== undefined) throw round.failure;
    }
    if (this.#endsAll(blocks)) await beforeLast();
    this.#writes += 1;
    // What has no mark is restored at once with what is above it: also when the next write fails.
    const setRestored = (block: number): void => {
      tree.setRestored(block);
      for (const child of tree.blocks.childrenOf(block)) if (blocks.has(child) && !pages.has(child)) setRestored(child);
    };
    for (const block of blocks) {
      const page = pages.get(block);
      if (page === undefined) continue;
      const offset = tree.blocks.offsetOf(block);
      if ('sector' in page) image.write(offset, page.sector);
      else image.zero(offset, MARK_PAGE_BYTES, page.mayTrim);
      setRestored(block);
    }
  }

  /** Whether no block that is known of carries its mark when these are restored. */
  #endsAll(blocks: ReadonlySet<number>): boolean {
    const { tree } = this.#parts;
    let left = tree.markedBlocks;
    for (const block of blocks) {
      const children = tree.blocks.childrenOf(block);
      if (children.some((child) => !blocks.has(child))) return false;
      if (this.#isMarked(block)) left -= 1;
    }
    return left === 0;
  }

  #isMarked(block: number): boolean {
    const path = this.#parts.tree.pathTo(block);
    return path?.length === 1;
  }
}
