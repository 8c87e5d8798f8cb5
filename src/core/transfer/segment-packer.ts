/**
 * Packs encoded frames, in the order given, into segments of about SEGMENT_TARGET_BYTES, and commits them.
 *
 * States: filling -> finished | failed. Invariants: at most COMMITS_MAX commits are under way; every commit but the
 * last is flagged inconsistent, and the last one is consistent, so a reader never takes a half import for a state
 * that the volume had (C7). A full batch is held back until it is known whether another follows.
 */
import { SEGMENT_TARGET_BYTES, type EncodedFrames, type PageExtent, type VolumeWriter } from '../blockstore/index.ts';
import { Semaphore, throwIfAborted } from '../kit/index.ts';

/** Commits under way at once: what a writer takes without waiting. */
const COMMITS_MAX = 4;
/** Frames of one segment; highly compressible data reaches this before the target in bytes. */
const BATCH_FRAMES_MAX = 4096;
const BATCH_UNMAPS_MAX = 16384;

interface Batch {
  readonly encoded: EncodedFrames[];
  readonly unmap: PageExtent[];
  storedBytes: number;
  frames: number;
}

const emptyBatch = (): Batch => ({ encoded: [], unmap: [], storedBytes: 0, frames: 0 });
const isEmpty = (batch: Batch): boolean => batch.encoded.length === 0 && batch.unmap.length === 0;
const isFull = (batch: Batch): boolean =>
  batch.storedBytes >= SEGMENT_TARGET_BYTES ||
  batch.frames >= BATCH_FRAMES_MAX ||
  batch.unmap.length >= BATCH_UNMAPS_MAX;

export class SegmentPacker {
  readonly #writer: VolumeWriter;
  readonly #sizeBytes: number;
  readonly #slots = new Semaphore(COMMITS_MAX);
  readonly #underWay = new Set<Promise<void>>();
  #batch = emptyBatch();
  #begun = false;
  #failure: { readonly error: unknown } | undefined;

  /** `sizeBytes`: the volume's size from the first commit on. */
  constructor(writer: VolumeWriter, sizeBytes: number) {
    this.#writer = writer;
    this.#sizeBytes = sizeBytes;
  }

  /** Adds what one task gave; waits while all commit slots are taken. @throws what a commit before threw */
  async add(encoded: EncodedFrames | undefined, unmap: readonly PageExtent[], signal?: AbortSignal): Promise<void> {
    const hasFrames = encoded !== undefined && encoded.frames.length > 0;
    const extents = [...unmap, ...(encoded?.zeroed ?? [])];
    if (!hasFrames && extents.length === 0) return;
    if (isFull(this.#batch)) await this.#commitInconsistent(signal);
    if (hasFrames) {
      this.#batch.encoded.push(encoded);
      this.#batch.storedBytes += encoded.stored.length;
      this.#batch.frames += encoded.frames.length;
    }
    this.#batch.unmap.push(...extents);
  }

  /** True when `finish` would commit something even if not forced. */
  get hasChanges(): boolean {
    return this.#begun || !isEmpty(this.#batch) || this.#sizeBytes !== this.#writer.sizeBytes;
  }

  /**
   * Commits the rest as the consistent end; with `force` also when nothing changed. Resolves when all is durable in the store.
   * @throws what a commit threw
   */
  async finish(options: { readonly force: boolean; readonly signal?: AbortSignal }): Promise<void> {
    if (this.hasChanges || options.force) await this.#commit(true, options.signal);
    await this.settle();
    this.#throwFailure();
  }

  /** Waits until no commit is under way. Never rejects. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #commitInconsistent(signal: AbortSignal | undefined): Promise<void> {
    this.#begun = true;
    await this.#commit(false, signal);
  }

  async #commit(consistent: boolean, signal: AbortSignal | undefined): Promise<void> {
    const release = await this.#slots.acquire(1, signal);
    if (this.#failure !== undefined || signal?.aborted === true) {
      release();
      this.#throwFailure();
      throwIfAborted(signal);
    }
    const { encoded, unmap } = this.#batch;
    this.#batch = emptyBatch();
    const commit = this.#writer
      .commit({ encoded, unmap, sizeBytes: this.#sizeBytes, consistent })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        release();
        this.#underWay.delete(commit);
      });
    this.#underWay.add(commit);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
