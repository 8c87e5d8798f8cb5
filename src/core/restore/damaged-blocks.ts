/**
 * Blocks of an image whose data the snapshot does not have any more. What is below them in the tree can't be restored either: it
 * would count for nothing under their marks.
 */
import { SgwError } from '../kit/index.ts';
import type { BlockTree } from './block-tree.ts';
import { parentOf } from './geometry.ts';

/** Extents that are told. */
const TOLD_MAX = 100;
const NAMED_MAX = 4;

interface Extent {
  readonly offset: number;
  readonly length: number;
}

export class DamagedBlocks {
  readonly #tree: BlockTree;
  readonly #blocks = new Set<number>();
  #first: SgwError | undefined;

  constructor(tree: BlockTree) {
    this.#tree = tree;
  }

  get isEmpty(): boolean {
    return this.#blocks.size === 0;
  }

  add(block: number, failure: SgwError): void {
    this.#blocks.add(block);
    this.#first ??= failure;
  }

  /** They are to be tried again. */
  forget(): void {
    this.#blocks.clear();
    this.#first = undefined;
  }

  /** Whether a block is damaged, or below one that is. */
  stops(block: number): boolean {
    if (this.isEmpty) return false;
    for (let at = block; ; at = parentOf(at)) {
      if (this.#blocks.has(at)) return true;
      if (at === 0) return false;
    }
  }

  /** What could not be restored. */
  failure(): SgwError {
    const damaged = this.#extents((block) => this.#blocks.has(block));
    const below = this.#extents((block) => !this.#blocks.has(block) && this.stops(block));
    const isSound =
      below.bytes === 0 ? '' : `; ${String(below.bytes)} bytes that are below them in the tree of the restore wait`;
    const more = damaged.count > NAMED_MAX ? ', ...' : '';
    const named = damaged.told.slice(0, NAMED_MAX).map(({ offset, length }) => `${String(offset)}+${String(length)}`);
    return new SgwError(
      'corrupt',
      'restore-damaged',
      `${String(damaged.bytes)} bytes of the image can not be restored, at ${named.join(', ')}${more}${isSound}: ${this.#first?.message ?? ''}`,
      {
        hint: 'All else is restored, and what waits can be read while the image is served. What is damaged is restored by being overwritten through the export, in whole blocks, or when the store has it again: sgw store scrub tells what it lost.',
        details: {
          damagedBytes: damaged.bytes,
          damaged: damaged.told,
          waitingBytes: below.bytes,
          waiting: below.told,
        },
        cause: this.#first,
      },
    );
  }

  /** Of unrestored blocks: neighbours are one. */
  #extents(isAsked: (block: number) => boolean): {
    readonly told: Extent[];
    readonly count: number;
    readonly bytes: number;
  } {
    const { blocks } = this.#tree;
    const told: { readonly offset: number; length: number }[] = [];
    let [count, bytes, end] = [0, 0, -1];
    for (let block = 0; block < blocks.count; block++) {
      if (this.#tree.isRestored(block) || !isAsked(block)) continue;
      const [offset, length] = [blocks.offsetOf(block), blocks.lengthOf(block)];
      const last = told.at(-1);
      bytes += length;
      if (offset !== end) count += 1;
      if (offset === end && last !== undefined && last.offset + last.length === offset) last.length += length;
      else if (offset !== end && told.length < TOLD_MAX) told.push({ offset, length });
      end = offset + length;
    }
    return { told, count, bytes };
  }
}
