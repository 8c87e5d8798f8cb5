/**
 * Everything that some roots reach: nodes of map objects, and frames of segments. Each root is walked once, and of it only
 * what none before it reached.
 *
 * Memory: about 60 bytes for each node and 2 for each frame.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { throwIfAborted } from '../../kit/index.ts';
import { ROOT_LEVEL, SEGMENT_MAX_FRAMES } from '../geometry.ts';
import { decodeInterior, decodeLeaf, type LeafRun, type NodePointer } from '../node-codec.ts';
import type { NodeLoader } from '../page-map.ts';

/** Nodes that are read at once. */
const LOADS_AT_ONCE = 16;
/** Nodes after which others get their turn. */
const TURN_NODES = 64;
const FIRST_FRAMES = 64;

interface Reached {
  readonly segmentId: string;
  /** For each frame: the number of the first root that reached it, 0 for none. */
  roots: Uint16Array;
}

export class Reach {
  readonly #load: NodeLoader;
  readonly #nodes = new Map<string, Map<number, number>>();
  readonly #segments = new Map<string, Reached>();
  #nodeCount = 0;
  #frameBytes = 0;

  constructor(load: NodeLoader) {
    this.#load = load;
  }

  /** What it holds in memory, about. */
  get sizeBytes(): number {
    return this.#nodeCount * 60 + this.#frameBytes;
  }

  /** Of a map object: where each node that is reached begins, and its length. */
  nodesOf(key: string): ReadonlyMap<number, number> | undefined {
    return this.#nodes.get(key);
  }

  /** Of a segment, or an uploaded block: its id, and for each frame the number of the first root that reached it. */
  framesOf(key: string): { readonly segmentId: string; readonly roots: Uint16Array } | undefined {
    return this.#segments.get(key);
  }

  /**
   * Adds what a root reaches. `number` is from 1 on; of one whose frames don't count, only nodes are added.
   * What it threw in the middle of is to be thrown away.
   * @throws corrupt, and what the store throws
   */
  async add(root: NodePointer, number: number, withFrames: boolean, signal: AbortSignal): Promise<void> {
    /** The last first, so that few wait. */
    const waiting: { readonly pointer: NodePointer; readonly level: number }[] = [{ pointer: root, level: ROOT_LEVEL }];
    let visited = 0;
    const visit = async ({
      pointer,
      level,
    }: {
      readonly pointer: NodePointer;
      readonly level: number;
    }): Promise<void> => {
      if (!this.#note(pointer)) return;
      visited += 1;
      if (visited % TURN_NODES === 0) await turn();
      const node = await this.#load(pointer, signal);
      if (level > 0) {
        for (const child of decodeInterior(node, pointer, level).values())
          waiting.push({ pointer: child, level: level - 1 });
      } else if (withFrames) for (const run of decodeLeaf(node, pointer)) this.#reach(run, number);
    };
    const active = new Set<Promise<void>>();
    while (waiting.length > 0 || active.size > 0) {
      throwIfAborted(signal);
      for (let next; active.size < LOADS_AT_ONCE && (next = waiting.pop()) !== undefined;) {
        const work = visit(next).finally(() => active.delete(work));
        // The first failure ends the walk; those of the others are of no more interest.
        work.catch(() => undefined);
        active.add(work);
      }
      await Promise.race(active);
    }
  }

  /** False when it was reached before, and with it all that is below. */
  #note({ key, offset, length }: NodePointer): boolean {
    let nodes = this.#nodes.get(key);
    if (nodes === undefined) {
      nodes = new Map();
      this.#nodes.set(key, nodes);
    }
    if (nodes.has(offset)) return false;
    nodes.set(offset, length);
    this.#nodeCount += 1;
    return true;
  }

  #reach({ source, frame }: LeafRun, number: number): void {
    const name = source.key;
    let reached = this.#segments.get(name);
    if (reached === undefined) {
      reached = { segmentId: source.segmentId, roots: new Uint16Array(FIRST_FRAMES) };
      this.#segments.set(name, reached);
      this.#frameBytes += 2 * FIRST_FRAMES + 100;
    }
    // A segment is never replaced by another one: what names it otherwise reaches nothing.
    if (reached.segmentId !== source.segmentId || frame >= SEGMENT_MAX_FRAMES) return;
    if (frame >= reached.roots.length) {
      const larger = new Uint16Array(Math.min(SEGMENT_MAX_FRAMES, Math.max(frame + 1, reached.roots.length * 2)));
      larger.set(reached.roots);
      this.#frameBytes += 2 * (larger.length - reached.roots.length);
      reached.roots = larger;
    }
    if (reached.roots[frame] === 0) reached.roots[frame] = number;
  }
}
