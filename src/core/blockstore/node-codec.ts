/**
 * Bytes of a map node, format 1 (docs/formats/map.md). A node names its sources (segments of a leaf, map
 * objects of an interior node) in its own table, so that it can be read with nothing but its pointer.
 * In a leaf in memory a page is two numbers: source index + 1 (0: not mapped), and frame * 16 + slot.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { SgwError, assert } from '../kit/index.ts';
import { damaged } from './damage.ts';
import { FANOUT, LEAF_PAGES } from './geometry.ts';
import { blake3Short } from './hash.ts';
import { blockCompressor } from './zstd.ts';

/** Names a segment (or, from the block API, an uploaded block) by key and random id. */
export interface SegmentRef {
  readonly key: string;
  /** 16 bytes, hex. */
  readonly segmentId: string;
  /** Accounts that wrote the frames which are reached by this reference (C17), ascending. */
  readonly creators: Creators;
}

/** Account ids of 12 digits, ascending, without repeats. Equal sets are one array: see `creatorSet`. */
export type Creators = readonly string[];

const CREATOR_SETS = new Map<string, Creators>();

/** The one array that stands for this set of accounts. */
export function creatorSet(...sets: readonly Creators[]): Creators {
  const first = sets[0];
  if (first !== undefined && sets.every((set) => set === first)) return first;
  const accounts = [...new Set(sets.flat())].sort();
  const name = accounts.join();
  let set = CREATOR_SETS.get(name);
  if (set === undefined) {
    set = Object.freeze(accounts);
    CREATOR_SETS.set(name, set);
  }
  return set;
}

/** Where a stored node is. Two equal pointers name the same bytes for ever. */
export interface NodePointer {
  /** The map object. */
  readonly key: string;
  readonly offset: number;
  readonly length: number;
  /** BLAKE3-128 of the stored node, hex. */
  readonly hash: string;
  /** Mapped pages below it. */
  readonly mappedPages: number;
  /** Accounts that wrote at least one frame mapped below it. */
  readonly creators: Creators;
}

/** A run of consecutive pages in consecutive slots of one frame. `page` counts from the leaf's first. */
export interface LeafRun {
  readonly page: number;
  readonly count: number;
  readonly source: SegmentRef;
  readonly frame: number;
  readonly slot: number;
}

const HEADER_BYTES = 12;
const SOURCE_BYTES = 20;
const CREATOR_BYTES = 6;
const RUN_BYTES = 12;
const CHILD_BYTES = 36;
/** Children that are compared at once. */
export const STRETCH = 16;
const NO_ID = '0'.repeat(32);
/** Far above what a leaf or an interior node of many accounts takes; what is read is not trusted beyond it. */
const NODE_MAX_BYTES = 64 << 20;

/** What interior nodes of one account take, and some. */
const MANY_NODES_SCRATCH_BYTES = 256 * 1024;

/** Collects the distinct sources of a node being written. */
class SourceTable {
  readonly #indexes = new Map<string, number>();
  readonly #parts: Buffer[] = [];

  indexOf(key: string, id: string, creators: Creators): number {
    const name = `${key} ${id} ${creators.join()}`;
    const known = this.#indexes.get(name);
    if (known !== undefined) return known;
    const index = this.#indexes.size;
    this.#indexes.set(name, index);
    const keyBytes = Buffer.from(key, 'latin1');
    const part = Buffer.alloc(SOURCE_BYTES + creators.length * CREATOR_BYTES + keyBytes.length);
    part.write(id, 0, 16, 'hex');
    part.writeUInt16LE(keyBytes.length, 16);
    part.writeUInt16LE(creators.length, 18);
    creators.forEach((account, i) =>
      part.writeUIntLE(Number(account), SOURCE_BYTES + i * CREATOR_BYTES, CREATOR_BYTES),
    );
    keyBytes.copy(part, SOURCE_BYTES + creators.length * CREATOR_BYTES);
    this.#parts.push(part);
    return index;
  }

  /** Header and table, to be followed by the entries. */
  nodeBytes(level: number, count: number, entries: Buffer): Buffer {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt8(level, 0);
    header.writeUInt8(1, 1);
    header.writeUInt32LE(count, 4);
    header.writeUInt16LE(this.#parts.length, 8);
    return Buffer.concat([header, ...this.#parts, entries]);
  }
}

/** Encodes a leaf from its runs, ascending. */
export function encodeLeaf(runs: readonly LeafRun[]): Buffer {
  const sources = new SourceTable();
  const entries = Buffer.alloc(runs.length * RUN_BYTES);
  runs.forEach((run, i) => {
    const at = i * RUN_BYTES;
    entries.writeUInt16LE(run.page, at);
    entries.writeUInt16LE(run.count, at + 2);
    entries.writeUInt16LE(sources.indexOf(run.source.key, run.source.segmentId, run.source.creators), at + 4);
    entries.writeUInt16LE(run.frame, at + 6);
    entries.writeUInt8(run.slot, at + 8);
  });
  return packNode(sources.nodeBytes(0, runs.length, entries));
}

/** Encodes an interior node from its children, ascending by slot. */
export function encodeInterior(
  level: number,
  children: readonly (readonly [slot: number, pointer: NodePointer])[],
): Buffer {
  const sources = new SourceTable();
  const entries = Buffer.alloc(children.length * CHILD_BYTES);
  children.forEach(([slot, pointer], i) => {
    const at = i * CHILD_BYTES;
    entries.writeUInt16LE(slot, at);
    entries.writeUInt16LE(sources.indexOf(pointer.key, NO_ID, pointer.creators), at + 2);
    entries.writeUInt32LE(pointer.offset, at + 4);
    entries.writeUInt32LE(pointer.length, at + 8);
    entries.writeBigUInt64LE(BigInt(pointer.mappedPages), at + 12);
    entries.write(pointer.hash, at + 20, 16, 'hex');
  });
  return packNode(sources.nodeBytes(level, children.length, entries));
}

/** One byte of codec, then the node: compressed where that is smaller. */
function packNode(node: Buffer): Buffer {
  assert(node.length <= NODE_MAX_BYTES, `a map node of ${String(node.length)} bytes can be read back`);
  const compressed = zstdCompressSync(node, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  return compressed.length < node.length
    ? Buffer.concat([Buffer.of(1), compressed])
    : Buffer.concat([Buffer.of(0), node]);
}

/** @throws corrupt `object-damaged` unless the stored bytes are those that the pointer names */
export function checkStoredNode(stored: Buffer, pointer: NodePointer): void {
  if (stored.length === pointer.length && blake3Short(stored).toString('hex') === pointer.hash) return;
  throw damaged(pointer.key, `the map node at ${String(pointer.offset)} does not match its hash`);
}

const decompressNode = (frame: Buffer): Buffer => zstdDecompressSync(frame, { maxOutputLength: NODE_MAX_BYTES });

/** For who reads many nodes: it loads more, and then takes less for each. What it gives is valid until its next call. */
export function inPlaceDecompressor(): (frame: Buffer) => Buffer {
  let scratch: Buffer | undefined;
  return (frame) => {
    scratch ??= Buffer.allocUnsafeSlow(MANY_NODES_SCRATCH_BYTES);
    try {
      return scratch.subarray(0, blockCompressor().decompress(frame, scratch));
    } catch {
      // Larger than nodes are, or damaged.
      return decompressNode(frame);
    }
  };
}

const decompressInPlace = inPlaceDecompressor();

/** As `inPlaceDecompressor`, into memory of its own. */
export const decompressManyNodes = (frame: Buffer): Buffer => Buffer.from(decompressInPlace(frame));

/**
 * The node in a packed one: what is stored, or what was opened of a sealed one.
 * @throws corrupt `object-damaged`; unsupported `node-codec`
 */
export function unpackNode(packed: Buffer, pointer: NodePointer, decompress = decompressNode): Buffer {
  if (packed[0] !== 0 && packed[0] !== 1) {
    const what = `the map node at ${String(pointer.offset)} of object ${pointer.key} has codec ${String(packed[0])}`;
    throw new SgwError('unsupported', 'node-codec', what, { hint: 'Use a newer sgw.', details: { key: pointer.key } });
  }
  try {
    const node = packed[0] === 1 ? decompress(packed.subarray(1)) : packed.subarray(1);
    if (node.length < HEADER_BYTES || node[1] !== 1) throw new Error('unknown node version');
    return node;
  } catch (error) {
    throw damaged(pointer.key, `the map node at ${String(pointer.offset)} can not be decoded`, error);
  }
}

interface NodeReader {
  readonly level: number;
  readonly count: number;
  readonly sources: readonly SegmentRef[];
  readonly entriesAt: number;
}

function readNode(node: Buffer, pointer: NodePointer, entryBytes: number): NodeReader {
  const level = node.readUInt8(0);
  const count = node.readUInt32LE(4);
  const { sources, end: at } = readSources(node);
  if (at + count * entryBytes !== node.length)
    throw damaged(pointer.key, `the map node at ${String(pointer.offset)} has a wrong length`);
  return { level, count, sources, entriesAt: at };
}

function readSources(node: Buffer): { sources: SegmentRef[]; end: number } {
  const sources: SegmentRef[] = [];
  let at = HEADER_BYTES;
  for (let left = node.readUInt16LE(8); left > 0 && at + SOURCE_BYTES <= node.length; left--) {
    const creators: string[] = [];
    const keyLength = node.readUInt16LE(at + 16);
    const keyAt = at + SOURCE_BYTES + node.readUInt16LE(at + 18) * CREATOR_BYTES;
    if (keyAt + keyLength > node.length) break;
    for (let c = at + SOURCE_BYTES; c < keyAt; c += CREATOR_BYTES)
      creators.push(String(node.readUIntLE(c, CREATOR_BYTES)).padStart(12, '0'));
    sources.push({
      segmentId: node.toString('hex', at, at + 16),
      key: node.toString('latin1', keyAt, keyAt + keyLength),
      creators: creatorSet(creators),
    });
    at = keyAt + keyLength;
  }
  return { sources, end: at };
}

/** The runs of a leaf, as a `NodeLoader` or `unpackNode` gave it. @throws corrupt `object-damaged` */
export function decodeLeaf(node: Buffer, pointer: NodePointer): LeafRun[] {
  const { level, count, sources, entriesAt } = readNode(node, pointer, RUN_BYTES);
  if (level !== 0) throw damaged(pointer.key, `the map node at ${String(pointer.offset)} is no leaf`);
  const runs: LeafRun[] = [];
  let next = 0;
  for (let at = entriesAt; runs.length < count; at += RUN_BYTES) {
    const source = sources[node.readUInt16LE(at + 4)];
    const run = {
      page: node.readUInt16LE(at),
      count: node.readUInt16LE(at + 2),
      frame: node.readUInt16LE(at + 6),
      slot: node.readUInt8(at + 8),
    };
    if (
      source === undefined ||
      run.page < next ||
      run.count === 0 ||
      run.page + run.count > LEAF_PAGES ||
      run.slot + run.count > 16
    ) {
      throw damaged(pointer.key, `the leaf at ${String(pointer.offset)} has an impossible run`);
    }
    next = run.page + run.count;
    runs.push({ ...run, source });
  }
  return runs;
}

/** The children of an interior node, as a `NodeLoader` or `unpackNode` gave it. @throws corrupt `object-damaged` */
export function decodeInterior(node: Buffer, pointer: NodePointer, level: number): Map<number, NodePointer> {
  const entries = new InteriorEntries(node, pointer, level);
  const children = new Map<number, NodePointer>();
  for (let i = 0; i < entries.count; i++) children.set(entries.slot(i), entries.pointer(i));
  return children;
}

/**
 * The entries of an interior node where they are, for comparing two nodes without making an object for each child: a node has
 * up to a thousand, and most of them are alike.
 */
export class InteriorEntries {
  readonly count: number;
  readonly #node: Buffer;
  readonly #sources: readonly SegmentRef[];
  readonly #entriesAt: number;

  /** `node` as a `NodeLoader` gave it. @throws corrupt `object-damaged` */
  constructor(node: Buffer, pointer: NodePointer, level: number) {
    const reader = readNode(node, pointer, CHILD_BYTES);
    const where = `the map node at ${String(pointer.offset)}`;
    if (reader.level !== level) throw damaged(pointer.key, `${where} is not of level ${String(level)}`);
    this.#node = node;
    this.count = reader.count;
    this.#sources = reader.sources;
    this.#entriesAt = reader.entriesAt;
    for (let i = 0, before = -1; i < this.count; i++) {
      const slot = this.slot(i);
      const source = node.readUInt16LE(this.#at(i) + 2);
      if (slot <= before || slot >= FANOUT || source >= this.#sources.length)
        throw damaged(pointer.key, `${where} has an impossible child`);
      before = slot;
    }
  }

  /** In memory. */
  get bytes(): number {
    return this.#node.length + 256;
  }

  #at(i: number): number {
    return this.#entriesAt + i * CHILD_BYTES;
  }

  slot(i: number): number {
    return this.#node.readUInt16LE(this.#at(i));
  }

  /** Whether two children are stored in the same bytes, so that everything below them is the same. */
  isSame(i: number, other: InteriorEntries, j: number): boolean {
    const a = this.#at(i) + 20;
    const b = other.#at(j) + 20;
    for (let k = 0; k < 16; k += 4)
      if (this.#node.readUInt32LE(a + k) !== other.#node.readUInt32LE(b + k)) return false;
    return true;
  }

  /**
   * How many children from `i` on are, byte for byte, those of `other` from `j` on, and so the same; in stretches, which costs less
   * than looking at each. What is behind them may be the same too.
   */
  sameStretch(i: number, other: InteriorEntries, j: number): number {
    let same = 0;
    while (i + same + STRETCH <= this.count && j + same + STRETCH <= other.count) {
      const [a, b] = [this.#at(i + same), other.#at(j + same)];
      const bytes = STRETCH * CHILD_BYTES;
      if (this.#node.compare(other.#node, b, b + bytes, a, a + bytes) !== 0) break;
      same += STRETCH;
    }
    return same;
  }

  /** The child in a slot; null where there is none. */
  child(slot: number): NodePointer | null {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.slot(middle) < slot) low = middle + 1;
      else high = middle;
    }
    return low < this.count && this.slot(low) === slot ? this.pointer(low) : null;
  }

  pointer(i: number): NodePointer {
    const at = this.#at(i);
    const node = this.#node;
    const source = this.#sources[node.readUInt16LE(at + 2)];
    assert(source !== undefined, 'entries were checked when they were read');
    return {
      key: source.key,
      offset: node.readUInt32LE(at + 4),
      length: node.readUInt32LE(at + 8),
      mappedPages: Number(node.readBigUInt64LE(at + 12)),
      hash: node.toString('hex', at + 20, at + 36),
      creators: source.creators,
    };
  }
}
