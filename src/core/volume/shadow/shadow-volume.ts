/**
 * A shadowing volume that is being served (DESIGN section 7): the image is the truth (C19). Reads pass through to it; writes go to
 * the image and to the write log, and from there into the store. The log is never replayed into the image.
 *
 * States: open -> failed (fenced, damaged, or the image is not what it was: nothing is acknowledged any more) ; open or failed
 * -> closed. While it is open, `phase` says how far the shadow is behind (`Follow`).
 * Invariants: a write is acknowledged only when the image and the log, or in pass-through the image, have it in the kernel's
 * page cache; what reaches both does so in one task of the event loop, so that overlapping writes reach them in one order; the
 * mark of a region is durable before the region is written; a flush has synced both.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import type { Completion, DeviceCall, DeviceExtent, WriteCall, ZeroCall } from '../../blockdevice/index.ts';
import { PAGE_BYTES } from '../../blockstore/index.ts';
import { MIB, SgwError, throwIfAborted, type VolumeId } from '../../kit/index.ts';
import type { PendingCreation, ServedSnapshot, ServedVolume, VolumeSettings, VolumeStats } from '../contract.ts';
import type { Counters } from '../counters.ts';
import { CallTimer, Forecast } from '../counters.ts';
import type { ShadowContent, ShadowImage } from './contract.ts';
import type { OnDrained } from '../drain-progress.ts';
import { statsOf } from '../stats.ts';
import { Follow } from './follow.ts';
import { imageExtents } from './image-extents.ts';
import type { ShadowParts } from './parts.ts';

/** Longer writes take several turns. */
const PIECE_BYTES = 8 * MIB;
const ZERO_PIECE_BYTES = 64 * MIB;
/** A record's header, and the pages at the ends of a write that are logged in whole. */
const COST_BYTES = 6 * PAGE_BYTES;

/**
 * Opens an image for serving, and its volume for following it. Usable when it resolves, whatever is to be compared; also where
 * the store is out of reach, then in pass-through (C22).
 * @throws conflict `volume-held`, `image-smaller`; notFound; corrupt
 */
export async function openShadowVolume(parts: ShadowParts): Promise<ServedVolume> {
  const follow = await Follow.open(parts);
  return new ShadowVolume(parts, follow);
}

interface Change {
  readonly offset: number;
  readonly length: number;
  readonly content: ShadowContent;
}

class ShadowVolume implements ServedVolume {
  readonly volumeId: VolumeId;
  readonly isReadOnly = false;
  readonly limits: ServedVolume['limits'] = {
    blockBytesMin: 1,
    blockBytesPreferred: PAGE_BYTES,
    payloadBytesMax: 32 * MIB,
  };
  readonly #image: ShadowImage;
  readonly #parts: ShadowParts;
  readonly #follow: Follow;
  readonly #counters: Counters;
  readonly #forecast = new Forecast();
  readonly #timer: CallTimer;
  #settings: VolumeSettings;
  #closed: Promise<void> | undefined;

  constructor(parts: ShadowParts, follow: Follow) {
    this.volumeId = parts.volumeId;
    this.#parts = parts;
    this.#image = parts.image;
    this.#follow = follow;
    this.#counters = follow.counters;
    this.#settings = parts.settings;
    this.#timer = new CallTimer(parts.blocks.clock, this.#counters);
  }

  get sizeBytes(): number {
    return this.#image.sizeBytes;
  }

  get failure(): SgwError | undefined {
    return this.#follow.failure;
  }

  get stats(): VolumeStats {
    const { clock } = this.#parts.blocks;
    const { usage, trouble, failure, writer, shadow, remark } = this.#follow;
    this.#forecast.note(clock.monotonicMs(), usage.dirtyBytes);
    const stats = statsOf({
      counters: this.#counters,
      usage,
      isFull: false,
      nowMs: clock.nowMs(),
      fullInMs: this.#forecast.fullInMs(clock.monotonicMs(), usage.dirtyBytes, usage.capacityBytes),
      sizeBytes: this.sizeBytes,
      mappedBytes: (writer?.map.mappedPages ?? 0) * PAGE_BYTES,
      seq: writer?.seq ?? 0,
      epoch: writer?.epoch ?? 0,
      ack: this.#settings.ack,
      isClosed: this.#closed !== undefined,
      failure,
      trouble,
    });
    // What is only in the image is exposed as well.
    const dirtyBytes = stats.dirtyBytes + shadow.touchedBytes;
    const reasons = [stats.reason, remark].filter((reason) => reason !== null);
    const reason = reasons.length === 0 ? null : reasons.join('; ');
    if (stats.state !== 'available' && stats.state !== 'degraded') return { ...stats, dirtyBytes, reason, shadow };
    const isBehind =
      shadow.phase === 'bootstrapping' || shadow.phase === 'pass-through' || shadow.phase === 'resyncing';
    const state = isBehind ? shadow.phase : remark === null ? stats.state : 'degraded';
    return { ...stats, dirtyBytes, state, reason, shadow };
  }

  read(offset: number, target: Buffer, call?: DeviceCall): Completion {
    this.#checkOpen();
    const counters = this.#counters;
    counters.readOps += 1;
    counters.readBytes += target.length;
    const read = this.#image.readNow(offset, target) ? undefined : this.#image.read(offset, target, call?.signal);
    const { members } = this.#follow;
    const answerable = members === undefined ? read : members.readable(read, call?.signal);
    return answerable === undefined ? undefined : this.#timer.time(answerable, 'readMs');
  }

  write(offset: number, data: Buffer, call?: WriteCall): Completion {
    this.#checkOpen();
    const counters = this.#counters;
    counters.writeOps += 1;
    counters.writeBytes += data.length;
    const { length } = data;
    if (length <= PIECE_BYTES && this.#isReady(offset, length, length + COST_BYTES))
      return this.#acknowledged(this.#writeNow(offset, data), call);
    return this.#acknowledged(this.#writeSlowly(offset, data, call?.signal), call);
  }

  /** Whether image and log can take a change now, in this task. */
  #isReady(offset: number, length: number, cost: number): boolean {
    const { restoring } = this.#image;
    if (restoring?.isWritable(offset, length) === false) return false;
    return this.#follow.isReady(offset, length, cost);
  }

  /** To image and log, in this task. */
  #writeNow(offset: number, data: Buffer): Promise<void> | undefined {
    this.#changing(offset, data.length, () => {
      this.#image.write(offset, data);
    });
    return this.#follow.wrote(offset, data.length, data);
  }

  /** A change that fails may have been made in part. */
  #changing(offset: number, length: number, change: () => void): void {
    try {
      change();
    } catch (error) {
      this.#follow.touched(offset, length);
      throw error;
    }
  }

  async #writeSlowly(offset: number, data: Buffer, signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < data.length; at += PIECE_BYTES) {
      const piece = data.subarray(at, at + PIECE_BYTES);
      const cost = piece.length + COST_BYTES;
      const extent = { offset: offset + at, length: piece.length, content: { data: piece } };
      await this.#whenReady(extent, cost, signal, () => this.#writeNow(offset + at, piece));
    }
  }

  trim(offset: number, length: number, call?: WriteCall): Completion {
    return this.writeZeroes(offset, length, { ...call, mayTrim: true });
  }

  writeZeroes(offset: number, length: number, call?: ZeroCall): Completion {
    this.#checkOpen();
    this.#counters.writeOps += 1;
    const mayTrim = call?.mayTrim === true;
    if (length <= ZERO_PIECE_BYTES && this.#isReady(offset, length, COST_BYTES))
      return this.#acknowledged(this.#zeroNow(offset, length, mayTrim), call);
    return this.#acknowledged(this.#zeroSlowly(offset, length, mayTrim, call?.signal), call);
  }

  /** As `#writeNow`. */
  #zeroNow(offset: number, length: number, mayTrim: boolean): Promise<void> | undefined {
    this.#changing(offset, length, () => {
      this.#image.zero(offset, length, mayTrim);
    });
    return this.#follow.wrote(offset, length, undefined);
  }

  /** In pieces, between which others get their turn: a file system may have to write the zeroes. */
  async #zeroSlowly(offset: number, length: number, mayTrim: boolean, signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < length; at += ZERO_PIECE_BYTES) {
      const count = Math.min(ZERO_PIECE_BYTES, length - at);
      const extent = { offset: offset + at, length: count, content: { zero: true, mayTrim } as const };
      await this.#whenReady(extent, COST_BYTES, signal, () => this.#zeroNow(offset + at, count, mayTrim));
      await breathe();
    }
  }

  /** Waits until an extent can be written; from then to `write` nothing else runs. */
  async #whenReady(
    { offset, length, content }: Change,
    cost: number,
    signal: AbortSignal | undefined,
    write: () => Promise<void> | undefined,
  ): Promise<void> {
    let isGiven = false;
    try {
      while (!this.#isReady(offset, length, cost)) {
        await this.#follow.ready(offset, length, cost, signal);
        this.#checkOpen();
        const letGo = this.#keepForRestoring(offset, length);
        if (letGo !== undefined) isGiven = true;
        await this.#restored({ offset, length, content }, signal, letGo);
        this.#checkOpen();
      }
      this.#checkOpen();
    } catch (error) {
      // The image may have a part of it, and the log has nothing.
      if (isGiven) this.#follow.touched(offset, length);
      throw error;
    }
    await write();
  }

  /** Where the restore has to come first: keeps the marks meanwhile, until the returned function is called. */
  #keepForRestoring(offset: number, length: number): (() => void) | undefined {
    const { restoring } = this.#image;
    if (restoring === undefined || restoring.isWritable(offset, length)) return undefined;
    return this.#follow.keepMarked(offset, length);
  }

  /** Has what is changed restored before, so that it can be written in one task; its region is marked. */
  async #restored(
    { offset, length, content }: Change,
    signal: AbortSignal | undefined,
    letGo: (() => void) | undefined,
  ): Promise<void> {
    if (letGo === undefined) return;
    try {
      await this.#image.restoring?.makeWritable(offset, length, content, signal);
    } finally {
      letGo();
    }
  }

  flush(call?: DeviceCall): Completion {
    this.#checkOpen();
    this.#counters.flushOps += 1;
    return this.#timer.time(this.#durable(call?.signal), 'flushMs');
  }

  prefetch(): Completion {
    return undefined;
  }

  async extents(offset: number, length: number, piecesMax: number, call?: DeviceCall): Promise<DeviceExtent[]> {
    this.#checkOpen();
    const extents = await imageExtents(this.#image, offset, length, piecesMax, call?.signal);
    await this.#follow.members?.readable(undefined, call?.signal);
    return extents;
  }

  async snapshot(create: PendingCreation): Promise<ServedSnapshot> {
    this.#checkOpen();
    return await this.#follow.snapshot(create);
  }

  async resize(): Promise<void> {
    return Promise.reject(
      new SgwError('unsupported', 'image-sets-size', 'a shadowing volume has the size of its image', {
        hint: 'Detach the volume, make the image larger (truncate -s), and attach it again.',
        details: { volumeId: this.volumeId },
      }),
    );
  }

  async configure(settings: Partial<VolumeSettings>): Promise<void> {
    this.#settings = { ...this.#settings, ...settings };
    await this.#follow.configure(settings);
  }

  async checkHeld(signal?: AbortSignal): Promise<void> {
    await this.#follow.checkHeld(signal);
  }

  fence(reason: SgwError): void {
    this.#follow.fail(reason);
  }

  async drain(options: { readonly signal?: AbortSignal; readonly onProgress?: OnDrained } = {}): Promise<void> {
    await this.#follow.drain(options);
  }

  async close({
    drain = false,
    signal,
  }: { readonly drain?: boolean; readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#closed ??= this.#follow.close({ drain, ...(signal === undefined ? {} : { signal }) });
    await this.#closed;
  }

  /** Resolves when what was written is acknowledged as the ack class and the call ask for. */
  #acknowledged(written: Promise<void> | undefined, call: WriteCall | undefined): Completion {
    const { members } = this.#follow;
    if (call?.fua !== true && this.#settings.ack !== 'store') {
      const acknowledged = members?.acknowledged(written ?? Promise.resolve(), this.#checkFailure) ?? written;
      return acknowledged === undefined ? undefined : this.#timer.time(acknowledged, 'writeMs');
    }
    const durable = async (): Promise<void> => {
      await written;
      await this.#durable(call?.signal);
    };
    return this.#timer.time(durable(), 'writeMs');
  }

  readonly #checkFailure = (): void => {
    if (this.failure !== undefined) throw this.failure;
  };

  async #durable(signal: AbortSignal | undefined): Promise<void> {
    await this.#follow.durable(this.#settings.ack, signal);
    if (this.failure !== undefined) throw this.failure;
  }

  #checkOpen(): void {
    if (this.failure !== undefined) throw this.failure;
    throwIfAborted(this.#follow.closing);
    if (this.#closed !== undefined)
      throw new SgwError('aborted', 'volume-closed', `volume ${this.volumeId} is being closed`);
  }
}
