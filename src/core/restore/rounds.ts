/**
 * Restores blocks in the order of C23. A round is a set of blocks that are restored together: (1) each block is written with its
 * mark in place of its first sector, and their other children get their marks; (2) one sync; (3) the marks are overwritten,
 * parents first. A power cut keeps any part of (3), and each is a state of the tree: what is below a mark counts for nothing.
 *
 * Invariants: a block is in one round at a time; with a block, its unrestored ancestors are in its round, or in rounds that have
 * done (1) and whose (3) comes before that of this round; the bytes that rounds fetch are bounded.
 */
import type { BlockDevice } from '../blockdevice/index.ts';
import type { ImageFile } from '../image/index.ts';
import { MIB, Semaphore, throwIfAborted, toSgwError, type SgwError } from '../kit/index.ts';
import { fetchPieces, givenPieces, type ContentPiece, type GivenContent } from './block-content.ts';
import type { BlockTree } from './block-tree.ts';
import { MARK_BYTES, MARK_PAGE_BYTES } from './geometry.ts';
import type { Marks } from './marks.ts';
import type { SharedSync } from './shared-sync.ts';

const FETCH_BYTES_MAX = 32 * MIB;

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
  readonly blocks: readonly number[];
  /** False while (1) is under way. */
  isWritten: boolean;
  /** End of (1), and of everything; they resolve also when the round failed. */
  readonly written: Promise<void>;
  readonly ended: Promise<void>;
  failure: SgwError | undefined;
}

/** What a block's first page is once it is restored. */
type FirstPage = { readonly sector: Buffer } | { readonly mayTrim: boolean };

export class Rounds {
  readonly #parts: RoundsParts;
  readonly #room = new Semaphore(FETCH_BYTES_MAX);
  readonly #byBlock = new Map<number, Round>();

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
      if (plan.claims.length > 0) {
        const round = this.#begin(plan, given, signal);
        await round.ended;
        if (round.failure === undefined) {
          for (const block of plan.claims) if (given.has(block)) used.add(block);
        } else if (plan.after.every(({ failure }) => failure === undefined)) throw round.failure;
      } else await Promise.all(plan.after.map(async ({ ended }) => ended));
    }
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
    { claims: blocks, after }: { readonly claims: readonly number[]; readonly after: readonly Round[] },
    given: ReadonlyMap<number, GivenContent>,
    signal: AbortSignal,
  ): Round {
    const written = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const round: Round = {
      blocks,
      isWritten: false,
      written: written.promise,
      ended: ended.promise,
      failure: undefined,
    };
    for (const block of blocks) this.#byBlock.set(block, round);
    const run = async (): Promise<void> => {
      try {
        const pages = await this.#write(blocks, given, signal);
        round.isWritten = true;
        written.resolve();
        await this.#parts.syncs.sync();
        await this.#overwriteMarks(blocks, pages, after);
      } catch (error) {
        round.failure = toSgwError(error);
      } finally {
        for (const block of blocks) this.#byBlock.delete(block);
        written.resolve();
        ended.resolve();
      }
    };
    void run();
    return round;
  }

  /** (1). Ends only when nothing of it is under way, also when it fails. */
  async #write(
    blocks: readonly number[],
    given: ReadonlyMap<number, GivenContent>,
    signal: AbortSignal,
  ): Promise<Map<number, FirstPage>> {
    const { tree } = this.#parts;
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const pages = new Map<number, FirstPage>();
    const own = new Set(blocks);
    const writing = blocks.map(async (block) => {
      try {
        for (const child of tree.blocks.childrenOf(block)) if (!own.has(child)) this.#writeMarkPage(child);
        pages.set(block, await this.#writeBlock(block, given.get(block), either));
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

  async #writeBlock(block: number, given: GivenContent | undefined, signal: AbortSignal): Promise<FirstPage> {
    const { tree, source } = this.#parts;
    const offset = tree.blocks.offsetOf(block);
    const length = tree.blocks.lengthOf(block);
    if (given !== undefined) return this.#writePieces(block, givenPieces(given, length));
    const release = await this.#room.acquire(length, signal);
    try {
      throwIfAborted(signal);
      return this.#writePieces(block, await fetchPieces(source, offset, length, signal));
    } finally {
      release();
    }
  }

  #writePieces(block: number, pieces: readonly ContentPiece[]): FirstPage {
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
    blocks: readonly number[],
    pages: ReadonlyMap<number, FirstPage>,
    after: readonly Round[],
  ): Promise<void> {
    const { tree, image, beforeLast } = this.#parts;
    for (const round of after) {
      await round.ended;
      if (round.failure !== undefined) throw round.failure;
    }
    if (this.#endsAll(blocks)) await beforeLast();
    for (const block of blocks) {
      const page = pages.get(block) ?? { mayTrim: true };
      const offset = tree.blocks.offsetOf(block);
      if ('sector' in page) image.write(offset, page.sector);
      else image.zero(offset, MARK_PAGE_BYTES, page.mayTrim);
      tree.setRestored(block);
    }
  }

  /** Whether no block that is known of carries its mark when these are restored. */
  #endsAll(blocks: readonly number[]): boolean {
    const { tree } = this.#parts;
    const own = new Set(blocks);
    let left = tree.markedBlocks;
    for (const block of blocks) {
      const children = tree.blocks.childrenOf(block);
      if (children.some((child) => !own.has(child))) return false;
      if (this.#isMarked(block)) left -= 1;
    }
    return left === 0;
  }

  #isMarked(block: number): boolean {
    const path = this.#parts.tree.pathTo(block);
    return path?.length === 1;
  }
}
