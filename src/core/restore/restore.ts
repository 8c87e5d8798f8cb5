/**
 * The restore of one image, as long as it runs: what serves it and what fills it.
 *
 * States: open -> running -> completed | failed; closed from any. Invariants: `onFinishing` has resolved before the last mark is
 * overwritten, and `onCompleted` is called after the sync that follows; so an image without a mark whose restore is not said to
 * be finishing is not the image of that restore.
 */
import type { BlockDevice } from '../blockdevice/index.ts';
import type { ImageFile } from '../image/index.ts';
import { toSgwError, type Clock, SgwError } from '../kit/index.ts';
import { Background } from './background.ts';
import { fetchPieces } from './block-content.ts';
import { BlockTree } from './block-tree.ts';
import { Demand } from './demand.ts';
import { Blocks, MARK_PAGE_BYTES, type TreeGeometry } from './geometry.ts';
import { Marks, type MarkSecret } from './marks.ts';
import { Pace } from './pace.ts';
import { RestoringDevice } from './restoring-device.ts';
import { Rounds } from './rounds.ts';
import { SharedSync } from './shared-sync.ts';

const RETRY_MS = 5000;

export interface RestoreParts {
  /** Stays the caller's to close. */
  readonly image: ImageFile;
  /** The snapshot; stays the caller's to close. */
  readonly source: BlockDevice;
  readonly geometry: TreeGeometry;
  readonly secret: MarkSecret;
  readonly clock: Clock;
  /** Blocks to restore first. */
  readonly profile?: readonly number[] | undefined;
  /** Bytes of the image that the background restores in a second; undefined: as fast as it goes. */
  readonly rateBytes?: number | undefined;
  /** To guests: then a store that is out of reach, or a full disk, is waited out, and the background lets the first guests go before. */
  readonly isServed: boolean;
  /** Makes it durable that the image may have no mark any more. May be called more than once. */
  readonly onFinishing: () => Promise<void>;
  /** Everything is on the disk. Gets the order of first touches. */
  readonly onCompleted: (profile: readonly number[]) => Promise<void>;
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
}

export interface RestoreProgress {
  readonly isCompleted: boolean;
  /** As far as known: after a resume, what was restored before is found by and by. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Until all is restored, if it goes on as lately; null while that is not known. */
  readonly leftMs: number | null;
  /** Reads that were answered from the snapshot, and the milliseconds that they took in all. */
  readonly demandReads: number;
  readonly demandReadMs: number;
  /** Why it does not go on, or waits. */
  readonly failure: SgwError | undefined;
}

/** Makes `image` one that is not restored anywhere: durable when it resolves. One too small for marks is restored at once. */
export async function beginImage(
  parts: Pick<RestoreParts, 'image' | 'source' | 'geometry' | 'secret'>,
  signal: AbortSignal,
): Promise<void> {
  const { image, source, geometry, secret } = parts;
  if (new Blocks(geometry).count > 0) {
    const page = Buffer.alloc(MARK_PAGE_BYTES);
    new Marks(secret).of(0).copy(page);
    image.write(0, page);
  } else {
    for (const { at, length, data } of await fetchPieces(source, 0, geometry.sizeBytes, signal)) {
      if (data === undefined) image.zero(at, length, true);
      else image.write(at, data);
    }
  }
  await image.sync();
}

export class Restore {
  readonly device: RestoringDevice;
  readonly #parts: RestoreParts;
  readonly #tree: BlockTree;
  readonly #demand: Demand;
  readonly #pace: Pace;
  readonly #rounds: Rounds;
  readonly #syncs: SharedSync;
  readonly #background: Background;
  readonly #closing = new AbortController();
  #finishing: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  #isCompleted = false;
  #failure: SgwError | undefined;

  constructor(parts: RestoreParts) {
    const { image, source, clock } = parts;
    this.#parts = parts;
    const blocks = new Blocks(parts.geometry);
    const marks = new Marks(parts.secret);
    this.#tree = new BlockTree({ blocks, marks, image });
    this.#demand = new Demand(clock);
    this.#pace = new Pace(clock);
    this.#syncs = new SharedSync(image);
    this.#rounds = new Rounds({
      tree: this.#tree,
      marks,
      image,
      syncs: this.#syncs,
      source,
      beforeLast: async () => this.#finish(),
    });
    this.#background = new Background({
      tree: this.#tree,
      rounds: this.#rounds,
      demand: this.#demand,
      source,
      clock,
      profile: parts.profile ?? [],
      rateBytes: parts.rateBytes,
      isServed: parts.isServed,
      onProgress: () => {
        this.#pace.note(this.#tree.restoredBytes);
        parts.onProgress?.(this.#tree.restoredBytes, blocks.sizeBytes);
      },
    });
    this.device = new RestoringDevice({
      tree: this.#tree,
      marks,
      rounds: this.#rounds,
      demand: this.#demand,
      image,
      source,
      syncs: this.#syncs,
      clock,
      closing: this.#closing.signal,
    });
  }

  /** How often the image was written to, but for what goes through `device`. */
  get writes(): number {
    return this.#rounds.writes;
  }

  get progress(): RestoreProgress {
    const { reads, readMs } = this.#demand.stats;
    const { blocks } = this.#tree;
    return {
      isCompleted: this.#isCompleted,
      doneBytes: blocks.count === 0 ? blocks.sizeBytes : this.#tree.restoredBytes,
      totalBytes: blocks.sizeBytes,
      leftMs: this.#pace.leftMs(blocks.count === 0 ? 0 : blocks.sizeBytes - this.#tree.restoredBytes),
      demandReads: reads,
      demandReadMs: readMs,
      failure: this.#failure ?? this.#background.failure,
    };
  }

  /** Restores everything; completed when it resolves. To be called once. @throws what ended it; the signal's reason */
  async run(signal?: AbortSignal): Promise<void> {
    const either = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    this.#running = this.#complete(either);
    try {
      await this.#running;
    } catch (error) {
      this.#failure = toSgwError(error);
      throw error;
    }
  }

  async #complete(signal: AbortSignal): Promise<void> {
    await this.#background.run(signal);
    await this.#finish();
    await this.#syncs.sync();
    for (;;) {
      try {
        await this.#parts.onCompleted(this.#demand.profile);
        break;
      } catch (error) {
        if (!this.#parts.isServed || !toSgwError(error).retryable) throw error;
        this.#failure = toSgwError(error);
        await this.#parts.clock.sleep(RETRY_MS, signal);
      }
    }
    this.#failure = undefined;
    this.#isCompleted = true;
    this.device.becomePlain();
  }

  async #finish(): Promise<void> {
    this.#finishing ??= this.#parts.onFinishing().catch((error: unknown) => {
      this.#finishing = undefined;
      throw error;
    });
    await this.#finishing;
  }

  /** Ends it where it is; it can be resumed. Nothing uses image or snapshot when it resolves. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort(new SgwError('aborted', 'restore-closed', 'the restore was ended, and can be resumed'));
    await this.#running?.catch(() => undefined);
    await this.#rounds.settle();
  }
}
