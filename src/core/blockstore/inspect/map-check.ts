/**
 * Whether the nodes of a map object point only to where they may: to segments and map objects of their account, with the
 * creators that those have, and otherwise to what another map, which was checked or is granted, has in the same place.
 *
 * The object is walked from its root beside those other maps (the bases). A pointer that a base has in the same place is not
 * followed, so a check costs what changed. A pointer into an older object of the account must be one that a walk of that
 * object comes to: such objects were checked when they came, and bytes of them that no walk comes to were not.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { SgwError } from '../../kit/index.ts';
import { BoundedCache } from '../bounded-cache.ts';
import { ROOT_LEVEL } from '../geometry.ts';
import { parseMapObject } from '../map-object.ts';
import {
  checkStoredNode,
  creatorSet,
  decodeInterior,
  decodeLeaf,
  unpackNode,
  type LeafRun,
  type NodePointer,
  type SegmentRef,
} from '../node-codec.ts';
import type { NodeLoader } from '../page-map.ts';

const TURN_NODES = 64;
const WALKED_CACHE_BYTES = 16 << 20;
/** About what a pointer in a walked object takes. */
const POINTER_BYTES = 300;

/** What one account may point to. */
export interface MapRules {
  /** Whether a map object is the account's own. */
  readonly owns: (key: string, signal: AbortSignal) => Promise<boolean>;
  /** Whether a frame of this segment may be pointed to with these creators, wherever it stands. */
  readonly allows: (source: SegmentRef, frame: number, signal: AbortSignal) => Promise<boolean>;
}

/** A node of a base, and what is below it once that was asked for. */
interface BaseNode {
  readonly pointer: NodePointer;
  children?: Promise<ReadonlyMap<number, NodePointer>>;
  runs?: Promise<readonly LeafRun[]>;
}

interface WalkedNode {
  readonly pointer: NodePointer;
  readonly level: number;
}

type Walked = ReadonlyMap<number, WalkedNode>;

export const isSamePointer = (a: NodePointer, b: NodePointer): boolean =>
  a.key === b.key &&
  a.offset === b.offset &&
  a.length === b.length &&
  a.hash === b.hash &&
  a.mappedPages === b.mappedPages &&
  isSameSet(a.creators, b.creators);

const isSameSet = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((account, i) => account === b[i]);

export interface MapReading {
  /** Reads nodes of any object. */
  readonly load: NodeLoader;
  /** Reads a whole map object; undefined when there is none. */
  readonly read: (key: string, signal: AbortSignal) => Promise<Buffer | undefined>;
}

export class MapCheck {
  readonly #reading: MapReading;
  /** Where the nodes of objects begin, by key: those that a walk of the object comes to. */
  readonly #walked = new BoundedCache<Walked>(WALKED_CACHE_BYTES, (nodes) => nodes.size * POINTER_BYTES + 200);

  constructor(reading: MapReading) {
    this.#reading = reading;
  }

  /**
   * Checks a whole map object that is to be stored under `key` for `owner`. To be called once it is stored: what is returned.
   * @throws denied `map-refused`; corrupt `object-damaged` when it is none
   */
  async object(
    object: { readonly key: string; readonly owner: string; readonly body: Buffer },
    rules: MapRules,
    bases: readonly NodePointer[],
    signal: AbortSignal,
  ): Promise<() => void> {
    const { key, owner, body } = object;
    const footer = parseMapObject(key, body);
    if (footer.owner !== owner) throw refused(key, 'it is of another owner');
    const { root } = footer;
    const nodes = new Map<number, WalkedNode>();
    if (root !== null) {
      const check = new ObjectCheck({ reading: this.#reading, rules, check: this, key, body, nodes, signal });
      const others = bases.map((pointer) => ({ pointer }));
      await check.node(requirePointer(key, root), ROOT_LEVEL, others);
    }
    return () => {
      this.#walked.put(key, nodes);
    };
  }

  /** Whether a pointer is to a node of that level which a walk of its object, one of the account's, comes to. */
  async isOwnNode(pointer: NodePointer, level: number, rules: MapRules, signal: AbortSignal): Promise<boolean> {
    if (!(await rules.owns(pointer.key, signal))) return false;
    const walked = await this.#walked.get(pointer.key, async (stop) => this.#walk(pointer.key, stop), signal);
    const found = walked.get(pointer.offset);
    return found?.level === level && isSamePointer(found.pointer, pointer);
  }

  /** Whether a pointer may be a root: see `isOwnNode`. */
  async isOwnRoot(pointer: NodePointer, rules: MapRules, signal: AbortSignal): Promise<boolean> {
    return await this.isOwnNode(pointer, ROOT_LEVEL, rules, signal);
  }

  /** The nodes of an object that stand below its own root, without those of other objects. */
  async #walk(key: string, signal: AbortSignal): Promise<Walked> {
    const nodes = new Map<number, WalkedNode>();
    const body = await this.#reading.read(key, signal);
    if (body === undefined) return nodes;
    const { root } = parseMapObject(key, body);
    const waiting: WalkedNode[] = root === null ? [] : [{ pointer: requirePointer(key, root), level: ROOT_LEVEL }];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { pointer, level } = next;
      if (pointer.key !== key || nodes.has(pointer.offset)) continue;
      nodes.set(pointer.offset, next);
      if (nodes.size % TURN_NODES === 0) await turn();
      if (level === 0) continue;
      for (const child of decodeInterior(nodeIn(body, pointer), pointer, level).values())
        waiting.push({ pointer: child, level: level - 1 });
    }
    return nodes;
  }
}

/** The node that a pointer names in the object's bytes. @throws corrupt `object-damaged` */
function nodeIn(body: Buffer, pointer: NodePointer): Buffer {
  const stored = body.subarray(pointer.offset, pointer.offset + pointer.length);
  checkStoredNode(stored, pointer);
  return unpackNode(stored, pointer);
}

interface Incoming {
  readonly reading: MapReading;
  readonly rules: MapRules;
  readonly check: MapCheck;
  readonly key: string;
  readonly body: Buffer;
  /** Filled with the nodes that the walk comes to. */
  readonly nodes: Map<number, WalkedNode>;
  readonly signal: AbortSignal;
}

/** One object on its way in. */
class ObjectCheck {
  readonly #object: Incoming;

  constructor(object: Incoming) {
    this.#object = object;
  }

  /** Checks a pointer and what is below it. `bases` are the nodes that other maps have in its place. */
  async node(pointer: NodePointer, level: number, bases: readonly BaseNode[]): Promise<void> {
    if (bases.some((base) => isSamePointer(base.pointer, pointer))) return;
    const { key, body, nodes, check, rules, signal } = this.#object;
    if (pointer.key !== key) {
      if (await check.isOwnNode(pointer, level, rules, signal)) return;
      throw refused(key, `it points to ${pointer.key.slice(0, 100)}, to which nothing gives it a right`);
    }
    // Nodes make a tree: one that stood in two places would be walked over and over.
    if (nodes.has(pointer.offset)) throw refused(key, `two pointers name its node at ${String(pointer.offset)}`);
    nodes.set(pointer.offset, { pointer, level });
    if (nodes.size % TURN_NODES === 0) await turn();
    const node = nodeIn(body, pointer);
    const below =
      level === 0 ? await this.#leaf(node, pointer, bases) : await this.#interior(node, pointer, level, bases);
    if (below.mappedPages === pointer.mappedPages && isSameSet(below.creators, pointer.creators)) return;
    throw refused(key, `what it says of its node at ${String(pointer.offset)} is not so`);
  }

  async #interior(node: Buffer, pointer: NodePointer, level: number, bases: readonly BaseNode[]): Promise<Below> {
    const children = decodeInterior(node, pointer, level);
    const others = await Promise.all(bases.map(async (base) => this.#childrenOf(base, level)));
    let mappedPages = 0;
    for (const [slot, child] of children) {
      const inPlace = others.map((other) => other.get(slot)).filter((found) => found !== undefined);
      await this.node(
        requirePointer(this.#object.key, child),
        level - 1,
        inPlace.map((found) => ({ pointer: found })),
      );
      mappedPages += child.mappedPages;
    }
    return { mappedPages, creators: creatorSet(...[...children.values()].map(({ creators }) => creators)) };
  }

  async #leaf(node: Buffer, pointer: NodePointer, bases: readonly BaseNode[]): Promise<Below> {
    const { rules, signal } = this.#object;
    const runs = decodeLeaf(node, pointer);
    let mappedPages = 0;
    for (const run of runs) {
      mappedPages += run.count;
      if (await rules.allows(run.source, run.frame, signal)) continue;
      const others = await Promise.all(bases.map(async (base) => this.#runsOf(base)));
      if (others.some((other) => covers(other, run))) continue;
      const { key } = run.source;
      throw refused(
        this.#object.key,
        `it points to a frame of ${key.slice(0, 100)}, to which nothing gives it a right`,
      );
    }
    return { mappedPages, creators: creatorSet(...runs.map(({ source }) => source.creators)) };
  }

  async #childrenOf(base: BaseNode, level: number): Promise<ReadonlyMap<number, NodePointer>> {
    const { reading, signal } = this.#object;
    base.children ??= reading.load(base.pointer, signal).then((node) => decodeInterior(node, base.pointer, level));
    return await base.children;
  }

  async #runsOf(base: BaseNode): Promise<readonly LeafRun[]> {
    const { reading, signal } = this.#object;
    base.runs ??= reading.load(base.pointer, signal).then((node) => decodeLeaf(node, base.pointer));
    return await base.runs;
  }
}

interface Below {
  readonly mappedPages: number;
  readonly creators: readonly string[];
}

/** Whether a base maps every page of the run to the same place, as of the same creators. */
function covers(base: readonly LeafRun[], run: LeafRun): boolean {
  let page = run.page;
  for (const other of base) {
    if (other.page + other.count <= page) continue;
    const isSamePlace =
      other.page <= page &&
      other.source.key === run.source.key &&
      other.source.segmentId === run.source.segmentId &&
      other.frame === run.frame &&
      other.slot - other.page === run.slot - run.page &&
      isSameSet(other.source.creators, run.source.creators);
    if (!isSamePlace) return false;
    page = other.page + other.count;
    if (page >= run.page + run.count) return true;
  }
  return false;
}

/** A pointer that came from outside has the form of one. @throws denied `map-refused` */
export function requirePointer(key: string, pointer: NodePointer): NodePointer {
  const { offset, length, hash, mappedPages, creators } = pointer as Partial<NodePointer>;
  const isFormed =
    typeof pointer.key === 'string' &&
    [offset, length, mappedPages].every((value) => Number.isSafeInteger(value) && (value ?? -1) >= 0) &&
    typeof hash === 'string' &&
    Array.isArray(creators) &&
    creators.every((account) => typeof account === 'string' && /^\d{12}$/.test(account));
  if (isFormed) return pointer;
  throw refused(key, 'it has a pointer that is none');
}

function refused(key: string, why: string): SgwError {
  return new SgwError('denied', 'map-refused', `map object ${key} was refused: ${why}`, { details: { key } });
}
