/**
 * Snapshots as blocks of 512 KiB: which are written, which differ between two, and what is in one. Everything that is returned
 * was checked against the hashes of its pages. One reader serves any number of snapshots; what it keeps is bounded in bytes.
 */
import { hash } from 'node:crypto';
import { assert } from '../../kit/index.ts';
import { damaged, missing } from '../damage.ts';
import { decodeFrameInPlace } from '../frame-codec.ts';
import { spansOfFrames } from '../frame-spans.ts';
import {
  API_BLOCK_BYTES,
  API_BLOCK_PAGES,
  BLOCK_BYTES,
  FANOUT,
  LEAF_PAGES,
  PAGE_BYTES,
  PAGE_HASH_BYTES,
  ROOT_LEVEL,
} from '../geometry.ts';
import { uploadOfKey } from '../keys.ts';
import type { LeafRun, NodePointer, SegmentRef } from '../node-codec.ts';
import { withSignal, type DataReading } from '../options.ts';
import { CODECS, popcount16, type FrameEntry, type SegmentIndex } from '../segment-index.ts';
import { pageHashesOf, parseSegmentTail } from '../segment-parse.ts';
import { SegmentReader } from '../segment-reader.ts';
import { changedBlocksOfLeaf, cutRun, writtenBlocksOfLeaf, type ChangedBlock } from './leaf-blocks.ts';
import { MapReader } from './map-reader.ts';

const LEAF_BLOCKS = LEAF_PAGES / API_BLOCK_PAGES;
const LEAVES = FANOUT ** ROOT_LEVEL;
const SPANS = { gapBytesMax: 64 * 1024, spanBytesMax: 4 << 20 };

export class BlockReader {
  readonly #reading: DataReading;
  readonly #maps: MapReader;
  readonly #segments: SegmentReader;

  constructor(reading: DataReading) {
    this.#reading = reading;
    this.#maps = new MapReader(reading);
    this.#segments = new SegmentReader(reading);
  }

  /** The blocks from `fromBlock` on in which a page is mapped, ascending. */
  async *written(root: NodePointer | null, fromBlock: number, signal?: AbortSignal): AsyncGenerator<number> {
    for await (const { block } of this.changed(null, root, { fromBlock, newer: 'b' }, signal)) yield block;
  }

  /**
   * The blocks from `fromBlock` on that differ between two snapshots of one lineage, ascending. Costs what differs. Pages
   * that only lie elsewhere in the `newer` one, since gc moved them, are not changed ones (C12).
   */
  async *changed(
    a: NodePointer | null,
    b: NodePointer | null,
    { fromBlock, newer }: { readonly fromBlock: number; readonly newer: 'a' | 'b' },
    signal?: AbortSignal,
  ): AsyncGenerator<ChangedBlock> {
    const isMoved = async (before: LeafRun, now: LeafRun, page: number): Promise<boolean> =>
      newer === 'b' ? await this.#isMoved(before, now, page, signal) : await this.#isMoved(now, before, page, signal);
    const leaves = this.#maps.differing(a, b, Math.floor(fromBlock / LEAF_BLOCKS), signal);
    for await (const pair of leaves)
      for await (const block of changedBlocksOfLeaf(pair, isMoved)) if (block.block >= fromBlock) yield block;
  }

  /** The first blocks from `fromBlock` on in which a page is mapped, ascending, `max` at most; looks no further than 4 MiB on. */
  async writtenNear(root: NodePointer | null, fromBlock: number, max: number, signal?: AbortSignal): Promise<number[]> {
    const blocks: number[] = [];
    const first = Math.floor(fromBlock / LEAF_BLOCKS);
    for (let leaf = first; leaf <= first + 1 && leaf < LEAVES && blocks.length < max; leaf++) {
      const runs = await this.#maps.leafAt(root, leaf, signal);
      for (const block of writtenBlocksOfLeaf(leaf, runs)) if (block >= fromBlock) blocks.push(block);
    }
    return blocks.slice(0, max);
  }

  /** Whether gc has moved the page from the one place to the other. */
  async #isMoved(older: LeafRun, newer: LeafRun, page: number, signal?: AbortSignal): Promise<boolean> {
    if (uploadOfKey(newer.source.key) !== undefined) return false;
    const index = await this.#segments.index(newer.source, signal);
    if (index.footer.keepsContents !== true) return false;
    const [hash, before] = await Promise.all([
      this.#pageHash(newer, page, signal),
      this.#pageHash(older, page, signal),
    ]);
    return hash.equals(before);
  }

  async #pageHash(run: LeafRun, page: number, signal?: AbortSignal): Promise<Buffer> {
    const index = await this.#segments.index(run.source, signal);
    const hashes = await this.#segments.pageHashes(run.source, signal);
    const at = (index.frame(run.frame).hashIndex + run.slot + page - run.page) * PAGE_HASH_BYTES;
    return hashes.subarray(at, at + PAGE_HASH_BYTES);
  }

  /** All 512 KiB of a block, and their SHA-256; zeroes where nothing is mapped. The caller owns the buffer. @throws corrupt */
  async read(root: NodePointer | null, block: number, signal?: AbortSignal): Promise<ReadBlock> {
    const firstPage = (block % LEAF_BLOCKS) * API_BLOCK_PAGES;
    const leaf = await this.#maps.leafAt(root, Math.floor(block / LEAF_BLOCKS), signal);
    const runs = leaf.flatMap((run) => cutRun(run, firstPage, firstPage + API_BLOCK_PAGES));
    const bySource = [...Map.groupBy(runs, ({ source }) => source.segmentId + source.key).values()];
    const parts = await Promise.all(bySource.map(async (ofSource) => await this.#open(block, ofSource, signal)));
    const out = (parts.length === 1 ? parts[0]?.asItIs : undefined) ?? Buffer.alloc(API_BLOCK_BYTES);
    for (const part of parts) if (part.asItIs !== out) await this.#fill(out, firstPage, part);
    const sha256 = hash('sha256', out, 'hex');
    for (const { whole } of parts)
      if (whole !== undefined && whole.sha256 !== sha256) throw damaged(whole.key, NOT_AS_WRITTEN);
    return { bytes: out, sha256 };
  }

  /** Opens the segment that these runs of a block, one at least, are of. */
  async #open(block: number, runs: readonly LeafRun[], signal?: AbortSignal): Promise<BlockPart> {
    const source = runs[0]?.source;
    assert(source !== undefined, 'a part of a block has a run');
    const pages = runs.reduce((sum, { count }) => sum + count, 0);
    const isUpload = uploadOfKey(source.key) !== undefined;
    const segment =
      isUpload && pages > API_BLOCK_PAGES / 2
        ? await this.#wholeUpload(source, signal)
        : await this.#partOf(source, signal);
    const { upload, pageHashes } = segment.index.footer;
    // All that was written with it, and nothing else, is in the block: its SHA-256 is known.
    const isWhole = upload !== undefined && pages === pageHashes.count && upload.block === block;
    if (!isWhole) return { source, segment, runs };
    return { source, segment, runs, whole: { key: source.key, sha256: upload.sha256 }, asItIs: asItIs(segment) };
  }

  async #fill(out: Buffer, firstPage: number, { source, segment, runs, whole }: BlockPart): Promise<void> {
    const frames = [...Map.groupBy(runs, ({ frame }) => frame)].map(([frame, ofFrame]) => ({
      ...{ entry: segment.index.frame(frame), opening: segment.index.opening(frame), runs: ofFrame },
    }));
    for (const span of spansOfFrames(frames, SPANS)) {
      const bytes = await segment.read(span.offset, span.length);
      for (const { entry, opening, runs: ofFrame } of span.frames) {
        const stored = bytes.subarray(entry.offset - span.offset, entry.offset - span.offset + entry.storedLength);
        const hashes = whole === undefined ? hashesOf(segment.hashes, entry) : null;
        const raw = decodeFrameInPlace(source.key, entry, stored, hashes, opening);
        for (const run of ofFrame) copyRun(source.key, raw, run, out, firstPage);
      }
    }
  }

  async #partOf(source: SegmentRef, signal?: AbortSignal): Promise<OpenSegment> {
    const index = await this.#segments.index(source, signal);
    return {
      index,
      hashes: await this.#segments.pageHashes(source, signal),
      read: async (offset, length) => await this.#segments.readSpan(source, offset, length, signal),
    };
  }

  /** An object of an uploaded block is wanted whole, once: one request, and nothing of it is kept. */
  async #wholeUpload(source: SegmentRef, signal?: AbortSignal): Promise<OpenSegment> {
    if (this.#reading.keys !== undefined) return await this.#partOf(source, signal);
    const object = await this.#reading.objects.get(source.key, withSignal(signal));
    if (object === undefined) throw missing(source.key);
    const { bytes } = object;
    const parsed = parseSegmentTail(source.key, bytes, bytes.length);
    if (!('index' in parsed)) throw damaged(source.key, 'it is cut short');
    const { index } = parsed;
    const { segmentId } = index.footer;
    if (segmentId !== source.segmentId)
      throw damaged(source.key, `it is segment ${segmentId}, not ${source.segmentId}`);
    const read = (offset: number, length: number): Promise<Buffer> =>
      Promise.resolve(bytes.subarray(offset, offset + length));
    return { index, hashes: pageHashesOf(source.key, bytes, index), read, bytes };
  }
}

export interface ReadBlock {
  readonly bytes: Buffer;
  /** Hex. */
  readonly sha256: string;
}

interface WrittenWhole {
  readonly key: string;
  readonly sha256: string;
}

const NOT_AS_WRITTEN = 'its block is not as it was written';

interface OpenSegment {
  readonly index: SegmentIndex;
  readonly hashes: Buffer;
  readonly read: (offset: number, length: number) => Promise<Buffer>;
  /** All of it, where it was read whole. */
  readonly bytes?: Buffer;
}

/** What of a block lies in one segment. */
interface BlockPart {
  readonly source: SegmentRef;
  readonly segment: OpenSegment;
  readonly runs: readonly LeafRun[];
  /** What the whole block must be, where that stands for checking its pages. */
  readonly whole?: WrittenWhole;
  /** The block, where it stands in the object as it is. */
  readonly asItIs?: Buffer | undefined;
}

/** The bytes of a block that did not shrink: its frames stand one after the other as they were written. */
function asItIs({ index, bytes }: OpenSegment): Buffer | undefined {
  if (bytes === undefined || index.frameCount !== API_BLOCK_BYTES / BLOCK_BYTES) return undefined;
  const first = index.frame(0);
  for (let i = 0; i < index.frameCount; i++) {
    const { codec, block, offset, storedLength } = index.frame(i);
    const isNext = block === first.block + i && offset === first.offset + i * BLOCK_BYTES;
    if (codec !== CODECS.none || storedLength !== BLOCK_BYTES || !isNext) return undefined;
  }
  return bytes.subarray(first.offset, first.offset + API_BLOCK_BYTES);
}

const hashesOf = (hashes: Buffer, { hashIndex, mask }: FrameEntry): Buffer =>
  hashes.subarray(hashIndex * PAGE_HASH_BYTES, (hashIndex + popcount16(mask)) * PAGE_HASH_BYTES);

function copyRun(key: string, raw: Buffer, run: LeafRun, out: Buffer, firstPage: number): void {
  const from = run.slot * PAGE_BYTES;
  const length = run.count * PAGE_BYTES;
  if (from + length > raw.length) throw damaged(key, `its frame ${String(run.frame)} has too few pages for the map`);
  raw.copy(out, (run.page - firstPage) * PAGE_BYTES, from, from + length);
}
