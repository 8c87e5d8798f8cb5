/**
 * Nodes of the map in memory. Invariants:
 * - `version` grows with every change, so that a checkpoint can tell whether a node changed while it was being stored.
 * - A dirty node's ancestors are dirty. A dirty node is never evicted.
 * - An interior child is in `pointers`, in `loaded`, or in both (clean, or changed since it was stored).
 */
import { assert } from '../kit/index.ts';
import { FANOUT, LEAF_PAGES } from './geometry.ts';
import type { LeafRun, NodePointer, SegmentRef } from './node-codec.ts';

/** The sources that a map's leaves name, numbered from 1; 0 stands for "not mapped". */
export class SourceNumbers {
  readonly #numbers = new Map<string, number>();
  readonly #refs: SegmentRef[] = [];

  numberOf(ref: SegmentRef): number {
    const name = `${ref.key} ${ref.segmentId} ${ref.creators.join()}`;
    let number = this.#numbers.get(name);
    if (number === undefined) {
      this.#refs.push(ref);
      number = this.#refs.length;
      this.#numbers.set(name, number);
    }
    return number;
  }

  refOf(number: number): SegmentRef {
    const ref = this.#refs[number - 1];
    assert(ref !== undefined, `source number ${String(number)} is known`);
    return ref;
  }
}

/** 1024 pages: for each, source number and frame * 16 + slot. 8 KiB. */
export class Leaf {
  readonly refs = new Uint32Array(LEAF_PAGES * 2);
  mapped = 0;
  dirty = false;
  version = 0;
  used = true;

  /** Maps a page. Returns the change in mapped pages: 1 or 0. */
  set(page: number, source: number, frame: number, slot: number): number {
    const added = this.refs[page * 2] === 0 ? 1 : 0;
    this.refs[page * 2] = source;
    this.refs[page * 2 + 1] = frame * 16 + slot;
    this.mapped += added;
    return added;
  }

  /** Unmaps pages. Returns how many were mapped. */
  clear(from: number, to: number): number {
    let cleared = 0;
    for (let page = from; page < to; page++) if (this.refs[page * 2] !== 0) cleared += 1;
    this.refs.fill(0, from * 2, to * 2);
    this.mapped -= cleared;
    return cleared;
  }

  fill(runs: readonly LeafRun[], sources: SourceNumbers): void {
    for (const run of runs) {
      const source = sources.numberOf(run.source);
      for (let i = 0; i < run.count; i++) this.set(run.page + i, source, run.frame, run.slot + i);
    }
  }

  /** The runs of the leaf, ascending. */
  runs(sources: SourceNumbers): LeafRun[] {
    const runs: LeafRun[] = [];
    const { refs } = this;
    for (let page = 0; page < LEAF_PAGES;) {
      const source = refs[page * 2] ?? 0;
      const place = refs[page * 2 + 1] ?? 0;
      if (source === 0) {
        page += 1;
        continue;
      }
      let count = 1;
      // Slots of one frame are consecutive numbers; the next frame's begin at a multiple of 16.
      while (
        page + count < LEAF_PAGES &&
        (place + count) % 16 !== 0 &&
        refs[(page + count) * 2] === source &&
        refs[(page + count) * 2 + 1] === place + count
      )
        count += 1;
      runs.push({ page, count, source: sources.refOf(source), frame: place >>> 4, slot: place & 15 });
      page += count;
    }
    return runs;
  }
}

export class Interior {
  readonly level: number;
  readonly pointers: Map<number, NodePointer>;
  readonly loaded = new Map<number, Leaf | Interior>();
  /** Above zero while a changer is working below it: it is not evicted. */
  pins = 0;
  dirty = false;
  version = 0;

  constructor(level: number, pointers: Map<number, NodePointer> = new Map<number, NodePointer>()) {
    this.level = level;
    this.pointers = pointers;
  }

  /** Slots that have a child, ascending, from `from` (inclusive). */
  slots(from = 0): number[] {
    const slots = [...new Set([...this.pointers.keys(), ...this.loaded.keys()])];
    return slots.filter((slot) => slot >= from).sort((a, b) => a - b);
  }

  drop(slot: number): void {
    this.pointers.delete(slot);
    this.loaded.delete(slot);
  }
}

/** Pages that one child of a node of `level` covers. */
export const childPages = (level: number): number => LEAF_PAGES ** level;

/** Marks a node as changed. */
export function touch(node: Leaf | Interior): void {
  node.dirty = true;
  node.version += 1;
}

/** The slot, in a node of `level`, of the child on the way to a leaf. */
export const slotOf = (leafIndex: number, level: number): number =>
  Math.floor(leafIndex / FANOUT ** (level - 1)) % FANOUT;

/** Drops clean leaves not used since the last sweep, and emptied clean nodes. Returns the leaves that stay. */
export function sweep(node: Interior): number {
  let left = 0;
  for (const [slot, child] of node.loaded) {
    if (child instanceof Interior) {
      left += sweep(child);
      if (!child.dirty && child.pins === 0 && child.loaded.size === 0) node.loaded.delete(slot);
    } else if (!child.dirty && !child.used) node.loaded.delete(slot);
    else {
      child.used = false;
      left += 1;
    }
  }
  return left;
}

/** Pages mapped in and below a node. */
export function mappedBelow(node: Leaf | Interior): number {
  if (node instanceof Leaf) return node.mapped;
  return node.slots().reduce((sum, slot) => {
    const child = node.loaded.get(slot);
    return sum + (child === undefined ? (node.pointers.get(slot)?.mappedPages ?? 0) : mappedBelow(child));
  }, 0);
}
