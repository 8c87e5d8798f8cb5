/**
 * The map of a volume: which frame of which segment holds each page (DESIGN section 5). A radix tree whose nodes
 * are loaded when needed, changed in memory, and written by a checkpoint, changed nodes only. Clean leaves are
 * evicted beyond a limit.
 *
 * One changer at a time: `applySegment` and `unmap` must not overlap. Readers may run beside it.
 */
import { SgwError, assert } from '../kit/index.ts';
import { BLOCK_PAGES, LEAF_PAGES, ROOT_LEVEL } from './geometry.ts';
import { Interior, Leaf, SourceNumbers, childPages, mappedBelow, slotOf, sweep, touch } from './map-node.ts';
import { creatorSet, decodeInterior, decodeLeaf, type NodePointer, type SegmentRef } from './node-codec.ts';
import { forEachPage, type FrameEntry, type SegmentIndex } from './segment-index.ts';
import { SharedLoads } from './shared-loads.ts';

/** Reads a node: found to be what the pointer names, opened if it is sealed, unpacked. */
export type NodeLoader = (pointer: NodePointer, signal?: AbortSignal) => Promise<Buffer>;

/** Where one page is: filled by `PageMap.locate`, so that looking up makes no object. */
export interface PagePlace {
  /** The map's number of the segment: see `PageMap.sourceOf`. */
  source: number;
  frame: number;
  slot: number;
}

/** Consecutive pages of the volume that sit in consecutive slots of one frame. */
export interface PageRun {
  readonly page: number;
  readonly count: number;
  readonly source: SegmentRef;
  readonly frame: number;
  readonly slot: number;
}

export interface LeafView {
  /** The leaf's first page in the volume. */
  readonly firstPage: number;
  readonly runs: PageRun[];
}

/** Looks over the shoulder of a walk through a map. */
export interface MapVisitor {
  /** Before what is stored below a pointer is read; false: leave it out. */
  readonly enter?: (pointer: NodePointer) => boolean;
  /** After everything below that pointer was yielded. */
  readonly leave?: (pointer: NodePointer) => void;
  /** A node is damaged or missing: these pages can't be told. Without it, the walk ends with the error. */
  readonly damage?: (error: SgwError, firstPage: number, pageCount: number) => void;
}

export interface WalkOptions extends MapVisitor {
  readonly fromPage?: number;
  readonly toPage?: number;
  readonly signal?: AbortSignal;
}

export interface PageMapOptions {
  readonly root: NodePointer | null;
  readonly load: NodeLoader;
  /** Clean leaves kept in memory, 8 KiB each. */
  readonly leafLimit?: number;
}

const DEFAULT_LEAF_LIMIT = 16384;

/** What `load` gives; undefined when it met damage and the visitor was told. */
async function tolerant<T>(
  { damage }: MapVisitor,
  firstPage: number,
  pageCount: number,
  load: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await load();
  } catch (error) {
    if (damage === undefined || !(error instanceof SgwError) || error.kind !== 'corrupt') throw error;
    damage(error, firstPage, pageCount);
    return undefined;
  }
}

export class PageMap {
  readonly #load: NodeLoader;
  readonly #leafLimit: number;
  readonly #sources = new SourceNumbers();
  readonly #loads = new SharedLoads<Leaf | Interior>();
  #root: Interior | undefined;
  #rootPointer: NodePointer | null;
  #mappedPages: number;
  #loadedLeaves = 0;
  #dirtyLeaves = 0;

  constructor(options: PageMapOptions) {
    this.#load = options.load;
    this.#leafLimit = options.leafLimit ?? DEFAULT_LEAF_LIMIT;
    this.#rootPointer = options.root;
    this.#mappedPages = options.root?.mappedPages ?? 0;
  }

  get mappedPages(): number {
    return this.#mappedPages;
  }

  /** Leaves that a checkpoint would write. */
  get dirtyLeaves(): number {
    return this.#dirtyLeaves;
  }

  get dirty(): boolean {
    return this.#root?.dirty === true;
  }

  /** The stored root; meaningful while the map is not dirty. */
  get storedRoot(): NodePointer | null {
    return this.#rootPointer;
  }

  /** Applies a segment: first its unmapped extents, then its frames. */
  async applySegment(index: SegmentIndex, signal?: AbortSignal): Promise<void> {
    for (const extent of index.extents) await this.unmap(extent.firstPage, extent.pageCount, signal);
    if (index.frameCount === 0) return;
    const { segmentId, creators } = index.footer;
    const sources = creators.map((set) =>
      this.#sources.numberOf({ key: index.key, segmentId, creators: creatorSet(set) }),
    );
    let leaf: Leaf | undefined;
    let leafIndex = -1;
    for (let frame = 0; frame < index.frameCount; frame++) {
      const entry = index.frame(frame);
      const wanted = Math.floor((entry.block * BLOCK_PAGES) / LEAF_PAGES);
      if (leaf === undefined || wanted !== leafIndex) {
        leaf = await this.#leafForChange(wanted, signal);
        leafIndex = wanted;
      }
      this.#setFrame(leaf, sources[entry.creators] ?? 0, frame, entry);
    }
  }

  #setFrame(leaf: Leaf, source: number, frame: number, entry: FrameEntry): void {
    assert(source > 0, "a frame names one of its segment's creator sets");
    touch(leaf);
    forEachPage(entry, (page, slot) => {
      this.#mappedPages += leaf.set(page % LEAF_PAGES, source, frame, slot);
    });
  }

  /** Makes pages read as zeroes. Whole subtrees go without being loaded. */
  async unmap(firstPage: number, pageCount: number, signal?: AbortSignal): Promise<void> {
    const root = await this.#rootNode(signal);
    if (root !== undefined && pageCount > 0) await this.#unmapIn([root], 0, firstPage, firstPage + pageCount, signal);
  }

  /** `path` leads from the root to the node whose pages begin at `base`; it stays in memory meanwhile. */
  async #unmapIn(
    path: readonly Interior[],
    base: number,
    from: number,
    to: number,
    signal?: AbortSignal,
  ): Promise<void> {
    const node = path[path.length - 1];
    assert(node !== undefined, 'a path has nodes');
    const span = childPages(node.level);
    node.pins += 1;
    try {
      for (const slot of node.slots(Math.max(0, Math.floor((from - base) / span)))) {
        const start = base + slot * span;
        if (start >= to) break;
        if (from <= start && start + span <= to) {
          this.#dropSubtree(node, slot);
          path.forEach(touch);
          continue;
        }
        let child = await this.#child(node, slot, signal);
        // A sweep may have taken it away before this went on.
        while (child !== undefined && node.loaded.get(slot) !== child) child = await this.#child(node, slot, signal);
        if (child instanceof Interior) await this.#unmapIn([...path, child], start, from, to, signal);
        else if (child !== undefined)
          this.#clearLeaf(path, child, Math.max(from, start) - start, Math.min(to, start + span) - start);
      }
    } finally {
      node.pins -= 1;
    }
  }

  #clearLeaf(path: readonly Interior[], leaf: Leaf, from: number, to: number): void {
    const cleared = leaf.clear(from, to);
    if (cleared === 0) return;
    this.#mappedPages -= cleared;
    this.#markLeaf(leaf);
    path.forEach(touch);
  }

  #markLeaf(leaf: Leaf): void {
    if (!leaf.dirty) this.#dirtyLeaves += 1;
    touch(leaf);
  }

  #dropSubtree(node: Interior, slot: number): void {
    const child = node.loaded.get(slot);
    this.#mappedPages -= child === undefined ? (node.pointers.get(slot)?.mappedPages ?? 0) : mappedBelow(child);
    if (child !== undefined) this.#forget(child);
    node.drop(slot);
  }

  #forget(child: Leaf | Interior): void {
    this.#lastLeaf = undefined;
    if (child instanceof Leaf) {
      this.#loadedLeaves -= 1;
      if (child.dirty) this.#dirtyLeaves -= 1;
      return;
    }
    for (const below of child.loaded.values()) this.#forget(below);
  }

  /**
   * Looks up a page without waiting: `mapped` fills `place`; `absent`: that is not in memory, `load` it and ask again.
   * Allocates nothing.
   */
  locate(page: number, place: PagePlace): 'mapped' | 'unmapped' | 'absent' {
    const leafIndex = Math.floor(page / LEAF_PAGES);
    const leaf = leafIndex === this.#lastIndex && this.#lastLeaf !== undefined ? this.#lastLeaf : this.#peek(leafIndex);
    if (!(leaf instanceof Leaf)) return leaf;
    leaf.used = true;
    const at = (page % LEAF_PAGES) * 2;
    const source = leaf.refs[at] ?? 0;
    if (source === 0) return 'unmapped';
    const where = leaf.refs[at + 1] ?? 0;
    place.source = source;
    place.frame = where >>> 4;
    place.slot = where & 15;
    return 'mapped';
  }

  /** The leaf that was looked up last, while it is in the tree. */
  #lastLeaf: Leaf | undefined;
  #lastIndex = -1;

  /** The leaf, if it is in memory; what its pages are if there is none. */
  #peek(leafIndex: number): Leaf | 'unmapped' | 'absent' {
    let node = this.#root;
    if (node === undefined) return this.#rootPointer === null ? 'unmapped' : 'absent';
    for (;;) {
      const slot = slotOf(leafIndex, node.level);
      const child: Leaf | Interior | undefined = node.loaded.get(slot);
      if (child === undefined) return node.pointers.has(slot) ? 'absent' : 'unmapped';
      if (child instanceof Leaf) {
        this.#lastLeaf = child;
        this.#lastIndex = leafIndex;
        return child;
      }
      node = child;
    }
  }

  /** Gets what tells where `page` is into memory, for a while. */
  async load(page: number, signal?: AbortSignal): Promise<void> {
    await this.#leafForRead(Math.floor(page / LEAF_PAGES), signal);
  }

  /** The segment that the map numbers so. */
  sourceOf(source: number): SegmentRef {
    return this.#sources.refOf(source);
  }

  /**
   * Whether `page` is mapped, and the page before `toPage` at which that may change; what has no node costs nothing.
   */
  async mappedExtent(
    page: number,
    toPage: number,
    signal?: AbortSignal,
  ): Promise<{ readonly isMapped: boolean; readonly endPage: number }> {
    const leafIndex = Math.floor(page / LEAF_PAGES);
    let node: Leaf | Interior | undefined = await this.#rootNode(signal);
    if (node === undefined) return { isMapped: false, endPage: toPage };
    while (node instanceof Interior) {
      const span = childPages(node.level);
      const parent: Interior = node;
      node = await this.#child(parent, slotOf(leafIndex, parent.level), signal);
      if (node === undefined)
        return { isMapped: false, endPage: Math.min(toPage, (Math.floor(page / span) + 1) * span) };
    }
    const base = leafIndex * LEAF_PAGES;
    const limit = Math.min(toPage - base, LEAF_PAGES);
    const isMapped = node.refs[(page - base) * 2] !== 0;
    let end = page - base + 1;
    while (end < limit && (node.refs[end * 2] !== 0) === isMapped) end += 1;
    return { isMapped, endPage: base + end };
  }

  /** The runs of the leaf that holds `page`; none where nothing is mapped. */
  async runsAround(page: number, signal?: AbortSignal): Promise<PageRun[]> {
    const leafIndex = Math.floor(page / LEAF_PAGES);
    const leaf = await this.#leafForRead(leafIndex, signal);
    return leaf === undefined ? [] : this.#pageRuns(leaf, leafIndex * LEAF_PAGES);
  }

  #pageRuns(leaf: Leaf, firstPage: number): PageRun[] {
    return leaf.runs(this.#sources).map((run) => ({ ...run, page: run.page + firstPage }));
  }

  /** Yields every leaf with something mapped, ascending, that touches pages `fromPage` to `toPage` (exclusive). */
  async *leaves(options: WalkOptions = {}): AsyncGenerator<LeafView> {
    const pointer = this.#root === undefined ? this.#rootPointer : null;
    if (pointer !== null && options.enter?.(pointer) === false) return;
    const root = await tolerant(options, 0, childPages(ROOT_LEVEL + 1), () => this.#rootNode(options.signal));
    if (root !== undefined) yield* this.#leavesIn(root, 0, options);
    if (pointer !== null) options.leave?.(pointer);
  }

  async *#leavesIn(node: Interior, base: number, options: WalkOptions): AsyncGenerator<LeafView> {
    const { fromPage = 0, toPage = Number.MAX_SAFE_INTEGER } = options;
    const span = childPages(node.level);
    for (const slot of node.slots(Math.max(0, Math.floor((fromPage - base) / span)))) {
      const start = base + slot * span;
      if (start >= toPage) return;
      const pointer = node.loaded.get(slot)?.dirty === true ? undefined : node.pointers.get(slot);
      if (pointer !== undefined && options.enter?.(pointer) === false) continue;
      const child = await tolerant(options, start, span, () => this.#child(node, slot, options.signal));
      if (child instanceof Interior) yield* this.#leavesIn(child, start, options);
      else if (child !== undefined && child.mapped > 0) yield { firstPage: start, runs: this.#pageRuns(child, start) };
      if (pointer !== undefined) options.leave?.(pointer);
    }
  }

  /** For comparing maps: the stored root; undefined while changes are not stored. */
  get cleanRoot(): NodePointer | null | undefined {
    return this.dirty ? undefined : this.#rootPointer;
  }

  /** For comparing maps: a child, loaded when needed. */
  async childOf(node: Interior | undefined, slot: number, signal?: AbortSignal): Promise<Leaf | Interior | undefined> {
    return node === undefined ? undefined : this.#child(node, slot, signal);
  }

  /** For comparing maps: the root, loaded when needed. */
  async rootOf(signal?: AbortSignal): Promise<Interior | undefined> {
    return this.#rootNode(signal);
  }

  /** For comparing maps: the runs of a leaf of this map. */
  runsOf(leaf: Leaf | Interior | undefined, firstPage: number): PageRun[] {
    return leaf instanceof Leaf ? this.#pageRuns(leaf, firstPage) : [];
  }

  async #rootNode(signal?: AbortSignal): Promise<Interior | undefined> {
    while (this.#root === undefined && this.#rootPointer !== null) {
      const pointer: NodePointer = this.#rootPointer;
      const node = await this.#loadNode(pointer, ROOT_LEVEL, signal);
      assert(node instanceof Interior, 'the root is an interior node');
      // Emptied and stored while it was being read: what was read belongs to the older state.
      if (this.#rootPointer === pointer) this.#root ??= node;
    }
    return this.#root;
  }

  async #child(node: Interior, slot: number, signal?: AbortSignal): Promise<Leaf | Interior | undefined> {
    const present = node.loaded.get(slot);
    if (present !== undefined) {
      if (present instanceof Leaf) present.used = true;
      return present;
    }
    const pointer = node.pointers.get(slot);
    if (pointer === undefined) return undefined;
    const child = await this.#loadNode(pointer, node.level - 1, signal);
    const raced = node.loaded.get(slot);
    if (raced !== undefined) return raced;
    // Dropped or replaced while it was being read: what was read belongs to the older state.
    if (node.pointers.get(slot) !== pointer) return this.#child(node, slot, signal);
    if (child instanceof Leaf) this.#makeRoom();
    node.loaded.set(slot, child);
    if (child instanceof Leaf) this.#loadedLeaves += 1;
    return child;
  }

  async #loadNode(pointer: NodePointer, level: number, signal?: AbortSignal): Promise<Leaf | Interior> {
    const name = `${pointer.key}@${String(pointer.offset)}`;
    return this.#loads.get(name, (stop) => this.#readNode(pointer, level, stop), signal);
  }

  async #readNode(pointer: NodePointer, level: number, signal?: AbortSignal): Promise<Leaf | Interior> {
    const node = await this.#load(pointer, signal);
    if (level > 0) return new Interior(level, decodeInterior(node, pointer, level));
    const leaf = new Leaf();
    leaf.fill(decodeLeaf(node, pointer), this.#sources);
    return leaf;
  }

  async #leafForRead(leafIndex: number, signal?: AbortSignal): Promise<Leaf | undefined> {
    let node: Leaf | Interior | undefined = await this.#rootNode(signal);
    while (node instanceof Interior) node = await this.#child(node, slotOf(leafIndex, node.level), signal);
    return node;
  }

  /** Loads or makes the leaf and marks it and its path as changed before anyone else runs, so it can't be evicted. */
  async #leafForChange(leafIndex: number, signal?: AbortSignal): Promise<Leaf> {
    for (;;) {
      await this.#leafForRead(leafIndex, signal);
      const leaf = this.#leafInMemory(leafIndex);
      if (leaf !== undefined) return leaf;
    }
  }

  /** As `#leafForChange`, without waiting; undefined when a sweep took a stored node of the path away meanwhile. */
  #leafInMemory(leafIndex: number): Leaf | undefined {
    this.#root ??= new Interior(ROOT_LEVEL);
    const path = [this.#root];
    for (let node = this.#root; node.level > 1;) {
      const slot = slotOf(leafIndex, node.level);
      const child = node.loaded.get(slot);
      if (child === undefined && node.pointers.has(slot)) return undefined;
      const next = child ?? new Interior(node.level - 1);
      assert(next instanceof Interior, 'a child above level 1 is an interior node');
      node.loaded.set(slot, next);
      path.push(next);
      node = next;
    }
    const parent = path[path.length - 1] ?? this.#root;
    const slot = slotOf(leafIndex, 1);
    if (!parent.loaded.has(slot) && parent.pointers.has(slot)) return undefined;
    const leaf = parent.loaded.get(slot) ?? this.#newLeaf(parent, slot);
    assert(leaf instanceof Leaf, 'a child of level 1 is a leaf');
    path.forEach(touch);
    this.#markLeaf(leaf);
    return leaf;
  }

  #newLeaf(node: Interior, slot: number): Leaf {
    this.#makeRoom();
    const leaf = new Leaf();
    node.loaded.set(slot, leaf);
    this.#loadedLeaves += 1;
    return leaf;
  }

  /** Evicts clean leaves that were not used since the last sweep, when there are too many. */
  #makeRoom(): void {
    if (this.#root === undefined || this.#loadedLeaves - this.#dirtyLeaves < this.#leafLimit) return;
    this.#lastLeaf = undefined;
    this.#loadedLeaves = sweep(this.#root);
  }

  /** For a checkpoint: the root to encode, undefined when the map is empty. See `encodeMap`. */
  get rootForEncoding(): Interior | undefined {
    return this.#root;
  }

  get sources(): SourceNumbers {
    return this.#sources;
  }

  /** After a checkpoint was stored: takes note that `leaves` leaves are clean again and where the root is. */
  markStored(root: NodePointer | null, cleanedLeaves: number): void {
    this.#lastLeaf = undefined;
    this.#rootPointer = root;
    this.#dirtyLeaves -= cleanedLeaves;
    if (root === null && this.#root?.dirty === false) this.#root = undefined;
  }
}
