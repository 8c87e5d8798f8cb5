/**
 * Segments, map objects and map nodes as docs/formats describes them, read by code that shares nothing with src/.
 * Every magic, length, CRC, hash and order that the documents name is checked; any difference throws a plain Error.
 */
import { crc32, zstdDecompressSync } from 'node:zlib';
import { blake3 } from '@noble/hashes/blake3.js';
import { derive, open, openNode } from './independent-sealing.ts';

export const PAGE = 4096;
const BLOCK_PAGES = 16;
export const FANOUT = 1024;
export const ZERO_HASH = '0'.repeat(64);

export interface Table {
  readonly offset: number;
  readonly count: number;
}

export interface SegmentFooter {
  readonly format: number;
  readonly kind: string;
  readonly volumeId: string;
  readonly seq: number;
  readonly upload?: { readonly snapshotId: string; readonly block: number; readonly sha256: string };
  readonly epoch: number;
  readonly segmentId: string;
  readonly commitTimeMs: number;
  readonly prevHash: string;
  readonly sizeBytes: number;
  readonly consistent: boolean;
  readonly hash: string;
  readonly cipher: string;
  readonly creators: readonly (readonly string[])[];
  /** Of a sealed segment, whose creators are sealed in `sealed`. */
  readonly salt?: string;
  readonly sealed?: { readonly offset: number; readonly length: number };
  readonly pageHashes: Table;
  readonly frames: Table;
  readonly extents: Table;
  readonly pageHashesHash: string;
}

export interface Frame {
  /** Pages of the volume in the order of their slots. */
  readonly pages: readonly number[];
  readonly creators: readonly string[];
  readonly offset: number;
  readonly length: number;
  readonly codec: number;
  readonly crc: number;
  readonly hashes: readonly string[];
}

export interface Extent {
  readonly firstPage: number;
  readonly pageCount: number;
}

export interface Segment {
  readonly key: string;
  readonly footer: SegmentFooter;
  readonly frames: readonly Frame[];
  readonly extents: readonly Extent[];
  /** BLAKE3-256 from the frame table to the hash field, hex. */
  readonly hash: string;
  readonly bytes: Buffer;
  /** The frame's bytes as they are when nothing is sealed. */
  readonly frameBytes: (number: number) => Buffer;
}

export interface NodePointer {
  readonly key: string;
  readonly offset: number;
  readonly length: number;
  readonly hash: string;
  readonly mappedPages: number;
  readonly creators: readonly string[];
}

export interface Checkpoint {
  readonly seq: number;
  readonly root: NodePointer | null;
  readonly sizeBytes: number;
  readonly mappedPages: number;
  readonly epoch: number;
  readonly commitTimeMs: number;
  readonly logHash: string;
  readonly consistent: boolean;
}

export interface Source {
  readonly id: string;
  readonly key: string;
  readonly creators: readonly string[];
}

export interface LeafEntry {
  readonly page: number;
  readonly count: number;
  readonly source: Source;
  readonly frame: number;
  readonly slot: number;
}

export interface InteriorEntry {
  readonly slot: number;
  readonly source: Source;
  readonly offset: number;
  readonly length: number;
  readonly mappedPages: number;
  readonly hash: string;
}

export type Node =
  | { readonly level: 0; readonly entries: readonly LeafEntry[] }
  | { readonly level: 1 | 2 | 3; readonly entries: readonly InteriorEntry[] };

let hash: (bytes: Uint8Array) => Uint8Array = blake3;

/** Hashes with another implementation of BLAKE3 from now on, for readings of very much data. */
export function hashWith(implementation: (bytes: Uint8Array) => Uint8Array): void {
  hash = implementation;
}

export const hash256 = (bytes: Uint8Array): string => Buffer.from(hash(bytes)).toString('hex');
export const hash128 = (bytes: Uint8Array): string => hash256(bytes).slice(0, 32);

export function must(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

function u64(bytes: Buffer, offset: number): number {
  const value = bytes.readBigUInt64LE(offset);
  must(value <= BigInt(Number.MAX_SAFE_INTEGER), 'a 64-bit number is too large');
  return Number(value);
}

const same = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((x, i) => x === b[i]);

/** What a segment holds once it is opened. */
interface Opened {
  readonly creators: readonly (readonly string[])[];
  /** The page hash table. */
  readonly hashes: Buffer;
  readonly frame: (number: number, facts: readonly number[], stored: Buffer) => Buffer;
}

/** Opens a sealed segment (segment.md, "Sealed segments"). */
function openSegment(key: string, bytes: Buffer, footer: SegmentFooter, footerBytes: Buffer, dataKey: Buffer): Opened {
  const { volumeId, segmentId, salt, sealed, frames } = footer;
  must(/^[0-9a-f]{64}$/.test(salt ?? '') && sealed !== undefined, `${key}: no salt or no sealed creators`);
  const own = derive(dataKey, Buffer.from(salt ?? '', 'hex'), `sgw segment ${volumeId}`);
  const tables = hash256(Buffer.concat([bytes.subarray(frames.offset, sealed.offset), footerBytes]));
  const place = `${volumeId} ${segmentId}`;
  const creators = open(
    own,
    2,
    0,
    `creators ${tables} ${place}`,
    bytes.subarray(sealed.offset, sealed.offset + sealed.length),
  );
  return {
    creators: JSON.parse(creators.toString('utf8')) as string[][],
    hashes: open(own, 1, 0, `page hashes ${place}`, bytes.subarray(footer.pageHashes.offset, frames.offset)),
    frame: (number, facts, stored) => open(own, 0, number, `frame ${place} ${[number, ...facts].join(' ')}`, stored),
  };
}

/**
 * Parses `volumes/<volumeId>/log/<seq>` and checks all of it but the frames, which {@link decodeFrame} checks. In a store
 * with a key, `dataKey` is the volume's.
 */
export function parseSegment(key: string, bytes: Buffer, dataKey?: Buffer): Segment {
  must(bytes.length >= 128, `${key}: too short for a segment`);
  must(bytes.toString('latin1', 0, 8) === 'SGWSEG1\n', `${key}: wrong magic`);
  must(
    bytes.subarray(8, 64).every((byte) => byte === 0),
    `${key}: reserved header bytes are not zero`,
  );
  const trailer = bytes.length - 64;
  must(bytes.toString('latin1', trailer, trailer + 8) === 'SGWSEGE1', `${key}: wrong trailer magic`);
  const footerStart = trailer - bytes.readUInt32LE(trailer + 8);
  const stored = parseFooter(key, bytes, footerStart, trailer) as SegmentFooter;
  const isSealed = stored.cipher !== 'none';
  must(isSealed === (dataKey !== undefined) || stored.kind === 'tombstone', `${key}: sealed as the store is not`);
  const footerBytes = bytes.subarray(footerStart, trailer);
  const opened = isSealed && dataKey !== undefined ? openSegment(key, bytes, stored, footerBytes, dataKey) : undefined;
  const footer = { ...stored, ...(opened === undefined ? {} : { creators: opened.creators }) };
  must(footer.segmentId === bytes.toString('hex', trailer + 16, trailer + 32), `${key}: segment ids differ`);
  checkSegmentFooter(key, footer, footerStart);
  checkTombstone(key, footer);
  const hash = hash256(bytes.subarray(footer.frames.offset, bytes.length - 32));
  must(hash === bytes.toString('hex', bytes.length - 32), `${key}: wrong hash of the segment`);
  const { pageHashes, frames, extents } = footer;
  const hashTable = bytes.subarray(pageHashes.offset, frames.offset);
  must(hash128(hashTable) === footer.pageHashesHash, `${key}: wrong hash of the page hash table`);
  const segment: Segment = {
    key,
    footer,
    frames: readFrames(key, bytes, footer, opened?.hashes ?? hashTable),
    extents: Array.from({ length: extents.count }, (_, i) => ({
      firstPage: u64(bytes, extents.offset + 16 * i),
      pageCount: u64(bytes, extents.offset + 16 * i + 8),
    })),
    hash,
    bytes,
    frameBytes: (number) => frameBytes(bytes, footer, opened, number),
  };
  const inFrames = segment.frames.flatMap((frame) => frame.pages);
  for (const { firstPage, pageCount } of segment.extents) {
    must(
      !inFrames.some((page) => page >= firstPage && page < firstPage + pageCount),
      `${key}: a page is in an extent and in a frame`,
    );
  }
  return segment;
}

function frameBytes(bytes: Buffer, footer: SegmentFooter, opened: Opened | undefined, number: number): Buffer {
  const at = footer.frames.offset + 32 * number;
  const offset = bytes.readUInt32LE(at + 8);
  const stored = bytes.subarray(offset, offset + bytes.readUInt32LE(at + 12));
  if (opened === undefined) return stored;
  const facts = [
    u64(bytes, at),
    bytes.readUInt16LE(at + 16),
    bytes.readUInt8(at + 18),
    bytes.readUInt16LE(at + 20),
    bytes.readUInt32LE(at + 28),
  ];
  return opened.frame(number, facts, stored);
}

function parseFooter(key: string, bytes: Buffer, start: number, trailer: number): unknown {
  must(start >= 16, `${key}: footer does not fit`);
  const text = bytes.subarray(start, trailer);
  must(crc32(text) === bytes.readUInt32LE(trailer + 12), `${key}: wrong CRC of the footer`);
  return JSON.parse(text.toString('utf8')) as unknown;
}

/** Nobody proves what is in a tombstone, so it has to be empty. */
function checkTombstone(key: string, { kind, pageHashes, frames, extents, creators }: SegmentFooter): void {
  const held = pageHashes.count + frames.count + extents.count + creators.length;
  must(kind !== 'tombstone' || held === 0, `${key}: a tombstone that holds something`);
}

/** In the log of its volume, or, of a block that was written through the API, one of the writes of that block. */
function isPlaceOf(key: string, { volumeId, seq, kind, epoch, upload }: SegmentFooter): boolean {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  if (upload === undefined) return key === `volumes/${volumeId}/log/${hex(seq, 16)}`;
  const writes = `uploads/${upload.snapshotId}/${hex(upload.block, 8)}-`;
  const isFormed = kind === 'data' && seq === 0 && epoch === 0 && /^[0-9a-f]{64}$/.test(upload.sha256);
  return isFormed && key.startsWith(writes) && /^[0-9a-f]{4}$/.test(key.slice(writes.length));
}

function checkSegmentFooter(key: string, footer: SegmentFooter, footerStart: number): void {
  must(footer.format === 1, `${key}: unknown format`);
  must(['data', 'fence', 'tombstone'].includes(footer.kind), `${key}: unknown kind ${footer.kind}`);
  must(footer.hash === 'blake3' && ['none', 'aes-256-gcm'].includes(footer.cipher), `${key}: unknown algorithm`);
  must(isPlaceOf(key, footer), `${key}: the footer names another place`);
  must(
    /^[0-9a-f]{32}$/.test(footer.segmentId) && /^[0-9a-f]{64}$/.test(footer.prevHash),
    `${key}: malformed id or hash`,
  );
  const { pageHashes, frames, extents, sealed } = footer;
  const tag = footer.cipher === 'none' ? 0 : 16;
  must(pageHashes.offset >= 64, `${key}: tables overlap the header`);
  must(pageHashes.offset + 16 * pageHashes.count + tag === frames.offset, `${key}: gap after the page hash table`);
  must(frames.offset + 32 * frames.count === extents.offset, `${key}: gap after the frame table`);
  const end = extents.offset + 16 * extents.count;
  must(sealed === undefined || sealed.offset === end, `${key}: gap after the extent table`);
  must(end + (sealed?.length ?? 0) === footerStart, `${key}: gap before the footer`);
  must(footer.kind === 'data' || (frames.count === 0 && extents.count === 0), `${key}: a ${footer.kind} with contents`);
}

function readFrames(key: string, bytes: Buffer, footer: SegmentFooter, hashes: Buffer): Frame[] {
  const frames: Frame[] = [];
  const blocks = new Set<number>();
  let hashIndex = 0;
  let end = 64;
  for (let i = 0; i < footer.frames.count; i++) {
    const at = footer.frames.offset + 32 * i;
    const block = u64(bytes, at);
    const mask = bytes.readUInt16LE(at + 16);
    const creators = footer.creators[bytes.readUInt16LE(at + 20)];
    must(creators !== undefined, `${key}: frame ${String(i)} names an absent set of creators`);
    must(mask !== 0 && !blocks.has(block), `${key}: block ${String(block)} has no page or two frames`);
    must(bytes[at + 19] === 0 && bytes.readUInt16LE(at + 22) === 0, `${key}: reserved bytes of a frame are not zero`);
    must(bytes.readUInt32LE(at + 28) === hashIndex, `${key}: page hashes of frame ${String(i)} are not in order`);
    must(bytes.readUInt32LE(at + 8) === end, `${key}: gap before frame ${String(i)}`);
    blocks.add(block);
    const bits = Array.from({ length: BLOCK_PAGES }, (_, bit) => bit).filter((bit) => (mask & (1 << bit)) !== 0);
    const first = hashIndex;
    hashIndex += bits.length;
    end += bytes.readUInt32LE(at + 12);
    frames.push({
      pages: bits.map((bit) => block * BLOCK_PAGES + bit),
      creators,
      offset: bytes.readUInt32LE(at + 8),
      length: bytes.readUInt32LE(at + 12),
      codec: bytes[at + 18] ?? -1,
      crc: bytes.readUInt32LE(at + 24),
      hashes: bits.map((_, slot) => {
        const start = 16 * (first + slot);
        return hashes.toString('hex', start, start + 16);
      }),
    });
  }
  must(end === footer.pageHashes.offset, `${key}: gap after the frames`);
  must(hashIndex === footer.pageHashes.count, `${key}: page hashes that no frame names`);
  return frames;
}

/** The pages of a frame in the order of their slots, checked against CRC and page hashes. */
export function decodeFrame(segment: Segment, number: number): readonly Buffer[] {
  const frame = segment.frames[number];
  must(frame !== undefined, `${segment.key}: no frame ${String(number)}`);
  const where = `${segment.key}: frame ${String(number)}`;
  const stored = segment.bytes.subarray(frame.offset, frame.offset + frame.length);
  must(crc32(stored) === frame.crc, `${where}: wrong CRC`);
  must(frame.codec === 0 || frame.codec === 1, `${where}: unknown codec`);
  const packed = segment.frameBytes(number);
  const raw = frame.codec === 0 ? packed : zstdDecompressSync(packed);
  must(raw.length === frame.pages.length * PAGE, `${where}: wrong length`);
  return frame.hashes.map((hash, slot) => {
    const page = raw.subarray(slot * PAGE, (slot + 1) * PAGE);
    must(hash128(page) === hash, `${where}: wrong hash of the page in slot ${String(slot)}`);
    must(
      page.some((byte) => byte !== 0),
      `${where}: a page of zeroes is stored`,
    );
    return page;
  });
}

export interface MapObject {
  readonly key: string;
  readonly bytes: Buffer;
  readonly footer: Checkpoint & { readonly format: number; readonly kind: string; readonly owner: string };
}

/** Parses a map object and checks all of it but the nodes, which {@link parseNode} checks. */
export function parseMapObject(key: string, bytes: Buffer): MapObject {
  must(bytes.length >= 64, `${key}: too short for a map object`);
  must(bytes.toString('latin1', 0, 8) === 'SGWMAP1\n', `${key}: wrong magic`);
  must(bytes.readBigUInt64LE(8) === 0n, `${key}: reserved header bytes are not zero`);
  const trailer = bytes.length - 48;
  must(bytes.toString('latin1', trailer, trailer + 8) === 'SGWMAPE1', `${key}: wrong trailer magic`);
  must(
    hash256(bytes.subarray(0, bytes.length - 32)) === bytes.toString('hex', bytes.length - 32),
    `${key}: wrong hash of the map object`,
  );
  const footer = parseFooter(key, bytes, trailer - bytes.readUInt32LE(trailer + 8), trailer) as MapObject['footer'];
  must(footer.format === 1 && footer.kind === 'map', `${key}: unknown kind`);
  must(key.split('/')[1] === footer.owner, `${key}: belongs to ${footer.owner}`);
  return { key, bytes, footer };
}

/** The stored bytes of the node that `pointer` names in `object`. */
export const storedNode = (object: MapObject, pointer: Pick<NodePointer, 'offset' | 'length'>): Buffer =>
  object.bytes.subarray(pointer.offset, pointer.offset + pointer.length);

/** Parses the stored node that `pointer` names in `object`; in a store with a key, `dataKey` opens it. */
export function parseNode(
  object: MapObject,
  pointer: Pick<NodePointer, 'offset' | 'length' | 'hash'>,
  dataKey?: Buffer,
): Node {
  const where = `${object.key}@${String(pointer.offset)}`;
  const sealed = storedNode(object, pointer);
  must(pointer.offset >= 16 && sealed.length === pointer.length, `${where}: node does not fit`);
  must(hash128(sealed) === pointer.hash, `${where}: wrong hash of the node`);
  const stored = dataKey === undefined ? sealed : openNode(dataKey, object.key, pointer.offset, sealed);
  must(stored[0] === 0 || stored[0] === 1, `${where}: unknown form of the stored node`);
  const bytes = stored[0] === 0 ? stored.subarray(1) : zstdDecompressSync(stored.subarray(1));
  const level = bytes.readUInt8(0);
  must(
    bytes[1] === 1 && bytes.readUInt16LE(2) === 0 && bytes.readUInt16LE(10) === 0,
    `${where}: unknown version of the node`,
  );
  const count = bytes.readUInt32LE(4);
  const { sources, end } = readSources(bytes, bytes.readUInt16LE(8), level);
  const size = level === 0 ? 12 : 36;
  must(end + size * count === bytes.length, `${where}: wrong length of the node`);
  const starts = Array.from({ length: count }, (_, i) => end + size * i);
  if (level === 0)
    return {
      level: 0,
      entries: checkLeaf(
        where,
        starts.map((at) => leafEntry(bytes, at, sources)),
      ),
    };
  must(level === 1 || level === 2 || level === 3, `${where}: unknown level`);
  const entries = starts.map((at) => interiorEntry(bytes, at, sources));
  must(
    entries.every((entry, i) => entry.slot < FANOUT && (i === 0 || entry.slot > (entries[i - 1]?.slot ?? 0))),
    `${where}: slots do not ascend`,
  );
  return { level, entries };
}

function readSources(bytes: Buffer, count: number, level: number): { sources: Source[]; end: number } {
  let at = 12;
  const sources: Source[] = [];
  for (let i = 0; i < count; i++) {
    const id = bytes.toString('hex', at, at + 16);
    must(level === 0 || /^0+$/.test(id), 'a source of an interior node has a segment id');
    const keyLength = bytes.readUInt16LE(at + 16);
    const creatorCount = bytes.readUInt16LE(at + 18);
    const creators = Array.from({ length: creatorCount }, (_, c) =>
      String(bytes.readUIntLE(at + 20 + 6 * c, 6)).padStart(12, '0'),
    );
    must(same(creators, [...creators].sort()), 'creators do not ascend');
    at += 20 + 6 * creatorCount;
    sources.push({ id, key: bytes.toString('latin1', at, at + keyLength), creators });
    at += keyLength;
  }
  return { sources, end: at };
}

function sourceAt(sources: readonly Source[], index: number): Source {
  const source = sources[index];
  must(source !== undefined, 'an entry names an absent source');
  return source;
}

function leafEntry(bytes: Buffer, at: number, sources: readonly Source[]): LeafEntry {
  must(bytes.readUIntLE(at + 9, 3) === 0, 'reserved bytes of a run are not zero');
  return {
    page: bytes.readUInt16LE(at),
    count: bytes.readUInt16LE(at + 2),
    source: sourceAt(sources, bytes.readUInt16LE(at + 4)),
    frame: bytes.readUInt16LE(at + 6),
    slot: bytes.readUInt8(at + 8),
  };
}

function checkLeaf(where: string, entries: readonly LeafEntry[]): readonly LeafEntry[] {
  let end = 0;
  for (const { page, count } of entries) {
    must(
      page >= end && count >= 1 && count <= 16 && page + count <= FANOUT,
      `${where}: runs do not ascend or do not fit`,
    );
    end = page + count;
  }
  return entries;
}

function interiorEntry(bytes: Buffer, at: number, sources: readonly Source[]): InteriorEntry {
  return {
    slot: bytes.readUInt16LE(at),
    source: sourceAt(sources, bytes.readUInt16LE(at + 2)),
    offset: bytes.readUInt32LE(at + 4),
    length: bytes.readUInt32LE(at + 8),
    mappedPages: u64(bytes, at + 12),
    hash: bytes.toString('hex', at + 20, at + 36),
  };
}

/** The text with which every JSON document begins; 32 hex digits follow. */
export const DOCUMENT_START = '{\n "check": "';

/** Parses a JSON document and checks it. */
export function parseDocument(key: string, bytes: Buffer): unknown {
  const digitsAt = DOCUMENT_START.length;
  must(bytes.toString('latin1', 0, digitsAt) === DOCUMENT_START, `${key}: does not begin with a checksum`);
  const zeroed = Buffer.from(bytes).fill('0', digitsAt, digitsAt + 32);
  must(hash128(zeroed) === bytes.toString('latin1', digitsAt, digitsAt + 32), `${key}: wrong checksum`);
  const document = JSON.parse(bytes.toString('utf8')) as { key: string };
  must(document.key === key, `${key}: is the document ${document.key}`);
  return document;
}
