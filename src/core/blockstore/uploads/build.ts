/**
 * Makes the map of a snapshot that was written through the API: the parent's map with the newest write of each block applied.
 * Bounded in memory however many blocks there are: after each part the nodes that changed are stored under `uploads/`, and
 * the next part begins with what they say. The last part is the snapshot's map, which is created once, and decides.
 */
import { createHash } from 'node:crypto';
import type { SnapshotId } from '../../kit/index.ts';
import { damaged, missing } from '../damage.ts';
import { API_BLOCK_PAGES } from '../geometry.ts';
import { keys, uploadOfKey } from '../keys.ts';
import { encodeMap, nodeLoader, parseMapObject, type Checkpoint, type EncodedMap } from '../map-object.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { PageMap } from '../page-map.ts';
import { forEachPage, type SegmentIndex } from '../segment-index.ts';
import { readSegmentIndex } from '../segment-reader.ts';
import { ZERO_HASH } from '../segment-codec.ts';
import { readAhead } from '../read-ahead.ts';
import type { UploadEntry } from '../upload-entry.ts';

/** Blocks of one part: 8 GiB, of which the leaves take 16 MiB. */
const PART_BLOCKS = 16_384;
/** Objects of blocks read at once. */
const PARALLEL_READS = 32;
/** Enough for all but the frames of a block's object. */
const TAIL_BYTES = 8 * 1024;

/** `problem`: why what was written is not what the client said, for people. */
export type Built = { readonly checkpoint: Checkpoint } | { readonly problem: string };

/** @throws corrupt when a block or the parent's map is damaged; what the store throws */
export async function buildUpload(
  options: BlockStoreOptions,
  entry: UploadEntry,
  signal?: AbortSignal,
  partBlocks = PART_BLOCKS,
): Promise<Built> {
  const there = await storedMap(options, entry, signal);
  return there === undefined ? await new Build(options, entry, partBlocks, signal).run() : { checkpoint: there };
}

/** What somebody has stored already; undefined when nobody has. */
async function storedMap(
  { objects }: BlockStoreOptions,
  { snapshotId }: UploadEntry,
  signal?: AbortSignal,
): Promise<Checkpoint | undefined> {
  const key = keys.snapshotMap(snapshotId);
  const object = await objects.get(key, withSignal(signal));
  if (object === undefined) return undefined;
  const footer = parseMapObject(key, object.bytes);
  if (footer.owner !== snapshotId) throw damaged(key, `it is of ${footer.owner}`);
  return footer;
}

class Build {
  readonly #options: BlockStoreOptions;
  readonly #entry: UploadEntry;
  readonly #partBlocks: number;
  readonly #signal: AbortSignal | undefined;
  readonly #load;
  /** Tells its parts from those of others who build the same. */
  readonly #name: string;
  readonly #digest = createHash('sha256');
  #map: PageMap;
  #blocks = 0;

  constructor(options: BlockStoreOptions, entry: UploadEntry, partBlocks: number, signal: AbortSignal | undefined) {
    this.#options = options;
    this.#entry = entry;
    this.#partBlocks = partBlocks;
    this.#signal = signal;
    this.#load = nodeLoader(options);
    this.#name = options.random.bytes(8).toString('hex');
    this.#map = new PageMap({ root: entry.upload.parent?.root ?? null, load: this.#load });
  }

  async run(): Promise<Built> {
    const newest = newestWrites(this.#options, this.#entry.snapshotId, this.#signal);
    for await (const index of readAhead(newest, PARALLEL_READS, async (key, stop) => await this.#read(key, stop))) {
      if (this.#blocks > 0 && this.#blocks % this.#partBlocks === 0) await this.#storePart();
      this.#digest.update(Buffer.from(index.footer.upload?.sha256 ?? '', 'hex'));
      this.#blocks += 1;
      await this.#map.applySegment(index, this.#signal);
    }
    const problem = this.#problem();
    if (problem === undefined) return { checkpoint: await this.#storeLast() };
    // Where another server came to another list, the first map that was stored is right.
    const there = await storedMap(this.#options, this.#entry, this.#signal);
    return there === undefined ? { problem } : { checkpoint: there };
  }

  async #read(key: string, stop: AbortSignal): Promise<SegmentIndex> {
    const signal = this.#signal === undefined ? stop : AbortSignal.any([stop, this.#signal]);
    const index = await readSegmentIndex(this.#options, key, signal, TAIL_BYTES);
    if (index === undefined) throw missing(key);
    checkOwn(index, this.#entry);
    return index;
  }

  #problem(): string | undefined {
    const { sealed } = this.#entry.upload;
    if (sealed === undefined || (sealed.blocks !== null && sealed.blocks !== this.#blocks))
      return `${String(this.#blocks)} blocks were written to it, and it was completed with ${String(sealed?.blocks)}`;
    if (sealed.checksum === null || sealed.checksum === this.#digest.digest('hex')) return undefined;
    return 'what was written to it does not match the checksum that it was completed with';
  }

  async #storePart(): Promise<void> {
    const part = String(this.#blocks / this.#partBlocks).padStart(8, '0');
    const key = keys.uploadMap(this.#entry.snapshotId, `${this.#name}${part}`);
    const encoded = this.#encode(key);
    await this.#options.objects.put(key, encoded.body, withSignal(this.#signal));
    this.#map = new PageMap({ root: encoded.checkpoint.root, load: this.#load });
  }

  async #storeLast(): Promise<Checkpoint> {
    const key = keys.snapshotMap(this.#entry.snapshotId);
    const { body, checkpoint } = this.#encode(key);
    const condition = { ifAbsent: true } as const;
    const result = await this.#options.objects.put(key, body, { condition, ...withSignal(this.#signal) });
    if (result.outcome === 'stored') return checkpoint;
    const there = await storedMap(this.#options, this.#entry, this.#signal);
    if (there === undefined) throw damaged(key, 'it was refused as present, and is absent');
    return there;
  }

  #encode(key: string): EncodedMap {
    const { snapshotId, sizeBytes, upload } = this.#entry;
    const facts = {
      seq: 0,
      sizeBytes,
      epoch: 0,
      commitTimeMs: Date.parse(upload.sealed?.at ?? upload.deadline),
      logHash: ZERO_HASH,
      consistent: true,
    };
    return encodeMap(this.#map, key, snapshotId, facts);
  }
}

/** The key of the newest write of each block, in the order of blocks. */
async function* newestWrites(
  { objects }: BlockStoreOptions,
  snapshotId: SnapshotId,
  signal?: AbortSignal,
): AsyncGenerator<string> {
  let newest: { readonly block: number; readonly key: string } | undefined;
  for await (const { key } of objects.list(keys.uploadsOf(snapshotId), withSignal(signal))) {
    const name = uploadOfKey(key);
    if (name?.kind !== 'block') continue;
    if (newest !== undefined && newest.block !== name.block) yield newest.key;
    newest = { block: name.block, key };
  }
  if (newest !== undefined) yield newest.key;
}

/** @throws corrupt `object-damaged` unless the segment is a block of this upload, and touches nothing beside it */
function checkOwn(index: SegmentIndex, { snapshotId }: UploadEntry): void {
  const name = uploadOfKey(index.key);
  const { upload } = index.footer;
  const isOwn = name?.kind === 'block' && upload?.snapshotId === snapshotId && upload.block === name.block;
  if (!isOwn) throw damaged(index.key, 'it is no block of this snapshot');
  let pages = index.extents.reduce((sum, { pageCount }) => sum + pageCount, 0);
  let isInside = index.extents.every((extent) => isOfBlock(upload.block, extent.firstPage, extent.pageCount));
  for (let frame = 0; frame < index.frameCount; frame++) {
    forEachPage(index.frame(frame), (page) => {
      pages += 1;
      isInside &&= isOfBlock(upload.block, page, 1);
    });
  }
  if (!isInside || pages !== API_BLOCK_PAGES) throw damaged(index.key, 'its pages are not those of its block');
}

const isOfBlock = (block: number, firstPage: number, pageCount: number): boolean =>
  firstPage >= block * API_BLOCK_PAGES && firstPage + pageCount <= (block + 1) * API_BLOCK_PAGES;
