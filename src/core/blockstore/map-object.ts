/**
 * Map objects, format 1 (docs/formats/map.md): the nodes that changed since the last one, and a root. A volume's
 * checkpoint and a snapshot's own map have the same form.
 */
import { crc32 } from 'node:zlib';
import { SgwError } from '../kit/index.ts';
import type { ObjectStore } from '../objectstore/index.ts';
import { BoundedCache } from './bounded-cache.ts';
import { damaged, missing } from './damage.ts';
import { blake3, blake3Short } from './hash.ts';
import { Interior, Leaf } from './map-node.ts';
import {
  checkStoredNode,
  creatorSet,
  encodeInterior,
  encodeLeaf,
  unpackNode,
  type Creators,
  type NodePointer,
} from './node-codec.ts';
import { getPart } from './object-part.ts';
import type { DataReading } from './options.ts';
import type { NodeLoader, PageMap } from './page-map.ts';
import type { RecordSpan } from './segment-index.ts';
import { keyNeeded } from './sealing/key-needed.ts';
import { openNode, sealNode, sealedBy, type NodeSeal } from './sealing/node-seal.ts';
import { dataKeyOf } from './sealing/volume-keys.ts';

const HEADER_BYTES = 16;
const TRAILER_BYTES = 48;
const HEADER_MAGIC = Buffer.from('SGWMAP1\n', 'latin1');
const TRAILER_MAGIC = Buffer.from('SGWMAPE1', 'latin1');

/** A point of a volume's history whose whole map is stored: where the log is taken up from. */
export interface Checkpoint {
  readonly seq: number;
  readonly root: NodePointer | null;
  readonly sizeBytes: number;
  readonly mappedPages: number;
  /** Highest epoch of the log up to `seq`. */
  readonly epoch: number;
  readonly commitTimeMs: number;
  /** Hash of the last valid segment up to `seq`, hex; zeroes when there is none. */
  readonly logHash: string;
  /** True when the state at `seq` is one that the volume really had (C7). */
  readonly consistent: boolean;
  /** Seq of the newest data segment up to `seq` that changed contents; 0 when there is none. Absent where an older sgw wrote it: `seq`, then. */
  readonly dataSeq?: number;
  /** The records of the local log that this data segment holds (C4); null or absent when it was not made of a log. */
  readonly records?: RecordSpan | null;
  /** Set in a recovery point that is the volume as it was taken over: what a gateway that was fenced may have more of begins here. */
  readonly takenOver?: true;
}

export interface MapFooter extends Checkpoint {
  readonly format: 1;
  readonly kind: 'map';
  /** Volume or snapshot id. */
  readonly owner: string;
}

export interface EncodedMap {
  readonly body: Buffer;
  readonly checkpoint: Checkpoint;
  /** To be called once the object is stored: nodes that did not change meanwhile are clean from then on. */
  readonly confirm: () => void;
}

interface StoredNode {
  readonly parent: Interior;
  readonly slot: number;
  readonly child: Leaf | Interior;
  readonly version: number;
  readonly pointer: NodePointer | null;
}

/**
 * Encodes the changed nodes of `map` as the map object `key`. The map may be changed before `confirm`. With `seal` the nodes
 * are sealed, with fresh salts: encoding the same nodes again gives other bytes.
 */
export function encodeMap(
  map: PageMap,
  key: string,
  owner: string,
  facts: Omit<Checkpoint, 'root' | 'mappedPages'>,
  seal?: NodeSeal,
): EncodedMap {
  const encoder = new MapEncoder(map, key, seal);
  const root = map.rootForEncoding;
  const rootVersion = root?.version;
  const pointer = map.dirty && root !== undefined ? encoder.interior(root) : map.storedRoot;
  const checkpoint: Checkpoint = { ...facts, root: pointer, mappedPages: pointer?.mappedPages ?? 0 };
  // The pointer in the checkpoint has the creators; what anyone can read has them only where nothing is sealed.
  const shown = pointer === null || seal === undefined ? pointer : { ...pointer, creators: [] };
  const footer: MapFooter = { format: 1, kind: 'map', owner, ...checkpoint, root: shown };
  return {
    body: assemble(encoder.parts, footer),
    checkpoint,
    confirm: () => {
      if (root !== undefined && root.version === rootVersion) root.dirty = false;
      map.markStored(pointer, encoder.confirm());
    },
  };
}

class MapEncoder {
  readonly parts: Buffer[] = [Buffer.concat([HEADER_MAGIC, Buffer.alloc(HEADER_BYTES - HEADER_MAGIC.length)])];
  readonly #map: PageMap;
  readonly #key: string;
  readonly #stored: StoredNode[] = [];
  readonly #seal: NodeSeal | undefined;
  #offset = HEADER_BYTES;

  constructor(map: PageMap, key: string, seal: NodeSeal | undefined) {
    this.#map = map;
    this.#key = key;
    this.#seal = seal;
  }

  /** Encodes what is changed below a node, then the node; null when nothing is left in it. */
  interior(node: Interior): NodePointer | null {
    const children: [number, NodePointer][] = [];
    for (const slot of node.slots()) {
      const pointer = this.#childPointer(node, slot);
      if (pointer !== null) children.push([slot, pointer]);
    }
    if (children.length === 0) return null;
    const mappedPages = children.reduce((sum, [, pointer]) => sum + pointer.mappedPages, 0);
    const creators = creatorSet(...children.map(([, pointer]) => pointer.creators));
    return this.#append(encodeInterior(node.level, children), mappedPages, creators);
  }

  #childPointer(parent: Interior, slot: number): NodePointer | null {
    const child = parent.loaded.get(slot);
    if (child?.dirty !== true) return parent.pointers.get(slot) ?? null;
    const version = child.version;
    const pointer = child instanceof Interior ? this.interior(child) : this.#leaf(child);
    this.#stored.push({ parent, slot, child, version, pointer });
    return pointer;
  }

  #leaf(leaf: Leaf): NodePointer | null {
    if (leaf.mapped === 0) return null;
    const runs = leaf.runs(this.#map.sources);
    return this.#append(encodeLeaf(runs), leaf.mapped, creatorSet(...runs.map((run) => run.source.creators)));
  }

  #append(packed: Buffer, mappedPages: number, creators: Creators): NodePointer {
    const place = { key: this.#key, offset: this.#offset };
    const stored = this.#seal === undefined ? packed : sealNode(this.#seal, place, packed);
    const hash = blake3Short(stored).toString('hex');
    const pointer = { ...place, length: stored.length, hash, mappedPages, creators };
    this.parts.push(stored);
    this.#offset += stored.length;
    return pointer;
  }

  /** Returns how many leaves became clean. */
  confirm(): number {
    let cleaned = 0;
    for (const { parent, slot, child, version, pointer } of this.#stored) {
      if (parent.loaded.get(slot) !== child) continue;
      if (pointer !== null) parent.pointers.set(slot, pointer);
      if (child.version !== version) continue;
      child.dirty = false;
      if (child instanceof Leaf) cleaned += 1;
      if (pointer === null) parent.drop(slot);
    }
    return cleaned;
  }
}

function assemble(parts: readonly Buffer[], footer: MapFooter): Buffer {
  const footerBytes = Buffer.from(JSON.stringify(footer), 'utf8');
  const body = Buffer.concat([...parts, footerBytes, Buffer.alloc(TRAILER_BYTES)]);
  const at = body.length - TRAILER_BYTES;
  TRAILER_MAGIC.copy(body, at);
  body.writeUInt32LE(footerBytes.length, at + 8);
  body.writeUInt32LE(crc32(footerBytes), at + 12);
  blake3(body.subarray(0, at + 16)).copy(body, at + 16);
  return body;
}

/**
 * Checks a whole map object against its hash and returns its footer.
 * @throws corrupt `object-damaged`
 */
export function parseMapObject(key: string, body: Buffer): MapFooter {
  const at = body.length - TRAILER_BYTES;
  if (
    at < HEADER_BYTES ||
    !body.subarray(at, at + 8).equals(TRAILER_MAGIC) ||
    !body.subarray(0, 8).equals(HEADER_MAGIC)
  ) {
    throw damaged(key, 'it is not a map object');
  }
  if (!blake3(body.subarray(0, at + 16)).equals(body.subarray(at + 16)))
    throw damaged(key, 'its bytes do not match its hash');
  const footerAt = at - body.readUInt32LE(at + 8);
  if (footerAt < HEADER_BYTES) throw damaged(key, 'the footer length is impossible');
  const footerBytes = body.subarray(footerAt, at);
  if (crc32(footerBytes) !== body.readUInt32LE(at + 12)) throw damaged(key, 'the footer does not match its checksum');
  let footer: MapFooter | null;
  try {
    footer = JSON.parse(footerBytes.toString('utf8')) as MapFooter | null;
  } catch (error) {
    throw damaged(key, 'the footer is not JSON', error);
  }
  if (footer === null || typeof footer !== 'object') throw damaged(key, 'the footer is no object');
  if ((footer as { format: number }).format !== 1) {
    throw new SgwError('unsupported', 'map-format', `object ${key} has format ${String(footer.format)}`, {
      hint: 'Use a newer sgw.',
      details: { key },
    });
  }
  if (
    (footer as { kind: string }).kind !== 'map' ||
    !Number.isSafeInteger(footer.seq) ||
    !Number.isSafeInteger(footer.sizeBytes)
  ) {
    throw damaged(key, 'the footer describes no map');
  }
  return footer;
}

const CACHED_OBJECT_BYTES = 4 << 20;
const CACHED_BYTES = 32 << 20;
/** Of an object that is kept, or of the knowledge that it is too large for that. */
const KEPT_BYTES_MIN = 256;

/**
 * A loader of nodes from an object store. Nodes of one object are mostly wanted together, so objects of up to 4 MiB
 * are read whole, and the last ones of them are kept. With the store's key it opens sealed nodes, and takes no other.
 */
export function nodeLoader(reading: DataReading): NodeLoader {
  const { objects } = reading;
  const cached = new BoundedCache<Buffer | 'large'>(CACHED_BYTES, (object) => KEPT_BYTES_MIN + object.length);
  const whole = async (key: string, signal?: AbortSignal): Promise<Buffer | 'large'> =>
    await cached.get(key, async (stop) => await readSmallObject(objects, key, stop), signal);
  const stored = async (pointer: NodePointer, signal?: AbortSignal): Promise<Buffer> => {
    const object = await whole(pointer.key, signal);
    if (object !== 'large') return object.subarray(pointer.offset, pointer.offset + pointer.length);
    const part = await getPart(objects, pointer.key, { offset: pointer.offset, length: pointer.length }, signal);
    if (part === undefined) throw missing(pointer.key);
    return part.bytes;
  };
  return async (pointer, signal) => await nodeFrom(reading, await stored(pointer, signal), pointer, signal);
}

/** The node in stored bytes: found to be what the pointer names, opened if it is sealed, unpacked. */
export async function nodeFrom(
  reading: DataReading,
  stored: Buffer,
  pointer: NodePointer,
  signal?: AbortSignal,
  decompress?: (frame: Buffer) => Buffer,
): Promise<Buffer> {
  checkStoredNode(stored, pointer);
  return unpackNode(await opened(reading, stored, pointer, signal), pointer, decompress);
}

/** The packed node. @throws denied `key-needed`; corrupt `object-damaged` */
async function opened(
  reading: DataReading,
  stored: Buffer,
  pointer: NodePointer,
  signal?: AbortSignal,
): Promise<Buffer> {
  const volumeId = sealedBy(stored);
  const what = `the map node at ${String(pointer.offset)}`;
  if (volumeId === undefined) {
    if (reading.keys === undefined) return stored;
    throw damaged(pointer.key, `${what} is not sealed, in a store whose maps are`);
  }
  const dataKey = await dataKeyOf(reading, volumeId, signal);
  if (dataKey === undefined) throw keyNeeded(pointer.key);
  const packed = openNode(dataKey, pointer, stored);
  if (packed === undefined) throw damaged(pointer.key, `${what} was altered, or belongs elsewhere`);
  return packed;
}

/** The object, if it is not too large to be read whole. */
async function readSmallObject(objects: ObjectStore, key: string, signal?: AbortSignal): Promise<Buffer | 'large'> {
  const tail = await getPart(objects, key, { suffix: CACHED_OBJECT_BYTES }, signal);
  if (tail === undefined) throw missing(key);
  return tail.sizeBytes > tail.bytes.length ? 'large' : tail.bytes;
}
