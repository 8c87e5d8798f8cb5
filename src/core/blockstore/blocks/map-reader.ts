/**
 * Stored maps of many snapshots, read node by node: what is looked up is kept as it is stored, in one cache for all of them
 * that is bounded in bytes, since equal pointers name equal nodes for ever. Comparing two maps loads only what they do not
 * share, and makes no object for a child that is the same in both.
 */
import { throwIfAborted } from '../../kit/index.ts';
import { BoundedCache } from '../bounded-cache.ts';
import { FANOUT, ROOT_LEVEL } from '../geometry.ts';
import { slotOf } from '../map-node.ts';
import { nodeFrom } from '../map-object.ts';
import {
  STRETCH,
  InteriorEntries,
  checkStoredNode,
  decodeLeaf,
  decompressManyNodes,
  inPlaceDecompressor,
  unpackNode,
  type LeafRun,
  type NodePointer,
} from '../node-codec.ts';
import type { DataReading } from '../options.ts';
import { readAhead } from '../read-ahead.ts';
import { NodeBytes } from './node-bytes.ts';

const CACHE_BYTES = 64 << 20;
const RUN_BYTES_IN_MEMORY = 96;
/** Nodes that are loaded side by side. */
const PARALLEL_NODES = 32;
const PARALLEL_LEAVES = 32;

/** A leaf in which two maps differ; null where one of them has none. */
export interface LeafPointers {
  /** Counted in leaves, of 4 MiB. */
  readonly leaf: number;
  readonly a: NodePointer | null;
  readonly b: NodePointer | null;
}

/** A leaf in which two maps may differ, with the runs of both; pages count from the leaf's first. */
export interface LeafRuns {
  readonly leaf: number;
  readonly a: readonly LeafRun[];
  readonly b: readonly LeafRun[];
}

export class MapReader {
  readonly #reading: DataReading;
  readonly #bytes: NodeBytes;
  readonly #interiors: BoundedCache<InteriorEntries>;
  readonly #leaves: BoundedCache<readonly LeafRun[]>;

  constructor(reading: DataReading, cacheBytes = CACHE_BYTES) {
    this.#reading = reading;
    this.#bytes = new NodeBytes(reading);
    this.#interiors = new BoundedCache(cacheBytes / 2, ({ bytes }) => bytes);
    this.#leaves = new BoundedCache(cacheBytes / 2, (runs) => (runs.length + 1) * RUN_BYTES_IN_MEMORY);
  }

  /** The runs of a leaf; none where nothing is mapped. @throws corrupt `object-damaged`, `object-missing` */
  async leafAt(root: NodePointer | null, leaf: number, signal?: AbortSignal): Promise<readonly LeafRun[]> {
    let pointer = root;
    for (let level = ROOT_LEVEL; level > 0 && pointer !== null; level--)
      pointer = (await this.#interior(pointer, level, signal)).child(slotOf(leaf, level));
    return pointer === null ? [] : await this.#leaf(pointer, signal);
  }

  /**
   * The leaves from `fromLeaf` on in which `b` may differ from `a`, ascending; with null for `a`, all of `b`. Costs what is
   * looked at. What reads of it stops early has it read a little too much.
   */
  async *differing(
    a: NodePointer | null,
    b: NodePointer | null,
    fromLeaf: number,
    signal?: AbortSignal,
  ): AsyncGenerator<LeafRuns> {
    const pairs = this.#differingLeaves(a, b, fromLeaf, signal);
    yield* readAhead(
      pairs,
      PARALLEL_LEAVES,
      async (pair, stop) => {
        const [runsOfA, runsOfB] = await Promise.all([this.#runs(pair.a, stop), this.#runs(pair.b, stop)]);
        return { leaf: pair.leaf, a: runsOfA, b: runsOfB };
      },
      signal,
    );
  }

  async *#differingLeaves(
    a: NodePointer | null,
    b: NodePointer | null,
    fromLeaf: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<LeafPointers> {
    let level: AsyncIterable<LeafPointers> = one({ leaf: 0, a, b });
    for (let above = ROOT_LEVEL; above > 0; above--) level = this.#below(level, above, fromLeaf, signal);
    yield* level;
  }

  /** The pairs of children that differ, of pairs of nodes of `level`. */
  async *#below(
    pairs: AsyncIterable<LeafPointers>,
    level: number,
    fromLeaf: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<LeafPointers> {
    const nodes = readAhead(
      pairs,
      PARALLEL_NODES,
      async (pair, stop) => ({ pair, children: await this.#differingBelow(pair, level, stop) }),
      signal,
    );
    const span = FANOUT ** (level - 1);
    for await (const { pair, children } of nodes) {
      throwIfAborted(signal);
      for (const { slot, a, b } of children) {
        const leaf = pair.leaf + slot * span;
        if (leaf + span > fromLeaf) yield { leaf, a, b };
      }
    }
  }

  /** The children that differ, of two nodes of `level`. */
  async #differingBelow({ a, b }: LeafPointers, level: number, signal: AbortSignal): Promise<readonly Children[]> {
    // The two roots may be the same, and need not be read then.
    if (a !== null && b !== null && a.hash === b.hash) return [];
    if (level === 1 && this.#reading.keys === undefined) return await this.#differingLeavesOf(a, b);
    const [nodeOfA, nodeOfB] = await Promise.all([
      a === null ? null : this.#interior(a, level, signal),
      b === null ? null : this.#interior(b, level, signal),
    ]);
    return differingChildren(nodeOfA, nodeOfB);
  }

  /**
   * Most nodes of a walk are of level 1, and take some 40 KiB each: these are unpacked into memory that is used again, compared
   * before anything else runs, and not kept.
   */
  async #differingLeavesOf(a: NodePointer | null, b: NodePointer | null): Promise<readonly Children[]> {
    const [storedOfA, storedOfB] = await Promise.all([
      a === null ? null : this.#bytes.get(a),
      b === null ? null : this.#bytes.get(b),
    ]);
    const nodeOfA = a === null || storedOfA === null ? null : unpackedFor(a, storedOfA, decompressFirst);
    const nodeOfB = b === null || storedOfB === null ? null : unpackedFor(b, storedOfB, decompressSecond);
    return differingChildren(nodeOfA, nodeOfB);
  }

  /** Of a walk, which wants each leaf once, and shares no load with others. */
  async #runs(pointer: NodePointer | null, signal: AbortSignal): Promise<readonly LeafRun[]> {
    if (pointer === null) return [];
    if (this.#reading.keys !== undefined) return await this.#leaf(pointer, signal);
    const name = nameOf(pointer);
    const known = this.#leaves.peek(name);
    if (known !== undefined) return known;
    const stored = await this.#bytes.get(pointer);
    checkStoredNode(stored, pointer);
    const runs = decodeLeaf(unpackNode(stored, pointer, decompressFirst), pointer);
    this.#leaves.replace(name, runs);
    return runs;
  }

  async #load(pointer: NodePointer, signal: AbortSignal): Promise<Buffer> {
    return await nodeFrom(this.#reading, await this.#bytes.get(pointer), pointer, signal, decompressManyNodes);
  }

  async #interior(pointer: NodePointer, level: number, signal?: AbortSignal): Promise<InteriorEntries> {
    const load = async (stop: AbortSignal): Promise<InteriorEntries> =>
      new InteriorEntries(await this.#load(pointer, stop), pointer, level);
    return await this.#interiors.get(`${nameOf(pointer)} ${String(level)}`, load, signal);
  }

  async #leaf(pointer: NodePointer, signal?: AbortSignal): Promise<readonly LeafRun[]> {
    const load = async (stop: AbortSignal): Promise<readonly LeafRun[]> =>
      decodeLeaf(await this.#load(pointer, stop), pointer);
    return await this.#leaves.get(nameOf(pointer), load, signal);
  }
}

const nameOf = ({ key, offset, hash }: NodePointer): string => `${key}@${String(offset)} ${hash}`;

async function* one<T>(value: T): AsyncGenerator<T> {
  yield await Promise.resolve(value);
}

interface Children {
  readonly slot: number;
  readonly a: NodePointer | null;
  readonly b: NodePointer | null;
}

const decompressFirst = inPlaceDecompressor();
const decompressSecond = inPlaceDecompressor();

function unpackedFor(pointer: NodePointer, stored: Buffer, decompress: (frame: Buffer) => Buffer): InteriorEntries {
  checkStoredNode(stored, pointer);
  return new InteriorEntries(unpackNode(stored, pointer, decompress), pointer, 1);
}

/** The slot of entry `i`; behind the last one, one that no entry has. */
const slotAt = (node: InteriorEntries | null, i: number): number =>
  node === null || i >= node.count ? FANOUT : node.slot(i);

/** Goes through both nodes at once, in the order of slots. */
function differingChildren(a: InteriorEntries | null, b: InteriorEntries | null): Children[] {
  const children: Children[] = [];
  let i = 0;
  let j = 0;
  let tryFrom = 0;
  for (;;) {
    if (a !== null && b !== null && i >= tryFrom) {
      const same = a.sameStretch(i, b, j);
      i += same;
      j += same;
      tryFrom = i + STRETCH;
    }
    const slotOfA = slotAt(a, i);
    const slotOfB = slotAt(b, j);
    const slot = Math.min(slotOfA, slotOfB);
    if (slot === FANOUT) return children;
    const inA = slotOfA === slot ? a : null;
    const inB = slotOfB === slot ? b : null;
    if (inA === null || inB === null || !inA.isSame(i, inB, j))
      children.push({ slot, a: inA?.pointer(i) ?? null, b: inB?.pointer(j) ?? null });
    if (inA !== null) i += 1;
    if (inB !== null) j += 1;
  }
}
