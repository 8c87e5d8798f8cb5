/**
 * What is known of an image's blocks: whether each carries its mark. Nothing of this is stored: it is read from the image when
 * it is asked for.
 *
 * States of a block: `unknown` -> `marked` -> `restored`. A block is `marked` or `restored` only if its parent is restored; one
 * that is below a marked block is unrestored, whatever is there. Memory: 2 bits a block.
 */
import type { ImageFile } from '../image/index.ts';
import { assert } from '../kit/index.ts';
import { MARK_BYTES, parentOf, type Blocks } from './geometry.ts';
import type { Marks } from './marks.ts';

const UNKNOWN = 0;
const MARKED = 1;
const RESTORED = 2;

export interface BlockTreeParts {
  readonly blocks: Blocks;
  readonly marks: Marks;
  readonly image: Pick<ImageFile, 'readNow' | 'read'>;
}

export class BlockTree {
  readonly blocks: Blocks;
  readonly #marks: Marks;
  readonly #image: BlockTreeParts['image'];
  readonly #states: Uint8Array;
  #markedBlocks = 0;
  #restoredBlocks = 0;
  #restoredBytes = 0;

  constructor({ blocks, marks, image }: BlockTreeParts) {
    this.blocks = blocks;
    this.#marks = marks;
    this.#image = image;
    this.#states = new Uint8Array(Math.ceil(blocks.count / 4));
  }

  /** Blocks known to carry their mark: when there is none, everything is restored or unknown. */
  get markedBlocks(): number {
    return this.#markedBlocks;
  }

  /** As far as known. */
  get restoredBytes(): number {
    return this.#restoredBytes;
  }

  get isComplete(): boolean {
    return this.#restoredBlocks === this.blocks.count;
  }

  /** Known to be restored. */
  isRestored(block: number): boolean {
    return this.#stateOf(block) === RESTORED;
  }

  /** Whether all blocks from `first` up to `last` are known to be restored. */
  areRestored(first: number, last: number): boolean {
    for (let block = first; block <= last; block++) if (!this.isRestored(block)) return false;
    return true;
  }

  /**
   * What has to be restored for `block`, in this order: from its topmost unrestored ancestor down to itself. Empty when it is
   * restored; undefined when the image has to be read to tell: see `learn`.
   */
  pathTo(block: number): number[] | undefined {
    const below: number[] = [];
    let at = block;
    while (this.#stateOf(at) === UNKNOWN) {
      below.push(at);
      if (at === 0) return undefined;
      at = parentOf(at);
    }
    if (this.#stateOf(at) === MARKED) return [at, ...below.reverse()];
    return below.length === 0 ? [] : undefined;
  }

  /** Reads what `pathTo` needs to know. @throws what reading the image throws */
  async learn(block: number, signal?: AbortSignal): Promise<void> {
    const chain = [block];
    for (let at = block; at > 0 && this.#stateOf(at) === UNKNOWN;) {
      at = parentOf(at);
      chain.push(at);
    }
    for (const one of chain.reverse()) {
      if (this.#stateOf(one) === UNKNOWN) await this.#look(one, signal);
      if (this.#stateOf(one) === MARKED) return;
    }
  }

  async #look(block: number, signal: AbortSignal | undefined): Promise<void> {
    const sector = Buffer.allocUnsafe(MARK_BYTES);
    const offset = this.blocks.offsetOf(block);
    if (!this.#image.readNow(offset, sector)) await this.#image.read(offset, sector, signal);
    // It may have been looked at, and restored, by somebody else meanwhile.
    if (this.#stateOf(block) !== UNKNOWN) return;
    if (this.#marks.isIn(block, sector)) this.#mark(block);
    else this.#restore(block);
  }

  /** The block is restored, and its children carry their marks. */
  setRestored(block: number): void {
    assert(this.#stateOf(block) === MARKED, `block ${String(block)} is restored once, after its parent`);
    this.#markedBlocks -= 1;
    this.#restore(block);
    for (const child of this.blocks.childrenOf(block)) this.#mark(child);
  }

  #mark(block: number): void {
    this.#setState(block, MARKED);
    this.#markedBlocks += 1;
  }

  #restore(block: number): void {
    this.#setState(block, RESTORED);
    this.#restoredBlocks += 1;
    this.#restoredBytes += this.blocks.lengthOf(block);
  }

  #stateOf(block: number): number {
    return ((this.#states[block >> 2] ?? 0) >> ((block & 3) * 2)) & 3;
  }

  #setState(block: number, state: number): void {
    const shift = (block & 3) * 2;
    const at = block >> 2;
    this.#states[at] = ((this.#states[at] ?? 0) & ~(3 << shift)) | (state << shift);
  }
}
