/**
 * Plans an import: walks the image's data extents and, where the volume may already hold pages, the
 * leaves of its map beside them, and cuts both into tasks of about 4 MiB for the workers.
 *
 * Invariants: tasks ascend; extents start and end at multiples of 64 KiB (the last reaches over the image's end, where
 * it reads as zeroes) and never cross a leaf; every mapped page lies
 * in exactly one task, in an extent (compared by hash) or in `unmap` (it lies in a hole of the image).
 */
import {
  BLOCK_BYTES,
  BLOCK_PAGES,
  LEAF_PAGES,
  PAGE_BYTES,
  PAGE_HASH_BYTES,
  hashesOfLeaf,
  type LeafView,
  type PageExtent,
  type PageMap,
  type SegmentReader,
} from '../blockstore/index.ts';
import type { Extent, RawImage } from '../image/index.ts';

export const TASK_BYTES = LEAF_PAGES * PAGE_BYTES;
const LEAF_BLOCKS = LEAF_PAGES / BLOCK_PAGES;
const TASK_UNMAPS_MAX = 4096;

export interface ImportTask {
  /** What the workers read, in order. Empty when there is only something to unmap. */
  readonly extents: readonly Extent[];
  readonly dataBytes: number;
  /** Hashes of the pages of `extents` as they are mapped now; undefined when none can be. */
  readonly known: Uint8Array | undefined;
  readonly unmap: readonly PageExtent[];
  /** Everything of the image below this position is done with this task and those before. */
  readonly endBytes: number;
}

/** What the volume holds now, to compare with. */
export interface MappedState {
  readonly map: PageMap;
  readonly segments: SegmentReader;
}

interface LeafWork {
  readonly leaf: number;
  readonly pieces: Extent[];
  readonly mapped: LeafView | undefined;
}

/** The tasks of importing `image`; with `mapped`, compared with what is there. */
export async function* planImport(
  image: RawImage,
  mapped: MappedState | undefined,
  signal: AbortSignal,
): AsyncGenerator<ImportTask> {
  let task = new TaskBuilder(mapped?.segments);
  for await (const work of leafWork(image, mapped, signal)) {
    await task.add(work, signal);
    if (!task.isFull) continue;
    yield task.build();
    task = new TaskBuilder(mapped?.segments);
  }
  if (!task.isEmpty) yield task.build();
}

class TaskBuilder {
  readonly #segments: SegmentReader | undefined;
  readonly #extents: Extent[] = [];
  readonly #known: Uint8Array[] = [];
  readonly #unmap: { firstPage: number; pageCount: number }[] = [];
  #dataBytes = 0;
  #endBytes = 0;

  constructor(segments: SegmentReader | undefined) {
    this.#segments = segments;
  }

  get isEmpty(): boolean {
    return this.#extents.length === 0 && this.#unmap.length === 0;
  }

  get isFull(): boolean {
    return this.#dataBytes >= TASK_BYTES || this.#unmap.length >= TASK_UNMAPS_MAX;
  }

  async add(work: LeafWork, signal: AbortSignal): Promise<void> {
    const { mapped } = work;
    const covered = new Uint8Array(LEAF_BLOCKS);
    const hashes = await this.#hashesFor(work, signal);
    for (const piece of work.pieces) {
      this.#extents.push(piece);
      this.#dataBytes += piece.length;
      const firstPage = piece.offset / PAGE_BYTES - work.leaf * LEAF_PAGES;
      const pageCount = piece.length / PAGE_BYTES;
      covered.fill(1, firstPage / BLOCK_PAGES, (firstPage + pageCount) / BLOCK_PAGES);
      if (hashes !== undefined)
        this.#known.push(hashes.subarray(firstPage * PAGE_HASH_BYTES, (firstPage + pageCount) * PAGE_HASH_BYTES));
    }
    for (const run of mapped?.runs ?? []) {
      if (covered[Math.floor((run.page % LEAF_PAGES) / BLOCK_PAGES)] !== 1) this.#addUnmap(run.page, run.count);
    }
    this.#endBytes = (work.leaf + 1) * TASK_BYTES;
  }

  build(): ImportTask {
    return {
      extents: this.#extents,
      dataBytes: this.#dataBytes,
      known: this.#segments === undefined ? undefined : Buffer.concat(this.#known),
      unmap: this.#unmap,
      endBytes: this.#endBytes,
    };
  }

  async #hashesFor(work: LeafWork, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if (this.#segments === undefined || work.pieces.length === 0) return undefined;
    if (work.mapped === undefined) return new Uint8Array(LEAF_PAGES * PAGE_HASH_BYTES);
    return await hashesOfLeaf(work.mapped, this.#segments, signal);
  }

  #addUnmap(firstPage: number, pageCount: number): void {
    const last = this.#unmap.at(-1);
    if (last !== undefined && last.firstPage + last.pageCount === firstPage) last.pageCount += pageCount;
    else this.#unmap.push({ firstPage, pageCount });
  }
}

/** Leaves with data in the image or pages in the map, ascending. */
async function* leafWork(
  image: RawImage,
  mapped: MappedState | undefined,
  signal: AbortSignal,
): AsyncGenerator<LeafWork> {
  const leaves = mapped?.map.leaves({ signal });
  try {
    let next = await nextLeaf(leaves);
    for await (const { leaf, pieces } of piecesByLeaf(image, signal)) {
      for (; next !== undefined && leafNumber(next) < leaf; next = await nextLeaf(leaves)) {
        yield { leaf: leafNumber(next), pieces: [], mapped: next };
      }
      if (next === undefined || leafNumber(next) !== leaf) {
        yield { leaf, pieces, mapped: undefined };
      } else {
        yield { leaf, pieces, mapped: next };
        next = await nextLeaf(leaves);
      }
    }
    for (; next !== undefined; next = await nextLeaf(leaves))
      yield { leaf: leafNumber(next), pieces: [], mapped: next };
  } finally {
    await leaves?.return(undefined);
  }
}

const leafNumber = (leaf: LeafView): number => Math.floor(leaf.firstPage / LEAF_PAGES);

async function nextLeaf(leaves: AsyncGenerator<LeafView> | undefined): Promise<LeafView | undefined> {
  if (leaves === undefined) return undefined;
  const step = await leaves.next();
  return step.done === true ? undefined : step.value;
}

/** The image's data extents, cut at the borders of leaves and gathered leaf by leaf. */
async function* piecesByLeaf(image: RawImage, signal: AbortSignal): AsyncGenerator<{ leaf: number; pieces: Extent[] }> {
  let current: { leaf: number; pieces: Extent[] } | undefined;
  for await (const extent of image.dataExtents(0, image.sizeBytes, { alignBytes: BLOCK_BYTES, signal })) {
    const end = Math.ceil((extent.offset + extent.length) / BLOCK_BYTES) * BLOCK_BYTES;
    for (let offset = extent.offset; offset < end;) {
      const leaf = Math.floor(offset / TASK_BYTES);
      const length = Math.min(end, (leaf + 1) * TASK_BYTES) - offset;
      if (current !== undefined && current.leaf !== leaf) {
        yield current;
        current = undefined;
      }
      current ??= { leaf, pieces: [] };
      current.pieces.push({ offset, length });
      offset += length;
    }
  }
  if (current !== undefined) yield current;
}
