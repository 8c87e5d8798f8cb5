/**
 * An independent reader of object store format 1, written from docs/formats alone: it shows that the documents say all
 * that is needed. It keeps the whole map in memory and each object whole, so it suits tests and rescue, not service.
 */
import {
  FANOUT,
  PAGE,
  decodeFrame,
  must,
  parseDocument,
  parseMapObject,
  parseNode,
  parseSegment,
  storedNode,
  type Checkpoint,
  type MapObject,
  type NodePointer,
  type Segment,
} from './independent-formats.ts';
import { openDocument, sealedNodeVolume, volumeKey, type StoreKeys } from './independent-sealing.ts';

/** The whole object under a key, or undefined. */
export type GetObject = (key: string) => Promise<Buffer | undefined>;

export interface Contents {
  readonly sizeBytes: number;
  readonly mappedPages: number;
  /** The pages that are not all zeroes, ascending; 4096 bytes each. */
  readonly pages: AsyncIterable<{ readonly page: number; readonly bytes: Buffer }>;
}

export interface VolumeContents extends Contents {
  readonly seq: number;
  /** Seqs of segments that were void. */
  readonly voidSeqs: readonly number[];
}

interface Place {
  readonly key: string;
  readonly segmentId: string;
  readonly frame: number;
  readonly slot: number;
  readonly creators: readonly string[];
}

interface SnapshotDocument {
  readonly format: number;
  readonly snapshotId: string;
  readonly state: string;
  readonly sizeBytes: number;
  readonly mappedPages: number;
  readonly creators: readonly string[];
  readonly root: NodePointer | null;
}

interface HeadDocument {
  readonly format: number;
  readonly epoch: number;
  readonly checkpoint: Checkpoint;
  readonly consistent: Checkpoint | null;
}

/** Objects read once and checked once in a reading. */
class Objects {
  readonly #get: GetObject;
  readonly #segments = new Map<string, Segment>();
  readonly #maps = new Map<string, MapObject>();
  readonly #keys: StoreKeys | undefined;
  readonly #dataKeys = new Map<string, Buffer>();

  constructor(get: GetObject, keys: StoreKeys | undefined) {
    this.#get = get;
    this.#keys = keys;
  }

  /** The data key of a volume; undefined in a store without a key. */
  async dataKey(volumeId: string): Promise<Buffer | undefined> {
    if (this.#keys === undefined) return undefined;
    const key = this.#dataKeys.get(volumeId) ?? (await volumeKey(this.#get, this.#keys, volumeId));
    this.#dataKeys.set(volumeId, key);
    return key;
  }

  async document<T extends { format: number }>(key: string): Promise<T> {
    const stored = parseDocument(key, await this.#whole(key)) as Record<string, unknown>;
    const value = (this.#keys === undefined ? stored : openDocument(this.#keys, key, stored)) as unknown as T;
    must(value.format === 1, `${key}: unknown format`);
    return value;
  }

  async segmentIfAny(key: string): Promise<Segment | undefined> {
    const known = this.#segments.get(key);
    if (known !== undefined) return known;
    const bytes = await this.#get(key);
    if (bytes === undefined) return undefined;
    const segment = parseSegment(key, bytes, await this.dataKey(key.split('/')[1] ?? ''));
    this.#segments.set(key, segment);
    return segment;
  }

  async segment(key: string): Promise<Segment> {
    const segment = await this.segmentIfAny(key);
    must(segment !== undefined, `${key} is missing`);
    return segment;
  }

  async map(key: string): Promise<MapObject> {
    const known = this.#maps.get(key);
    if (known !== undefined) return known;
    const object = parseMapObject(key, await this.#whole(key));
    this.#maps.set(key, object);
    return object;
  }

  async #whole(key: string): Promise<Buffer> {
    const bytes = await this.#get(key);
    must(bytes !== undefined, `${key} is missing`);
    return bytes;
  }
}

/** Reads a completed snapshot. The map is read and checked at once, the pages while they are iterated. */
export async function readSnapshot(get: GetObject, snapshotId: string, keys?: StoreKeys): Promise<Contents> {
  const objects = new Objects(get, keys);
  const key = `snapshots/${snapshotId}/snapshot.json`;
  const snapshot = await objects.document<SnapshotDocument>(key);
  must(snapshot.snapshotId === snapshotId && snapshot.state === 'completed', `${key}: not a completed snapshot`);
  const places = await readTree(objects, snapshot.root, snapshot.mappedPages);
  const creators = [...new Set([...places.values()].flatMap((place) => place.creators))].sort();
  must(JSON.stringify(creators) === JSON.stringify(snapshot.creators), `${key}: wrong creators`);
  return contentsOf(objects, places, snapshot.sizeBytes);
}

/** Reads a volume from its newest checkpoint and its log: the newest state, or the newest consistent one. */
export async function readVolume(
  get: GetObject,
  volumeId: string,
  want: 'newest' | 'consistent' = 'newest',
  keys?: StoreKeys,
): Promise<VolumeContents> {
  const objects = new Objects(get, keys);
  const head = await objects.document<HeadDocument>(`volumes/${volumeId}/head.json`);
  const log = await readLog(objects, volumeId, head.checkpoint);
  if (want === 'newest') return replay(objects, head.checkpoint, log.segments, log);
  const newer = log.segments.findLastIndex((segment) => segment.footer.consistent);
  if (newer >= 0 || head.checkpoint.consistent)
    return replay(objects, head.checkpoint, log.segments.slice(0, newer + 1), log);
  must(head.consistent !== null, `${volumeId} has no consistent state`);
  return replay(objects, head.consistent, [], { segments: [], voidSeqs: [] });
}

interface Log {
  readonly segments: readonly Segment[];
  readonly voidSeqs: readonly number[];
}

/** The valid segments after a checkpoint, in order, their chain checked. */
async function readLog(objects: Objects, volumeId: string, from: Checkpoint): Promise<Log> {
  const segments: Segment[] = [];
  const voidSeqs: number[] = [];
  let { epoch, logHash, commitTimeMs } = from;
  for (let seq = from.seq + 1; ; seq++) {
    const segment = await objects.segmentIfAny(`volumes/${volumeId}/log/${seq.toString(16).padStart(16, '0')}`);
    if (segment === undefined) return { segments, voidSeqs };
    const { footer } = segment;
    must(footer.kind !== 'tombstone', `${segment.key}: was removed, but is needed`);
    if (footer.epoch < epoch) {
      voidSeqs.push(seq);
      continue;
    }
    must(footer.prevHash === logHash, `${segment.key}: does not follow the segment before it`);
    must(footer.commitTimeMs >= commitTimeMs, `${segment.key}: its time is before that of the segment before it`);
    ({ epoch, commitTimeMs } = footer);
    logHash = segment.hash;
    segments.push(segment);
  }
}

async function replay(
  objects: Objects,
  from: Checkpoint,
  segments: readonly Segment[],
  log: Log,
): Promise<VolumeContents> {
  const places = await readTree(objects, from.root, from.mappedPages);
  let { sizeBytes, seq } = from;
  for (const segment of segments) {
    seq = segment.footer.seq;
    if (segment.footer.kind === 'data') sizeBytes = segment.footer.sizeBytes;
    for (const { firstPage, pageCount } of segment.extents) {
      for (const page of places.keys()) if (page >= firstPage && page < firstPage + pageCount) places.delete(page);
    }
    segment.frames.forEach((frame, number) => {
      frame.pages.forEach((page, slot) => {
        const { segmentId } = segment.footer;
        places.set(page, { key: segment.key, segmentId, frame: number, slot, creators: frame.creators });
      });
    });
  }
  return { ...contentsOf(objects, places, sizeBytes), seq, voidSeqs: log.voidSeqs };
}

/** Where each page of a tree is. Checks counts and creators of every pointer on the way. */
async function readTree(objects: Objects, root: NodePointer | null, mappedPages: number): Promise<Map<number, Place>> {
  const places = new Map<number, Place>();
  if (root !== null) await readNode(objects, root, 3, 0, places);
  must(places.size === mappedPages, `the map has ${String(places.size)} pages, not ${String(mappedPages)}`);
  return places;
}

async function readNode(
  objects: Objects,
  pointer: NodePointer,
  level: number,
  index: number,
  places: Map<number, Place>,
): Promise<void> {
  const where = `${pointer.key}@${String(pointer.offset)}`;
  const object = await objects.map(pointer.key);
  const volumeId = sealedNodeVolume(storedNode(object, pointer));
  const node = parseNode(object, pointer, volumeId === undefined ? undefined : await objects.dataKey(volumeId));
  must(node.level === level, `${where}: level ${String(node.level)}, not ${String(level)}`);
  const creators = new Set<string>();
  const before = places.size;
  for (const entry of node.entries) {
    for (const creator of entry.source.creators) creators.add(creator);
    if ('page' in entry) {
      for (let i = 0; i < entry.count; i++) {
        const { source, frame } = entry;
        const place = { key: source.key, segmentId: source.id, frame, slot: entry.slot + i, creators: source.creators };
        places.set(index * FANOUT + entry.page + i, place);
      }
    } else {
      const { offset, length, hash } = entry;
      const child = {
        key: entry.source.key,
        offset,
        length,
        hash,
        mappedPages: entry.mappedPages,
        creators: entry.source.creators,
      };
      await readNode(objects, child, level - 1, index * FANOUT + entry.slot, places);
    }
  }
  must(places.size - before === pointer.mappedPages, `${where}: wrong count of mapped pages`);
  must(JSON.stringify([...creators].sort()) === JSON.stringify(pointer.creators), `${where}: wrong creators`);
}

function contentsOf(objects: Objects, places: Map<number, Place>, sizeBytes: number): Contents {
  const pages = [...places.keys()].sort((a, b) => a - b);
  const last = pages.at(-1);
  must(last === undefined || last * PAGE < sizeBytes, `page ${String(last)} is past the end`);
  return { sizeBytes, mappedPages: pages.length, pages: readPages(objects, places, pages, sizeBytes) };
}

async function* readPages(
  objects: Objects,
  places: Map<number, Place>,
  pages: readonly number[],
  sizeBytes: number,
): AsyncGenerator<{ page: number; bytes: Buffer }> {
  let decoded: { at: string; pages: readonly Buffer[] } | undefined;
  for (const page of pages) {
    const place = places.get(page);
    must(place !== undefined, 'a page vanished');
    const segment = await objects.segment(place.key);
    const frame = segment.frames[place.frame];
    must(segment.footer.segmentId === place.segmentId, `${place.key}: another segment than the map names`);
    must(frame?.pages[place.slot] === page, `${place.key}: page ${String(page)} is not in slot ${String(place.slot)}`);
    must(
      JSON.stringify(frame.creators) === JSON.stringify(place.creators),
      `${place.key}: creators differ from the map's`,
    );
    const at = `${place.key}#${String(place.frame)}`;
    if (decoded?.at !== at) decoded = { at, pages: decodeFrame(segment, place.frame) };
    const bytes = decoded.pages[place.slot];
    must(bytes !== undefined, `${at}: no slot ${String(place.slot)}`);
    const inside = Math.min(PAGE, sizeBytes - page * PAGE);
    must(
      bytes.subarray(inside).every((byte) => byte === 0),
      `page ${String(page)} is not zero past the end`,
    );
    yield { page, bytes };
  }
}

/** The whole disk as one buffer, zeroes where nothing is mapped. Only for small disks. */
export async function toBuffer(contents: Contents): Promise<Buffer> {
  const out = Buffer.alloc(Math.ceil(contents.sizeBytes / PAGE) * PAGE);
  for await (const { page, bytes } of contents.pages) bytes.copy(out, page * PAGE);
  return out.subarray(0, contents.sizeBytes);
}

/** Pages in a block, for tests that place things by block. */
