/**
 * The auditor's own view of the store: a copy of every object as it was when it took effect, and a reader of the format
 * that shares nothing with src/ (test/reader). What it has read once it keeps, since objects are immutable.
 */
import {
  FANOUT,
  decodeFrame,
  must,
  parseMapObject,
  parseNode,
  parseSegment,
  type Checkpoint,
  type MapObject,
  type NodePointer,
  type Node,
  type Segment,
} from '../reader/independent-formats.ts';
import type { SnapshotId, VolumeId } from '../../src/core/kit/index.ts';
import { openDocument, openUnit, sealedNodeVolume, type StoreKeys } from '../reader/independent-sealing.ts';
import { contentOf } from './disk-state.ts';
import type { StoreChange } from './observed-store.ts';

interface StoredObject {
  readonly bytes: Buffer;
  readonly etag: string;
}

/** A segment with its contents: what each slot of each frame holds. */
export interface ReadSegment {
  readonly segment: Omit<Segment, 'bytes'>;
  readonly contents: readonly (readonly number[])[];
}

/** What a root leads to. */
export interface Reach {
  readonly maps: ReadonlySet<string>;
  /** Key of a segment, and the id that the map names it by. */
  readonly segments: ReadonlyMap<string, string>;
  /** Content of each mapped page. */
  readonly pages: ReadonlyMap<number, number>;
}

const NOTHING: Reach = { maps: new Set(), segments: new Map(), pages: new Map() };

export class StoreReader {
  readonly #objects = new Map<string, StoredObject>();
  readonly #segments = new Map<string, ReadSegment>();
  /** By segment id: also those whose objects are gone, for what they held. */
  readonly #contents = new Map<string, ReadSegment>();
  readonly #maps = new Map<string, MapObject>();
  readonly #documents = new Map<string, { readonly etag: string; readonly value: unknown }>();
  readonly #reaches = new Map<string, Reach>();
  readonly #dataKeys = new Map<string, Buffer>();
  /** What opens the store, when it is sealed. */
  opens: StoreKeys | undefined;
  readonly #ids = { volumes: new Set<string>(), snapshots: new Set<string>() };

  /** @throws Error when what was put is not what docs/formats describes, or changes what must not change */
  apply(change: StoreChange): void {
    if ('deleted' in change) {
      this.#objects.delete(change.deleted);
      this.#segments.delete(change.deleted);
      this.#maps.delete(change.deleted);
      return;
    }
    const { put: key, bytes, etag } = change;
    const [folder = '', id = ''] = key.split('/');
    if (folder === 'volumes' || folder === 'snapshots') this.#ids[folder].add(id);
    if (isSegment(key)) this.#applySegment(key, bytes);
    else if (isMap(key)) {
      must(!this.#objects.has(key), `${key}: a map object was replaced`);
      this.#maps.set(key, parseMapObject(key, bytes));
    }
    this.#objects.set(key, { bytes, etag });
  }

  #applySegment(key: string, bytes: Buffer): void {
    const segment = parseSegment(key, bytes, this.#dataKey(key.split('/')[1] ?? ''));
    must(
      !this.#objects.has(key) || segment.footer.kind === 'tombstone',
      `${key}: a segment was replaced by a ${segment.footer.kind}`,
    );
    const contents = segment.frames.map((frame, number) =>
      decodeFrame(segment, number).map((page) => contentOf(page, frame.creators)),
    );
    const read = { segment, contents };
    this.#segments.set(key, read);
    this.#contents.set(key + segment.footer.segmentId, read);
  }

  volumeIds(): VolumeId[] {
    return this.#idsUnder('volumes') as VolumeId[];
  }

  snapshotIds(): SnapshotId[] {
    return this.#idsUnder('snapshots') as SnapshotId[];
  }

  /** Ids of a folder; folders are never forgotten, since few are made. */
  #idsUnder(folder: 'volumes' | 'snapshots'): string[] {
    return [...this.#ids[folder]];
  }

  keys(): string[] {
    return [...this.#objects.keys()].sort();
  }

  bytesOf(key: string): Buffer | undefined {
    return this.#objects.get(key)?.bytes;
  }

  has(key: string): boolean {
    return this.#objects.has(key);
  }

  segmentAt(volumeId: string, seq: number): ReadSegment | undefined {
    return this.#segments.get(`volumes/${volumeId}/log/${seq.toString(16).padStart(16, '0')}`);
  }

  segment(key: string): ReadSegment | undefined {
    return this.#segments.get(key);
  }

  /** A JSON document, opened where it is sealed, and unchecked otherwise: nobody damages documents here. */
  document(key: string): unknown {
    const object = this.#objects.get(key);
    if (object === undefined) return undefined;
    const known = this.#documents.get(key);
    if (known?.etag === object.etag) return known.value;
    const stored = JSON.parse(object.bytes.toString('utf8')) as Record<string, unknown>;
    const value = this.opens !== undefined && 'sealed' in stored ? openDocument(this.opens, key, stored) : stored;
    this.#documents.set(key, { etag: object.etag, value });
    return value;
  }

  /** The data key of a volume; undefined in a store without a key. */
  #dataKey(volumeId: string): Buffer | undefined {
    if (this.opens === undefined) return undefined;
    let key = this.#dataKeys.get(volumeId);
    if (key === undefined) {
      const { wrapped } = this.document(`volumes/${volumeId}/key.json`) as { wrapped: string };
      const { accountKey, storeId } = this.opens;
      key = openUnit(accountKey, 'sgw data key', `${storeId} ${volumeId}`, Buffer.from(wrapped, 'base64'));
      this.#dataKeys.set(volumeId, key);
    }
    return key;
  }

  /** What a root leads to. @throws Error when a map object on the way is missing, or a node is not as described */
  reach(root: NodePointer | null): Reach {
    if (root === null) return NOTHING;
    const name = `${root.key}@${String(root.offset)}#${root.hash}`;
    let reach = this.#reaches.get(name);
    if (reach === undefined) {
      const found = { maps: new Set<string>(), segments: new Map<string, string>(), pages: new Map<number, number>() };
      this.#walk(root, 3, 0, found);
      must(found.pages.size === root.mappedPages, `${name}: ${String(found.pages.size)} pages`);
      reach = found;
      this.#reaches.set(name, reach);
    }
    return reach;
  }

  #walk(
    pointer: Pick<NodePointer, 'key' | 'offset' | 'length' | 'hash'>,
    level: number,
    index: number,
    found: { maps: Set<string>; segments: Map<string, string>; pages: Map<number, number> },
  ): void {
    found.maps.add(pointer.key);
    const map = this.#maps.get(pointer.key);
    must(map !== undefined, `${pointer.key} is missing`);
    const node: Node = parseNode(map, pointer, this.#nodeKey(map, pointer.offset));
    must(node.level === level, `${pointer.key}: level ${String(node.level)}, not ${String(level)}`);
    for (const entry of node.entries) {
      if ('page' in entry) {
        found.segments.set(entry.source.key, entry.source.id);
        const held = this.#contents.get(entry.source.key + entry.source.id)?.contents[entry.frame];
        must(held !== undefined, `${pointer.key}: names a segment ${entry.source.key} that never was`);
        for (let i = 0; i < entry.count; i++) {
          const content = held[entry.slot + i];
          must(content !== undefined, `${entry.source.key}: no slot ${String(entry.slot + i)}`);
          found.pages.set(index * FANOUT + entry.page + i, content);
        }
      } else {
        this.#walk({ ...entry, key: entry.source.key }, level - 1, index * FANOUT + entry.slot, found);
      }
    }
  }

  #nodeKey(map: MapObject, offset: number): Buffer | undefined {
    const volumeId = sealedNodeVolume(map.bytes.subarray(offset));
    return volumeId === undefined ? undefined : this.#dataKey(volumeId);
  }

  /** The newest state of a volume: a checkpoint, and the log after it. */
  replay(volumeId: string, from: Checkpoint): Replayed {
    const pages = new Map(this.reach(from.root).pages);
    let { seq, epoch, logHash, sizeBytes, consistent } = from;
    const applied: ReadSegment[] = [];
    for (;;) {
      const read = this.segmentAt(volumeId, seq + 1);
      if (read === undefined) return { seq, epoch, sizeBytes, consistent, pages, applied };
      seq += 1;
      const { footer, hash, extents, frames } = read.segment;
      if (footer.epoch < epoch) continue;
      must(footer.kind !== 'tombstone', `${read.segment.key}: removed, and above the checkpoint`);
      must(footer.prevHash === logHash, `${read.segment.key}: does not follow the segment before it`);
      ({ epoch } = footer);
      logHash = hash;
      applied.push(read);
      if (footer.kind !== 'data') continue;
      ({ sizeBytes, consistent } = footer);
      for (const { firstPage, pageCount } of extents) {
        for (const page of pages.keys()) if (page >= firstPage && page < firstPage + pageCount) pages.delete(page);
      }
      frames.forEach((frame, number) => {
        frame.pages.forEach((page, slot) => {
          pages.set(page, read.contents[number]?.[slot] ?? 0);
        });
      });
    }
  }

  /** What of a root is not there. */
  missingOf(root: NodePointer | null): string | undefined {
    let reach: Reach;
    try {
      reach = this.reach(root);
    } catch (error) {
      return String(error);
    }
    for (const key of reach.maps) if (!this.#maps.has(key)) return `${key} is gone`;
    for (const [key, id] of reach.segments) {
      const footer = this.#segments.get(key)?.segment.footer;
      if (footer === undefined) return `${key} is gone`;
      if (footer.kind !== 'data') return `${key} is a ${footer.kind}`;
      if (footer.segmentId !== id) return `${key} is segment ${footer.segmentId}, not ${id}`;
    }
    return undefined;
  }
}

export interface Replayed {
  readonly seq: number;
  readonly epoch: number;
  readonly sizeBytes: number;
  readonly consistent: boolean;
  readonly pages: ReadonlyMap<number, number>;
  /** The valid segments after the checkpoint. */
  readonly applied: readonly ReadSegment[];
}

export const isSegment = (key: string): boolean => /^volumes\/[^/]+\/log\//.test(key);
export const isMap = (key: string): boolean => /^volumes\/[^/]+\/map\/|^snapshots\/[^/]+\/map$/.test(key);
