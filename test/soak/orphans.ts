/**
 * Which objects of a store nothing needs, found by other code than the product's gc: from the documents, the map nodes
 * and the leaves of every root, read as docs/formats says.
 */
import type { ObjectStore } from '../../src/core/objectstore/index.ts';
import {
  parseDocument,
  parseMapObject,
  parseNode,
  parseSegment,
  storedNode,
  type Checkpoint,
  type MapObject,
  type NodePointer,
} from '../reader/independent-formats.ts';
import { openDocument, sealedNodeVolume, volumeKey, type StoreKeys } from '../reader/independent-sealing.ts';

interface HeadFields {
  readonly checkpoint: Checkpoint;
  readonly consistent: Checkpoint | null;
}

interface SnapshotFields {
  readonly state: string;
  readonly root: NodePointer | null;
}

interface VolumeFields {
  readonly state: string;
}

interface PinFields {
  readonly deadline: string;
  readonly roots: readonly NodePointer[];
  readonly objects: readonly string[];
}

const LOG = /^volumes\/([^/]+)\/log\/([0-9a-f]{16})$/;
const MAP = /^volumes\/([^/]+)\/map\/([0-9a-f]{16})$/;
/** Documents that stand for themselves, and what gc and the service write down. */
const OF_THE_STORE = /^(?:sgw\.json|(?:keys|gc|service|pins)\/.*)$/;

/** Keys that nothing needs and that are no tombstones: after a gc whose grace period is over there are none. */
export async function findOrphans(objects: ObjectStore, storeKeys?: StoreKeys): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of objects.list('')) keys.push(key);
  const walk = new Walk(objects, storeKeys);
  const volumes = new Map<string, { head: HeadFields; firstNeeded: number }>();
  for (const id of idsIn(keys, 'volumes')) {
    const entry = keys.includes(`volumes/${id}/volume.json`)
      ? ((await walk.document(`volumes/${id}/volume.json`)) as VolumeFields)
      : undefined;
    if (entry === undefined || entry.state === 'purging') continue;
    const head = (await walk.document(`volumes/${id}/head.json`)) as HeadFields;
    const firstNeeded = Math.min(head.checkpoint.seq, head.consistent?.seq ?? Number.MAX_SAFE_INTEGER);
    volumes.set(id, { head, firstNeeded });
    await walk.tree(head.checkpoint.root);
    await walk.tree(head.consistent?.root ?? null);
  }
  const snapshots = new Set<string>();
  for (const id of idsIn(keys, 'snapshots')) {
    if (!keys.includes(`snapshots/${id}/snapshot.json`)) continue;
    const { state, root } = (await walk.document(`snapshots/${id}/snapshot.json`)) as SnapshotFields;
    if (state !== 'completed') continue;
    snapshots.add(id);
    await walk.tree(root);
  }
  await walkPins(walk, keys);
  const orphans: string[] = [];
  for (const key of keys) if (!(await isNeeded(key, walk, volumes, snapshots))) orphans.push(key);
  return orphans;
}

/** What is read at this moment, or was by a process that was killed, until its deadline. */
async function walkPins(walk: Walk, keys: readonly string[]): Promise<void> {
  for (const key of keys.filter((name) => name.startsWith('pins/'))) {
    const pin = (await walk.document(key)) as PinFields;
    if (Date.parse(pin.deadline) < Date.now()) continue;
    for (const root of pin.roots) await walk.tree(root);
    for (const object of pin.objects) walk.visited.add(object);
  }
}

async function isNeeded(
  key: string,
  walk: Walk,
  volumes: ReadonlyMap<string, { head: HeadFields; firstNeeded: number }>,
  snapshots: ReadonlySet<string>,
): Promise<boolean> {
  if (OF_THE_STORE.test(key) || walk.visited.has(key)) return true;
  const [folder = '', id = '', name = ''] = key.split('/');
  if (folder === 'snapshots') return snapshots.has(id) && name === 'snapshot.json';
  const volume = folder === 'volumes' ? volumes.get(id) : undefined;
  if (name === 'key.json' && volume === undefined) {
    // The data key of a volume that is gone, while clones of it need its segments.
    return [...walk.visited].some((live) => live.includes(`/${id}/`));
  }
  if (volume === undefined) return false;
  return name.endsWith('.json') || (await isNeededOf(volume, key, walk));
}

async function isNeededOf(
  { head, firstNeeded }: { head: HeadFields; firstNeeded: number },
  key: string,
  walk: Walk,
): Promise<boolean> {
  const seq = Number.parseInt(LOG.exec(key)?.[2] ?? MAP.exec(key)?.[2] ?? '', 16);
  // A writer may be about to name what stands above the head's checkpoint.
  if (MAP.test(key)) return seq > head.checkpoint.seq;
  return LOG.test(key) && (seq > firstNeeded || (await walk.isTombstone(key)));
}

function idsIn(keys: readonly string[], folder: string): string[] {
  const parts = keys.map((key) => key.split('/')).filter(([first, , ...rest]) => first === folder && rest.length > 0);
  return [...new Set(parts.map(([, id]) => id as string))];
}

class Walk {
  readonly visited = new Set<string>();
  readonly #objects: ObjectStore;
  readonly #keys: StoreKeys | undefined;
  readonly #dataKeys = new Map<string, Buffer>();
  readonly #maps = new Map<string, MapObject>();
  readonly #nodes = new Set<string>();

  constructor(objects: ObjectStore, keys: StoreKeys | undefined) {
    this.#objects = objects;
    this.#keys = keys;
  }

  async document(key: string): Promise<unknown> {
    const stored = parseDocument(key, await this.#whole(key)) as Record<string, unknown>;
    return this.#keys === undefined ? stored : openDocument(this.#keys, key, stored);
  }

  async isTombstone(key: string): Promise<boolean> {
    const dataKey = await this.#dataKey(key.split('/')[1]);
    return parseSegment(key, await this.#whole(key), dataKey).footer.kind === 'tombstone';
  }

  async #dataKey(volumeId: string | undefined): Promise<Buffer | undefined> {
    if (this.#keys === undefined || volumeId === undefined) return undefined;
    const known = this.#dataKeys.get(volumeId);
    if (known !== undefined) return known;
    const get = async (key: string): Promise<Buffer | undefined> => (await this.#objects.get(key))?.bytes;
    const key = await volumeKey(get, this.#keys, volumeId);
    this.#dataKeys.set(volumeId, key);
    return key;
  }

  /** Visits the map objects and segments that a tree needs. */
  async tree(pointer: Pick<NodePointer, 'key' | 'offset' | 'length' | 'hash'> | null): Promise<void> {
    if (pointer === null) return;
    const name = `${pointer.key}@${pointer.offset}`;
    if (this.#nodes.has(name)) return;
    this.#nodes.add(name);
    this.visited.add(pointer.key);
    const object = await this.#map(pointer.key);
    const dataKey = await this.#dataKey(sealedNodeVolume(storedNode(object, pointer)));
    const node = parseNode(object, pointer, dataKey);
    for (const entry of node.entries) {
      if ('page' in entry) this.visited.add(entry.source.key);
      else await this.tree({ ...entry, key: entry.source.key });
    }
  }

  async #map(key: string): Promise<MapObject> {
    const object = this.#maps.get(key) ?? parseMapObject(key, await this.#whole(key));
    this.#maps.set(key, object);
    return object;
  }

  async #whole(key: string): Promise<Buffer> {
    const body = await this.#objects.get(key);
    if (body === undefined) throw new Error(`${key} is needed, and missing`);
    return body.bytes;
  }
}
