/**
 * Rewriting (C12): commits the live pages of poor segments anew, so that gc can remove the segments as a whole. Done by the
 * volume's holder, as ordinary commits; only for segments that the head alone reaches, since what a snapshot shares
 * would only be stored twice. Contents, creators (C17) and page hashes stay; a diff shows nothing changed.
 */
import { Semaphore, throwIfAborted } from '../../kit/index.ts';
import { decodeFrame, FrameEncoder, blockViews } from '../frame-codec.ts';
import {
  BLOCK_BYTES,
  BLOCK_PAGES,
  PAGE_BYTES,
  PAGE_HASH_BYTES,
  SEGMENT_MAX_FRAMES,
  SEGMENT_TARGET_BYTES,
} from '../geometry.ts';
import { keys } from '../keys.ts';
import type { Creators } from '../node-codec.ts';
import { withSignal, type BlockStoreOptions, type Cancellable, type WriterOptions } from '../options.ts';
import type { PageRun } from '../page-map.ts';
import type { EncodedFrames } from '../segment-codec.ts';
import { popcount16 } from '../segment-index.ts';
import { readSegmentIndex, type SegmentReader } from '../segment-reader.ts';
import { openVolumeWriter, type VolumeWriter } from '../volume-writer.ts';
import type { VolumeId } from '../../kit/index.ts';
import type { OwnSegment } from './survey.ts';

const PARALLEL_READS = 8;
/** Segments in the making, one for each set of creators: a block has one frame in a segment, and a frame one set. */
const OPEN_SEGMENTS_MAX = 4;

export interface RewriteRequest extends WriterOptions {
  /** What a mark found that the head alone reaches. */
  readonly candidates: readonly OwnSegment[];
  /** The snapshots that the mark knew: one that is newer may share what it found. */
  readonly snapshotIds: ReadonlySet<string>;
}

export interface Rewritten {
  readonly segments: number;
  /** Of pages that were committed anew. */
  readonly bytes: number;
}

const NOTHING: Rewritten = { segments: 0, bytes: 0 };

/**
 * Rewrites the segments of a volume that are less than half live. Durable when it resolves; they are removed by gc.
 * @throws what opening and committing throw: conflict `volume-held`, fenced
 */
export async function rewriteVolume(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  request: RewriteRequest,
): Promise<Rewritten> {
  const poor = await findPoor(options, request.candidates, request.signal);
  if (poor.size === 0) return NOTHING;
  const writer = await openVolumeWriter(options, volumeId, request);
  try {
    // A state that nobody may see gets no commits on top; a newer snapshot shares what was found.
    const bytes =
      !writer.consistent || (await hasOtherSnapshots(options, request)) ? 0 : await rewrite(writer, poor, request);
    await writer.close();
    return bytes === 0 ? NOTHING : { segments: poor.size, bytes };
  } catch (error) {
    // Other gateways must not find it held by a gc that has ended. What was committed is whole.
    await writer.close().catch(() => undefined);
    throw error;
  } finally {
    await writer.abandon();
  }
}

async function hasOtherSnapshots(options: BlockStoreOptions, request: RewriteRequest): Promise<boolean> {
  for await (const id of options.objects.listFolders(keys.snapshots, withSignal(request.signal)))
    if (!request.snapshotIds.has(id)) return true;
  return false;
}

/** The keys of the segments of which less than half is live. */
async function findPoor(
  options: BlockStoreOptions,
  candidates: readonly OwnSegment[],
  signal?: AbortSignal,
): Promise<Set<string>> {
  const slots = new Semaphore(PARALLEL_READS);
  const poor = new Set<string>();
  await Promise.all(
    candidates.map(async ({ key, livePages }) => {
      const release = await slots.acquire(1, signal);
      try {
        const pages = (await readSegmentIndex(options, key, signal))?.footer.pageHashes.count ?? 0;
        if (livePages * 2 < pages) poor.add(key);
      } finally {
        release();
      }
    }),
  );
  return poor;
}

/** Returns the bytes of the pages that were committed. */
async function rewrite(writer: VolumeWriter, poor: ReadonlySet<string>, { signal }: Cancellable): Promise<number> {
  const packer = new Packer(writer, signal);
  for await (const { runs } of writer.map.leaves(withSignal(signal))) {
    const groups = new Map<string, PageRun[]>();
    for (const run of runs) {
      if (!poor.has(run.source.key)) continue;
      const name = `${String(Math.floor(run.page / BLOCK_PAGES))} ${run.source.creators.join()}`;
      groups.set(name, [...(groups.get(name) ?? []), run]);
    }
    for (const group of groups.values()) await packer.add(group);
  }
  await packer.finish();
  return packer.bytes;
}

interface OpenSegment {
  readonly creators: Creators;
  pieces: EncodedFrames[];
  storedBytes: number;
}

/** Packs frames into segments by their creators, and commits each segment when it is full. */
class Packer {
  bytes = 0;
  readonly #writer: VolumeWriter;
  readonly #signal: AbortSignal | undefined;
  readonly #open = new Map<string, OpenSegment>();

  constructor(writer: VolumeWriter, signal: AbortSignal | undefined) {
    this.#writer = writer;
    this.#signal = signal;
  }

  /** Takes runs of one block and one set of creators. */
  async add(runs: readonly PageRun[]): Promise<void> {
    const first = runs[0];
    if (first === undefined) return;
    const block = Buffer.alloc(BLOCK_BYTES);
    for (const run of runs) {
      const frame = await readFrame(this.#writer.segments, run, this.#signal);
      const from = run.slot * PAGE_BYTES;
      frame.copy(block, (run.page % BLOCK_PAGES) * PAGE_BYTES, from, from + run.count * PAGE_BYTES);
    }
    const encoder = new FrameEncoder();
    encoder.add(Math.floor(first.page / BLOCK_PAGES), blockViews(block));
    const piece = encoder.finish();
    this.bytes += piece.dataPages * PAGE_BYTES;
    await this.#append(first.source.creators, piece);
  }

  async #append(creators: Creators, piece: EncodedFrames): Promise<void> {
    const name = creators.join();
    const segment = this.#open.get(name) ?? { creators, pieces: [], storedBytes: 0 };
    this.#open.set(name, segment);
    segment.pieces.push(piece);
    segment.storedBytes += piece.stored.length;
    const isFull = segment.storedBytes >= SEGMENT_TARGET_BYTES || segment.pieces.length >= SEGMENT_MAX_FRAMES;
    if (isFull) await this.#commit(name);
    else if (this.#open.size > OPEN_SEGMENTS_MAX) await this.#commit(this.#largest());
  }

  #largest(): string {
    const [largest] = [...this.#open].sort(([, a], [, b]) => b.storedBytes - a.storedBytes);
    return largest?.[0] ?? '';
  }

  async finish(): Promise<void> {
    for (const name of [...this.#open.keys()]) await this.#commit(name);
  }

  async #commit(name: string): Promise<void> {
    const segment = this.#open.get(name);
    if (segment === undefined) return;
    this.#open.delete(name);
    const { pieces, creators } = segment;
    throwIfAborted(this.#signal);
    // Without the signal: a commit that is cut off leaves a writer that can't give the volume back.
    await this.#writer.commit({ encoded: pieces, consistent: true, creators: [creators], keepsContents: true });
  }
}

/** The pages of the frame that a run is in, checked against their hashes. */
async function readFrame(segments: SegmentReader, run: PageRun, signal?: AbortSignal): Promise<Buffer> {
  const { source, frame } = run;
  const index = await segments.index(source, signal);
  const entry = index.frame(frame);
  const stored = await segments.readSpan(source, entry.offset, entry.storedLength, signal);
  const hashes = await segments.pageHashes(source, signal);
  const at = entry.hashIndex * PAGE_HASH_BYTES;
  const own = hashes.subarray(at, at + popcount16(entry.mask) * PAGE_HASH_BYTES);
  return decodeFrame(source.key, entry, stored, own, index.opening(frame));
}
