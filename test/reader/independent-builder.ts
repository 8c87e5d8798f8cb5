/**
 * An independent builder of small objects of format 1, written from docs/formats alone: expected bytes for tests come
 * from here, never from the code that they test. Nodes and frames are stored uncompressed unless asked otherwise.
 */
import { crc32, zstdCompressSync } from 'node:zlib';
import {
  DOCUMENT_START,
  ZERO_HASH,
  hash128,
  hash256,
  type Checkpoint,
  type Extent,
  type NodePointer,
} from './independent-formats.ts';
import { close, closeUnit, derive, newSalt, sealNode } from './independent-sealing.ts';

export interface BuiltFrame {
  readonly block: number;
  /** Page of the block (0 to 15) -> its 4096 bytes. */
  readonly pages: Readonly<Record<number, Buffer>>;
  readonly creators?: number;
  readonly compressed?: boolean;
}

export interface SegmentPlan {
  readonly volumeId: string;
  readonly seq: number;
  readonly frames?: readonly BuiltFrame[];
  readonly extents?: readonly Extent[];
  readonly kind?: string;
  readonly epoch?: number;
  readonly prevHash?: string;
  readonly sizeBytes?: number;
  readonly consistent?: boolean;
  readonly commitTimeMs?: number;
  readonly creators?: readonly (readonly string[])[];
  /** The data key of its volume, in a store with a key. */
  readonly dataKey?: Buffer;
}

export interface BuiltSegment {
  readonly key: string;
  readonly segmentId: string;
  readonly body: Buffer;
  readonly hash: string;
}

const u16 = (value: number): Buffer => Buffer.of(value & 0xff, value >> 8);
const u32 = (value: number): Buffer => Buffer.concat([u16(value % 0x1_0000), u16(Math.floor(value / 0x1_0000))]);
const u64 = (value: number): Buffer =>
  Buffer.concat([u32(value % 0x1_0000_0000), u32(Math.floor(value / 0x1_0000_0000))]);
const hex = (digits: string): Buffer => Buffer.from(digits, 'hex');
const json = (value: object): Buffer => Buffer.from(JSON.stringify(value), 'utf8');

const DEFAULT_FACTS = {
  kind: 'data',
  epoch: 1,
  prevHash: ZERO_HASH,
  sizeBytes: 1 << 20,
  consistent: true,
};
const DEFAULT_CREATORS = [['000000000001']];

/** How the parts of a segment are stored. */
interface Storing {
  readonly frame: (facts: readonly number[], packed: Buffer) => Buffer;
  readonly pageHashes: (plain: Buffer) => Buffer;
  /** What the footer says of cipher and creators, when the part before it ends at `end`. */
  readonly footer: (creators: Buffer, end: number) => object;
  /** What stands before the footer. */
  readonly sealed: (creators: Buffer, tables: Buffer) => Buffer;
}

const AS_IT_IS: Storing = {
  frame: (_facts, packed) => packed,
  pageHashes: (plain) => plain,
  footer: (creators) => ({ cipher: 'none', creators: JSON.parse(creators.toString('utf8')) as unknown }),
  sealed: () => Buffer.alloc(0),
};

function sealing(dataKey: Buffer, volumeId: string, segmentId: string): Storing {
  const salt = newSalt();
  const own = derive(dataKey, salt, `sgw segment ${volumeId}`);
  const at = `${volumeId} ${segmentId}`;
  return {
    frame: (facts, packed) => close(own, 0, facts[0] ?? 0, `frame ${at} ${facts.join(' ')}`, packed),
    pageHashes: (plain) => close(own, 1, 0, `page hashes ${at}`, plain),
    footer: (creators, end) => ({
      cipher: 'aes-256-gcm',
      salt: salt.toString('hex'),
      sealed: { offset: end, length: creators.length + 16 },
    }),
    sealed: (creators, tables) => close(own, 2, 0, `creators ${hash256(tables)} ${at}`, creators),
  };
}

export function buildSegment(plan: SegmentPlan): BuiltSegment {
  const key = `volumes/${plan.volumeId}/log/${plan.seq.toString(16).padStart(16, '0')}`;
  const segmentId = hash128(Buffer.from(`segment ${key} ${String(plan.epoch ?? 1)}`));
  const storing = plan.dataKey === undefined ? AS_IT_IS : sealing(plan.dataKey, plan.volumeId, segmentId);
  const stored: Buffer[] = [];
  const hashes: Buffer[] = [];
  const table: Buffer[] = [];
  let offset = 64;
  for (const { block, pages, creators = 0, compressed = false } of plan.frames ?? []) {
    const present = Object.entries(pages).sort(([a], [b]) => Number(a) - Number(b));
    const raw = Buffer.concat(present.map(([, page]) => page));
    const mask = present.reduce((sum, [page]) => sum | (1 << Number(page)), 0);
    const codec = compressed ? 1 : 0;
    const facts = [stored.length, block, mask, codec, creators, hashes.length];
    const bytes = storing.frame(facts, compressed ? zstdCompressSync(raw) : raw);
    const place = [u64(block), u32(offset), u32(bytes.length), u16(mask), Buffer.of(codec, 0)];
    table.push(...place, u16(creators), u16(0), u32(crc32(bytes)), u32(hashes.length));
    hashes.push(...present.map(([, page]) => hex(hash128(page))));
    stored.push(bytes);
    offset += bytes.length;
  }
  const frames = Buffer.concat(table);
  const pageHashes = storing.pageHashes(Buffer.concat(hashes));
  const extents = Buffer.concat(
    (plan.extents ?? []).flatMap((extent) => [u64(extent.firstPage), u64(extent.pageCount)]),
  );
  const framesAt = offset + pageHashes.length;
  const { frames: _frames, extents: _extents, dataKey: _dataKey, creators = DEFAULT_CREATORS, ...facts } = plan;
  const footer = json({
    ...DEFAULT_FACTS,
    commitTimeMs: 1000 + plan.seq,
    ...facts,
    ...storing.footer(json(creators), framesAt + frames.length + extents.length),
    format: 1,
    segmentId,
    records: null,
    hash: 'blake3',
    pageHashes: { offset, count: hashes.length },
    frames: { offset: framesAt, count: plan.frames?.length ?? 0 },
    extents: { offset: framesAt + frames.length, count: plan.extents?.length ?? 0 },
    pageHashesHash: hash128(pageHashes),
    fieldOfALaterVersion: true,
  });
  const sealed = storing.sealed(json(creators), Buffer.concat([frames, extents, footer]));
  const head = Buffer.concat([
    Buffer.from('SGWSEG1\n'),
    Buffer.alloc(56),
    ...stored,
    pageHashes,
    frames,
    extents,
    sealed,
    footer,
  ]);
  const unhashed = Buffer.concat([
    head,
    Buffer.from('SGWSEGE1'),
    u32(footer.length),
    u32(crc32(footer)),
    hex(segmentId),
  ]);
  const hash = hash256(unhashed.subarray(framesAt));
  return { key, segmentId, body: Buffer.concat([unhashed, hex(hash)]), hash };
}

export interface BuiltSource {
  /** 32 hex digits; absent in an interior node. */
  readonly segmentId?: string;
  readonly key: string;
  readonly creators: readonly string[];
}

export interface BuiltRun {
  readonly page: number;
  readonly count: number;
  readonly source: number;
  readonly frame: number;
  readonly slot: number;
}

export interface BuiltChild {
  readonly slot: number;
  readonly source: number;
  readonly offset: number;
  readonly length: number;
  readonly mappedPages: number;
  readonly hash: string;
}

function node(level: number, sources: readonly BuiltSource[], entries: readonly Buffer[], compressed: boolean): Buffer {
  const header = [Buffer.of(level, 1), u16(0), u32(entries.length), u16(sources.length), u16(0)];
  const table = sources.flatMap(({ segmentId, key, creators }) => [
    segmentId === undefined ? Buffer.alloc(16) : hex(segmentId),
    u16(key.length),
    u16(creators.length),
    ...creators.map((account) => u64(Number(account)).subarray(0, 6)),
    Buffer.from(key, 'latin1'),
  ]);
  const bytes = Buffer.concat([...header, ...table, ...entries]);
  return compressed ? Buffer.concat([Buffer.of(1), zstdCompressSync(bytes)]) : Buffer.concat([Buffer.of(0), bytes]);
}

/** A stored leaf. */
export function buildLeaf(sources: readonly BuiltSource[], runs: readonly BuiltRun[], compressed = false): Buffer {
  const entry = (run: BuiltRun): Buffer =>
    Buffer.concat([u16(run.page), u16(run.count), u16(run.source), u16(run.frame), Buffer.of(run.slot, 0, 0, 0)]);
  return node(0, sources, runs.map(entry), compressed);
}

/** A stored interior node. */
export function buildInterior(
  level: number,
  sources: readonly BuiltSource[],
  children: readonly BuiltChild[],
  compressed = false,
): Buffer {
  const entry = (child: BuiltChild): Buffer =>
    Buffer.concat([
      u16(child.slot),
      u16(child.source),
      u32(child.offset),
      u32(child.length),
      u64(child.mappedPages),
      hex(child.hash),
    ]);
  return node(level, sources, children.map(entry), compressed);
}

/** A map object of nodes that were placed one after the other from offset 16. */
function buildMapObject(owner: string, nodes: readonly Buffer[], checkpoint: Checkpoint): Buffer {
  const footer = json({ format: 1, kind: 'map', owner, ...checkpoint, fieldOfALaterVersion: 1 });
  const unhashed = Buffer.concat([
    Buffer.from('SGWMAP1\n'),
    Buffer.alloc(8),
    ...nodes,
    footer,
    Buffer.from('SGWMAPE1'),
    u32(footer.length),
    u32(crc32(footer)),
  ]);
  return Buffer.concat([unhashed, hex(hash256(unhashed))]);
}

export interface TreePlan {
  readonly key: string;
  readonly owner: string;
  readonly facts: Omit<Checkpoint, 'root' | 'mappedPages'>;
  /** Index of the one leaf of the tree. */
  readonly leafIndex: number;
  readonly leaf: Buffer;
  readonly mappedPages: number;
  readonly creators: readonly string[];
  /** In a store with a key: the volume whose data key seals the nodes, and that key. */
  readonly seal?: { readonly volumeId: string; readonly dataKey: Buffer };
}

/** A map object whose tree has one leaf, and the checkpoint that its footer holds. */
export function buildTree(plan: TreePlan): {
  readonly body: Buffer;
  readonly checkpoint: Checkpoint;
  readonly nodes: readonly Buffer[];
} {
  const { key, mappedPages, creators, leafIndex, seal } = plan;
  const storedAt = (at: number, packed: Buffer): Buffer =>
    seal === undefined ? packed : sealNode(seal.dataKey, seal.volumeId, key, at, packed);
  let offset = 16;
  let stored = storedAt(offset, plan.leaf);
  const nodes = [stored];
  for (const level of [1, 2, 3]) {
    const slot = Math.floor(leafIndex / 1024 ** (level - 1)) % 1024;
    const child = { slot, source: 0, offset, length: stored.length, mappedPages, hash: hash128(stored) };
    offset += stored.length;
    stored = storedAt(offset, buildInterior(level, [{ key, creators }], [child], level === 2));
    nodes.push(stored);
  }
  const root: NodePointer = { key, offset, length: stored.length, hash: hash128(stored), mappedPages, creators };
  const checkpoint = { ...plan.facts, root, mappedPages };
  const shown = seal === undefined ? checkpoint : { ...checkpoint, root: { ...root, creators: [] } };
  return { body: buildMapObject(plan.owner, nodes, shown), checkpoint, nodes };
}

/** A JSON document of the store, with its checksum; `accountKey` seals all fields of it but the clear ones. */
export function buildDocument(key: string, fields: object, accountKey?: Buffer): Buffer {
  const changeId = '0'.repeat(24);
  let shown = fields;
  if (accountKey !== undefined) {
    const clear = Object.entries(fields).filter(([name]) => CLEAR_FIELDS.includes(name));
    const secret = Object.entries(fields).filter(([name]) => !CLEAR_FIELDS.includes(name));
    const sorted = Object.fromEntries(clear.sort(([a], [b]) => (a < b ? -1 : 1)));
    const associated = [key, changeId, '1', JSON.stringify(sorted)].join('\n');
    const sealed = closeUnit(accountKey, 'sgw document', associated, json(Object.fromEntries(secret)));
    shown = { ...sorted, sealed: sealed.toString('base64') };
  }
  const text = `${DOCUMENT_START}${'0'.repeat(32)}", ${JSON.stringify({ format: 1, key, changeId, version: 1, ...shown }).slice(1)}`;
  return Buffer.from(text.replace('0'.repeat(32), hash128(Buffer.from(text))));
}

const CLEAR_FIELDS = ['volumeId', 'snapshotId', 'state', 'accountId', 'sizeBytes', 'createdAt', 'deletedAt', 'epoch'];

export interface BuiltKeys {
  readonly storeId: string;
  readonly keyId: string;
  readonly accountKey: Buffer;
  /** What opens the account's key. */
  readonly fileKey: Buffer;
}

/** `sgw.json` and the account's key of a store with a key, by their keys. */
export function buildKeys({ storeId, keyId, accountKey, fileKey }: BuiltKeys): ReadonlyMap<string, Buffer> {
  const createdAt = '2026-01-01T00:00:00.000Z';
  const slotId = 'slot-00000001';
  const unit = closeUnit(fileKey, 'sgw account key', `${storeId} ${keyId} ${slotId} keyFile`, accountKey);
  const slot = { slotId, kind: 'keyFile', createdAt, kdf: { name: 'none' }, wrapped: unit.toString('base64') };
  const store = { storeId, createdAt, keyDerivation: { mode: 'customer', keyId } };
  const key = `keys/${keyId}.json`;
  return new Map([
    ['sgw.json', buildDocument('sgw.json', store)],
    [key, buildDocument(key, { keyId, createdAt, slots: [slot] })],
  ]);
}

/** `key.json` of a volume. */
export function buildVolumeKey({ storeId, keyId, accountKey }: BuiltKeys, volumeId: string, dataKey: Buffer): Buffer {
  const unit = closeUnit(accountKey, 'sgw data key', `${storeId} ${volumeId}`, dataKey);
  return buildDocument(`volumes/${volumeId}/key.json`, { volumeId, keyId, wrapped: unit.toString('base64') });
}
