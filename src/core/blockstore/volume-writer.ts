/**
 * The one writer of a volume under one epoch (C1-C4, docs/adr/0002-fence-window.md).
 *
 * States: open -> closed, or open -> failed (fenced, or a store call failed): a failed writer writes nothing more and
 * leaves the head as it is, so that the next opening replays and fences.
 * Invariants: at most COMMIT_WINDOW seqs above the last committed one are under way; commits are applied to the map
 * in order of seq; the map at a checkpoint is exactly the log up to its seq.
 */
import type { KeyObject } from 'node:crypto';
import { Semaphore, assert, type VolumeId } from '../kit/index.ts';
import { bodyPieces, type PutBody } from '../objectstore/index.ts';
import { damaged } from './damage.ts';
import { COMMIT_WINDOW, checkVolumeSize, pagesOf } from './geometry.ts';
import { readDocument } from './documents.ts';
import { OwnedHead, closed, fencedByOther, fencedOr, type Head } from './head.ts';
import { keys } from './keys.ts';
import { advance, readLogEntry, type LogPosition } from './log-reader.ts';
import { encodeMap, type Checkpoint, type EncodedMap } from './map-object.ts';
import {
  withSignal,
  type BlockStoreOptions,
  type Cancellable,
  type InSyncWriter,
  type WriterOptions,
} from './options.ts';
import { creatorSet } from './node-codec.ts';
import type { PageMap } from './page-map.ts';
import { requirePresent } from './presence.ts';
import { recorded } from './recovery-points.ts';
import type { RecoveryPolicy } from './recovery-policy.ts';
import { SALT_BYTES } from './sealing/aead.ts';
import { dataKeyOf } from './sealing/volume-keys.ts';
import { cutTailPage } from './tail-page.ts';
import { sealSegment, type EncodedFrames, type SealedSegment } from './segment-codec.ts';
import type { PageExtent, RecordSpan, SegmentFooter } from './segment-index.ts';
import { readSegmentIndex, type SegmentReader } from './segment-reader.ts';
import { checkEpoch, replayLog, type Replayed } from './volume-view.ts';

/** Segments after which a checkpoint is made, so that an opening replays few. */
const CHECKPOINT_SEGMENTS = 64;
/** Changed leaves after which one is made, so that memory is bounded: 64 MiB. */
const CHECKPOINT_LEAVES = 8192;

const TRUST_MS = 60 * 60_000;

export interface Batch {
  readonly encoded: readonly EncodedFrames[];
  /** Pages that become zeroes; they must not overlap the frames. */
  readonly unmap?: readonly PageExtent[];
  /** The volume's size from this commit on. */
  readonly sizeBytes?: number;
  /** True when the state after this commit is one that the volume really had (C7). */
  readonly consistent: boolean;
  /** Creator sets that the frames' `creators` number; the writer's account alone when absent. */
  readonly creators?: readonly (readonly string[])[];
  /** The records of the local log that it holds (C4); absent or null when it is not made of a log. */
  readonly records?: RecordSpan | null;
  /** Set when the volume reads after it as before: the store's position in a local log stays what it is. */
  readonly keepsContents?: true;
  /**
   * Runs in commit order, once this commit is applied, as the segment of that id, and before the next one is; may call
   * `checkpointHere`. Its failure fails the writer.
   */
  readonly onApplied?: (segmentId: string) => Promise<void>;
}

/**
 * Opens a volume for writing: next epoch, replay, and, where the last holder did not close it, fences. An opening that fails
 * gives back what it found closed.
 * @throws conflict `volume-held`, `volume-in-group`, `not-in-sync`; fenced when another opening is faster; notFound `volume-not-found` when it is deleted; corrupt
 */
export async function openVolumeWriter(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  how: WriterOptions,
): Promise<VolumeWriter> {
  const askedMs = options.clock.nowMs();
  const { head, unclean, fromOther } = await OwnedHead.acquire(options, volumeId, how);
  const takesOver = unclean && (how.takeOver === true || (how.condition !== undefined && fromOther));
  try {
    await requirePresent(options, volumeId, how.signal);
    return await startWriter(options, volumeId, { ...how, takesOver, sureSinceMs: askedMs }, head, unclean);
  } catch (error) {
    // Nothing was written under this epoch: the volume is given back as it was found, so that others can open it.
    if (!unclean) await head.change((now) => ({ ...now, holder: null, inSync: [] })).catch(() => undefined);
    throw await fencedOr(options, volumeId, head.value.epoch, error, how.signal);
  }
}

async function startWriter(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  how: WriterOptions & { readonly takesOver: boolean; readonly sureSinceMs: number },
  head: OwnedHead,
  unclean: boolean,
): Promise<VolumeWriter> {
  const replayed = await replayLog(options, volumeId, head.value.checkpoint, Number.MAX_SAFE_INTEGER, how.signal);
  await checkEpoch(options, volumeId, head.value, replayed.position, how.signal);
  // The epoch was taken a moment ago; nobody can have written under it, unless the head was an older version of itself.
  if (replayed.position.epoch === head.value.epoch)
    throw damaged(keys.head(volumeId), `epoch ${String(head.value.epoch)} is in the log already`);
  // A newer opening has put its fences already: what would be committed behind them is void, though nothing refuses it.
  if (replayed.position.epoch > head.value.epoch)
    throw await fencedByOther(options, volumeId, head.value.epoch, how.signal);
  const dataKey = await dataKeyOf(options, volumeId, how.signal);
  const writer = new VolumeWriter(options, volumeId, { ...how, dataKey }, head, replayed);
  if (unclean) await writer.fence(how.signal);
  // What the last holder has acknowledged and not uploaded can be put upon this state later on.
  if (how.takesOver && how.recovery !== undefined) await writer.markTakeOver(how.signal);
  return writer;
}

export class VolumeWriter implements InSyncWriter, AsyncDisposable {
  readonly volumeId: VolumeId;
  readonly map: PageMap;
  readonly segments: SegmentReader;
  readonly #options: BlockStoreOptions;
  readonly #accountId: string;
  /** What the volume's segments and map are sealed with; undefined in a store without a key. */
  readonly #dataKey: KeyObject | undefined;
  readonly #head: OwnedHead;
  readonly #window = new Semaphore(COMMIT_WINDOW);
  #committed: LogPosition;
  #sizeBytes: number;
  #consistent: boolean;
  /** The seq, hash, time and size that the next sealed segment follows. */
  #sealed: { seq: number; hash: string; commitTimeMs: number; sizeBytes: number };
  /** Resolves when everything sealed so far is committed and applied. */
  #tail: Promise<void> = Promise.resolve();
  /** Whether the newest commit that was asked for, done or not, is a consistent one. */
  #lastAskedConsistent: boolean;
  /** A map object whose PUT is not settled: the same bytes are sent again (C3), since sealing twice gives others. */
  #unsettled: { readonly seq: number; readonly encoded: EncodedMap } | undefined;
  readonly #trustMs: number;
  /** Of the checkpoints to come; see `WriterOptions.recovery`. */
  recovery: RecoveryPolicy | undefined;
  /** When it was last asked whether this epoch is the volume's newest, and it was. */
  #sureSinceMs: number;
  #failure: unknown;
  #closed = false;

  constructor(
    options: BlockStoreOptions,
    volumeId: VolumeId,
    how: WriterOptions & { readonly dataKey: KeyObject | undefined; readonly sureSinceMs: number },
    head: OwnedHead,
    state: Replayed,
  ) {
    this.#options = options;
    this.volumeId = volumeId;
    this.#accountId = how.accountId;
    this.#dataKey = how.dataKey;
    this.#trustMs = how.trustMs ?? TRUST_MS;
    this.recovery = how.recovery;
    this.#sureSinceMs = how.sureSinceMs;
    this.#head = head;
    this.map = state.map;
    this.segments = state.segments;
    this.#committed = state.position;
    this.#sizeBytes = state.sizeBytes;
    this.#consistent = state.consistent;
    this.#lastAskedConsistent = state.consistent;
    this.#sealed = sealedAt(state.position, state.sizeBytes);
  }

  get epoch(): number {
    return this.#head.value.epoch;
  }

  get inSync(): readonly string[] {
    return this.#head.value.inSync;
  }

  async setInSync(members: readonly string[], signal?: AbortSignal): Promise<void> {
    assert(!this.#closed, 'the writer is open');
    await this.#head.change((head) => ({ ...head, inSync: [...members] }), signal);
  }

  /** The last committed seq. */
  get seq(): number {
    return this.#committed.seq;
  }

  /** What the newest data segment that changed contents says of the local log that it was made of (C4). */
  get logPosition(): { readonly dataSeq: number; readonly records: RecordSpan | null } {
    return this.#committed;
  }

  /** Size of the volume as of the last committed segment. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** True when the last committed state is one that the volume really had. */
  get consistent(): boolean {
    return this.#consistent;
  }

  /**
   * Fences the previous holder: at the first absent seq, adopting segments of his that are found there, and then over
   * the window in which PUTs of his may still arrive. Called once, before the first commit.
   */
  async fence(signal?: AbortSignal): Promise<void> {
    while (!(await this.#putFence(signal))) await this.#stepOver(signal);
    for (let placed = 1; placed < COMMIT_WINDOW; placed++) {
      if (!(await this.#putFence(signal))) await this.#stepOver(signal);
    }
  }

  async #putFence(signal?: AbortSignal): Promise<boolean> {
    const sealed = this.#seal({ encoded: [], consistent: false }, 'fence');
    const stored = await this.#put(sealed, signal);
    if (stored) this.#committed = advance(this.#committed, { void: false, index: sealed.index });
    this.#sealed = sealedAt(this.#committed, this.#sizeBytes);
    return stored;
  }

  /** Reads what stands where a fence was refused: applies it if it belongs to the log, passes it if it is void. */
  async #stepOver(signal?: AbortSignal): Promise<void> {
    const entry = await readLogEntry(this.#options, this.volumeId, this.#committed, signal);
    if (entry === undefined)
      throw damaged(keys.log(this.volumeId, this.#committed.seq + 1), 'it was refused as present, and is absent');
    if (!entry.void) {
      if (entry.index.footer.epoch > this.epoch)
        throw await fencedByOther(this.#options, this.volumeId, this.epoch, signal);
      await this.#apply(entry.index.footer, () => this.map.applySegment(entry.index, signal));
      this.#lastAskedConsistent = this.#consistent;
    }
    this.#committed = advance(this.#committed, entry);
    this.#sealed = sealedAt(this.#committed, this.#sizeBytes);
  }

  /**
   * Commits a batch as one segment. Resolves when it and all before it are durable in the store and applied to the
   * map. Waits while COMMIT_WINDOW commits are under way; commits take effect in the order of the calls. Before the first
   * of a run of inconsistent commits, the last consistent state gets a checkpoint that the head keeps (C7).
   * @throws invalid `bad-volume-size`; fenced; whatever the store throws; after a failure, the same error for every later call
   */
  async commit(batch: Batch, { signal }: Cancellable = {}): Promise<void> {
    if (batch.sizeBytes !== undefined) checkVolumeSize(batch.sizeBytes);
    const beginsRun = this.#lastAskedConsistent && !batch.consistent;
    this.#lastAskedConsistent = batch.consistent;
    let release: (() => void) | undefined;
    try {
      release = await this.#window.acquire(beginsRun ? COMMIT_WINDOW : 1, signal);
      this.#checkUsable();
      if (beginsRun && this.#consistent) await this.#checkpoint(signal);
      await this.#commitNow(batch, signal);
    } catch (error) {
      // The commits behind it rely on the checkpoint that was to come before it.
      if (beginsRun) this.#failure ??= error;
      throw error;
    } finally {
      release?.();
    }
  }

  /** To be called with a place in the window. */
  async #commitNow(batch: Batch, signal?: AbortSignal): Promise<void> {
    const sealed = this.#seal(batch, 'data');
    const before = this.#tail;
    const put = this.#put(sealed, signal);
    this.#tail = this.#finish(sealed, batch.onApplied, put, before, signal);
    // Failures reach the caller through the await below; a later commit also sees them in `#failure`.
    this.#tail.catch(() => undefined);
    await this.#tail;
  }

  /** Holds the whole window while `work` runs: every commit asked for before is settled, later ones wait. */
  async #alone(work: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    const release = await this.#window.acquire(COMMIT_WINDOW, signal);
    try {
      await work();
    } finally {
      release();
    }
  }

  async #finish(
    sealed: SealedSegment,
    onApplied: Batch['onApplied'],
    put: Promise<boolean>,
    before: Promise<void>,
    signal?: AbortSignal,
  ): Promise<void> {
    try {
      const [stored] = await Promise.all([put, before]);
      if (!stored) throw await this.#refused(sealed.index.key, signal);
      await this.#makeSure(signal);
      await this.#apply(sealed.index.footer, () => this.map.applySegment(sealed.index, signal));
      this.segments.remember(sealed.index);
      this.#committed = advance(this.#committed, { void: false, index: sealed.index });
      this.#options.witness?.saw(keys.logOf(this.volumeId), this.#committed.seq);
      await onApplied?.(sealed.index.footer.segmentId);
      if (this.#checkpointDue()) await this.#checkpoint(signal);
    } catch (error) {
      this.#failure ??= error;
      const told = await fencedOr(this.#options, this.volumeId, this.epoch, error, signal);
      if (this.#failure === error) this.#failure = told;
      throw told;
    }
  }

  /**
   * What keeps a writer of before from committing stands in the log, and goes when the volume was deleted and is purged.
   * So one that has stalled for long asks after its commit, and before it acknowledges, whether its epoch is still the newest.
   */
  async #makeSure(signal?: AbortSignal): Promise<void> {
    if (Math.abs(this.#options.clock.nowMs() - this.#sureSinceMs) < this.#trustMs) return;
    await this.requireHeld(signal);
  }

  /** Asks the store whether this writer has the volume still. @throws fenced when another opening has taken it over */
  async requireHeld(signal?: AbortSignal): Promise<void> {
    const nowMs = this.#options.clock.nowMs();
    const now = await readDocument<Head>(this.#options, keys.head(this.volumeId), signal);
    if (now?.value.epoch !== this.epoch) throw await fencedByOther(this.#options, this.volumeId, this.epoch, signal);
    this.#sureSinceMs = nowMs;
  }

  async #apply(footer: SegmentFooter, applyToMap: () => Promise<void>): Promise<void> {
    await applyToMap();
    if (footer.kind !== 'data') return;
    this.#sizeBytes = footer.sizeBytes;
    this.#consistent = footer.consistent;
  }

  #seal(batch: Batch, kind: 'data' | 'fence'): SealedSegment {
    const previous = this.#sealed;
    const seq = previous.seq + 1;
    const commitTimeMs = Math.max(this.#options.clock.nowMs(), previous.commitTimeMs);
    const sizeBytes = batch.sizeBytes ?? previous.sizeBytes;
    const facts = {
      kind,
      volumeId: this.volumeId,
      seq,
      epoch: this.epoch,
      segmentId: this.#options.random.bytes(16).toString('hex'),
      commitTimeMs,
      prevHash: previous.hash,
      sizeBytes,
      consistent: batch.consistent,
      records: kind === 'fence' ? null : (batch.records ?? null),
      ...(batch.keepsContents === true ? { keepsContents: true as const } : {}),
      creators: kind === 'fence' ? [] : (batch.creators ?? [[this.#accountId]]).map((set) => creatorSet(set)),
    };
    const seal = this.#dataKey && { dataKey: this.#dataKey, salt: this.#options.random.bytes(SALT_BYTES) };
    const sealed = sealSegment(keys.log(this.volumeId, seq), facts, batch.encoded, batch.unmap ?? [], seal);
    this.#sealed = { seq, hash: sealed.index.hash, commitTimeMs, sizeBytes };
    return sealed;
  }

  /** Creates the segment's object. False when another one stands there. */
  async #put({ index, body }: SealedSegment, signal?: AbortSignal): Promise<boolean> {
    return await this.#putOnce(index.key, body, signal);
  }

  /** Creates an object. False when another one stands there. */
  async #putOnce(key: string, body: PutBody, signal?: AbortSignal): Promise<boolean> {
    const { objects } = this.#options;
    const result = await objects.put(key, body, { condition: { ifAbsent: true }, ...withSignal(signal) });
    if (result.outcome === 'stored') return true;
    // An earlier try of these same bytes may have been applied although its reply was lost (C3).
    const there = await objects.get(key, withSignal(signal));
    return there !== undefined && isBody(there.bytes, bodyPieces(body));
  }

  async #refused(key: string, signal?: AbortSignal): Promise<Error> {
    const other = await readSegmentIndex(this.#options, key, signal);
    if (other === undefined) return damaged(key, 'it was refused as present, and is absent');
    if (other.footer.epoch > this.epoch) return await fencedByOther(this.#options, this.volumeId, this.epoch, signal);
    return damaged(
      key,
      `an object of epoch ${String(other.footer.epoch)} stands where epoch ${String(this.epoch)} commits`,
    );
  }

  #checkUsable(): void {
    if (this.#failure !== undefined) throw this.#failure as Error;
    assert(!this.#closed, 'the writer is open');
  }

  #checkpointDue(): boolean {
    return (
      this.map.dirtyLeaves >= CHECKPOINT_LEAVES ||
      this.#committed.seq - this.#head.value.checkpoint.seq >= CHECKPOINT_SEGMENTS
    );
  }

  /** Waits for the commits asked for before, then stores what changed in the map. Durable when it resolves. */
  async checkpoint({ signal }: Cancellable = {}): Promise<void> {
    await this.#alone(async () => {
      this.#checkUsable();
      await this.#checkpoint(signal);
    }, signal);
  }

  /** Makes the state that was found, behind the fences, a recovery point that is kept for long. Called before the first commit. */
  async markTakeOver(signal?: AbortSignal): Promise<void> {
    await this.#checkpoint(signal, true);
  }

  /** As `checkpoint`, for use inside a batch's `onApplied` only: of exactly that commit. Returns what the head has then. */
  async checkpointHere({ signal }: Cancellable = {}): Promise<Checkpoint> {
    await this.#checkpoint(signal);
    return this.#head.value.checkpoint;
  }

  async #checkpoint(signal?: AbortSignal, isTakeOver = false): Promise<void> {
    const { seq, epoch, logHash, commitTimeMs, dataSeq, records } = this.#committed;
    if (seq === this.#head.value.checkpoint.seq) return;
    const key = keys.checkpoint(this.volumeId, seq);
    const log = { seq, epoch, logHash, commitTimeMs, dataSeq, records };
    const facts = { ...log, sizeBytes: this.#sizeBytes, consistent: this.#consistent };
    if (this.#unsettled?.seq !== seq) this.#unsettled = { seq, encoded: this.#encodeMap(key, facts) };
    const { encoded } = this.#unsettled;
    // Fences keep other epochs' seqs apart, so nobody else makes an object under this key.
    if (!(await this.#putOnce(key, encoded.body, signal)))
      throw damaged(key, 'it belongs to another history of the volume');
    await this.#head.change(
      (head) => ({
        ...recorded(head, encoded.checkpoint, this.recovery, this.#options.clock.nowMs(), isTakeOver),
        checkpoint: encoded.checkpoint,
        consistent: encoded.checkpoint.consistent ? encoded.checkpoint : head.consistent,
      }),
      signal,
    );
    encoded.confirm();
    this.#unsettled = undefined;
  }

  #encodeMap(key: string, facts: Omit<Checkpoint, 'root' | 'mappedPages'>): EncodedMap {
    const seal = this.#dataKey && { volumeId: this.volumeId, dataKey: this.#dataKey, random: this.#options.random };
    return encodeMap(this.map, key, this.volumeId, facts, seal);
  }

  /**
   * Changes the volume's size, as one consistent commit. Shrinking unmaps the tail and zeroes the rest of the last
   * page, so that growing again reads zeroes (C9).
   */
  async resize(sizeBytes: number, { signal }: Cancellable = {}): Promise<void> {
    checkVolumeSize(sizeBytes);
    await this.#alone(async () => {
      this.#checkUsable();
      await this.#resizeNow(sizeBytes, signal);
    }, signal);
  }

  async #resizeNow(sizeBytes: number, signal?: AbortSignal): Promise<void> {
    const oldPages = pagesOf(this.#sizeBytes);
    const pages = pagesOf(sizeBytes);
    const unmap = pages < oldPages ? [{ firstPage: pages, pageCount: oldPages - pages }] : [];
    const cut = sizeBytes < this.#sizeBytes ? await cutTailPage(this, sizeBytes, this.#accountId, signal) : undefined;
    await this.#commitNow(
      { encoded: [], ...cut, unmap: [...(cut?.unmap ?? []), ...unmap], sizeBytes, consistent: this.#consistent },
      signal,
    );
  }

  /**
   * Waits for the commits asked for before, stores a checkpoint and gives the head back. Idempotent. After a failure it
   * throws that, and the head stays taken by this gateway.
   */
  async close({ signal }: Cancellable = {}): Promise<void> {
    await this.#alone(async () => {
      if (this.#closed && this.#failure === undefined) return;
      this.#checkUsable();
      await this.#checkpoint(signal);
      this.#closed = true;
      await this.#giveBack(signal);
    }, signal);
  }

  async #giveBack(signal?: AbortSignal): Promise<void> {
    try {
      await this.#head.change(closed, signal);
    } catch (error) {
      // It may have been given back all the same: then the next opening puts no fences, so nothing may follow.
      this.#failure ??= error;
      throw error;
    }
  }

  /** Waits for what is under way and lets go without writing anything. Idempotent. */
  async abandon(): Promise<void> {
    this.#closed = true;
    await this.#tail.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon();
  }
}

const sealedAt = (
  position: LogPosition,
  sizeBytes: number,
): { seq: number; hash: string; commitTimeMs: number; sizeBytes: number } => ({
  seq: position.seq,
  hash: position.logHash,
  commitTimeMs: position.commitTimeMs,
  sizeBytes,
});

/** Whether `bytes` are just these pieces, one after the other. */
function isBody(bytes: Buffer, pieces: readonly Uint8Array[]): boolean {
  let at = 0;
  for (const piece of pieces) {
    if (bytes.length < at + piece.length || bytes.compare(piece, 0, piece.length, at, at + piece.length) !== 0)
      return false;
    at += piece.length;
  }
  return at === bytes.length;
}
