/**
 * Marks what roots reach. Each root has a number; what only one root reaches carries that number, what several reach
 * is `SHARED`. A node is read at most twice: by the first root that reaches it, and once more when another one does.
 *
 * Memory: a node costs about 40 bytes and a segment about 150 (docs/adr/0009-gc.md). Nothing of what was read is kept.
 */
import type { VolumeId } from '../../kit/index.ts';
import type { NodePointer } from '../node-codec.ts';
import type { BlockStoreOptions } from '../options.ts';
import { openStoredMap } from '../volume-view.ts';

/** The number of what several roots reach. */
export const SHARED = -1;

interface MarkedSegment {
  owner: number;
  /** Pages that the root's map has in it; meaningful while one root alone reaches it. */
  livePages: number;
}

/** A root that objects can be reached from. */
export type RootName =
  | { readonly kind: 'volume'; readonly id: VolumeId }
  /** The recovery points that the volume keeps. */
  | { readonly kind: 'recovery'; readonly id: VolumeId }
  | { readonly kind: 'snapshot'; readonly id: string }
  | { readonly kind: 'pin'; readonly id: string }
  | { readonly kind: 'restore'; readonly id: string };

export class Mark {
  readonly #options: BlockStoreOptions;
  /** For each map object, the owner of each node by its offset. */
  readonly #nodes = new Map<string, Map<number, number>>();
  readonly #maps = new Map<string, number>();
  readonly #segments = new Map<string, MarkedSegment>();

  constructor(options: BlockStoreOptions) {
    this.#options = options;
  }

  /** Marks everything below `root` for the root of that number. @throws corrupt when a node can't be read */
  async reach(root: NodePointer | null, owner: number, signal?: AbortSignal): Promise<void> {
    if (root === null) return;
    const path: number[] = [owner];
    const current = (): number => path.at(-1) ?? owner;
    const enter = (pointer: NodePointer): boolean => {
      const before = this.#ownerOfNode(pointer);
      if (before === current() || before === SHARED) return false;
      const now = before === undefined ? current() : SHARED;
      this.#setNode(pointer, now);
      path.push(now);
      return true;
    };
    const leave = (): void => {
      path.pop();
    };
    const map = openStoredMap(this.#options, root);
    for await (const leaf of map.leaves({ enter, leave, ...(signal === undefined ? {} : { signal }) })) {
      for (const run of leaf.runs) this.reachSegment(run.source.key, current(), run.count);
    }
  }

  /** Marks a log object for the root of that number, and counts pages that its map has there. */
  reachSegment(key: string, owner: number, pages: number): void {
    const segment = this.#segments.get(key);
    if (segment === undefined) this.#segments.set(key, { owner, livePages: pages });
    else {
      segment.owner = merged(segment.owner, owner);
      segment.livePages += pages;
    }
  }

  /** Marks a map object as a whole. */
  reachMap(key: string, owner: number): void {
    this.#maps.set(key, merged(this.#maps.get(key), owner));
  }

  /** The root that alone reaches the object, `SHARED`, or undefined when none does. */
  ownerOf(key: string): number | undefined {
    return this.#segments.get(key)?.owner ?? this.#maps.get(key);
  }

  /** Pages that the one root which reaches the segment has in it. */
  livePagesOf(key: string): number {
    return this.#segments.get(key)?.livePages ?? 0;
  }

  #ownerOfNode({ key, offset }: NodePointer): number | undefined {
    return this.#nodes.get(key)?.get(offset);
  }

  #setNode({ key, offset }: NodePointer, owner: number): void {
    let nodes = this.#nodes.get(key);
    if (nodes === undefined) {
      nodes = new Map();
      this.#nodes.set(key, nodes);
    }
    nodes.set(offset, owner);
    this.reachMap(key, owner);
  }
}

const merged = (before: number | undefined, owner: number): number =>
  before === undefined || before === owner ? owner : SHARED;
