/** Walks two maps side by side, and past what both share: how a diff costs what changed. */
import { Interior, childPages, type Leaf } from './map-node.ts';
import type { NodePointer } from './node-codec.ts';
import type { PageMap, PageRun } from './page-map.ts';

/** A leaf in which two maps may differ, with the runs of both. */
export interface LeafPair {
  readonly firstPage: number;
  readonly a: readonly PageRun[];
  readonly b: readonly PageRun[];
}

/** Yields the leaves in which two maps may differ, ascending. A stored subtree that both have is skipped unread. */
export async function* differingLeaves(a: PageMap, b: PageMap, signal?: AbortSignal): AsyncGenerator<LeafPair> {
  if (samePointer(a.cleanRoot, b.cleanRoot)) return;
  yield* differing({ map: a, node: await a.rootOf(signal) }, { map: b, node: await b.rootOf(signal) }, 0, signal);
}

const samePointer = (a: NodePointer | null | undefined, b: NodePointer | null | undefined): boolean =>
  a !== undefined &&
  b !== undefined &&
  (a === b || (a !== null && b !== null && a.key === b.key && a.offset === b.offset && a.hash === b.hash));

/** A child's stored pointer; undefined when it is changed or absent. */
function pointerOf(node: Interior | undefined, slot: number): NodePointer | undefined {
  return node?.loaded.get(slot)?.dirty === true ? undefined : node?.pointers.get(slot);
}

interface Side {
  readonly map: PageMap;
  readonly node: Interior | undefined;
}

async function* differing(a: Side, b: Side, base: number, signal?: AbortSignal): AsyncGenerator<LeafPair> {
  const level = a.node?.level ?? b.node?.level;
  if (level === undefined) return;
  const slots = [...new Set([...(a.node?.slots() ?? []), ...(b.node?.slots() ?? [])])].sort((x, y) => x - y);
  for (const slot of slots) {
    const pa = pointerOf(a.node, slot);
    if (pa !== undefined && samePointer(pa, pointerOf(b.node, slot))) continue;
    const [ca, cb] = await Promise.all([a.map.childOf(a.node, slot, signal), b.map.childOf(b.node, slot, signal)]);
    const start = base + slot * childPages(level);
    if (level === 1) yield { firstPage: start, a: a.map.runsOf(ca, start), b: b.map.runsOf(cb, start) };
    else yield* differing({ map: a.map, node: asInterior(ca) }, { map: b.map, node: asInterior(cb) }, start, signal);
  }
}

const asInterior = (node: Leaf | Interior | undefined): Interior | undefined =>
  node instanceof Interior ? node : undefined;
