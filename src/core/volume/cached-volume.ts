/**
 * A cached volume that is being served (DESIGN sections 6 and 7): writes go to the write log and from there into the store, reads
 * come from the log, the cache, the store.
 *
 * States: open -> closed; open -> failed (fenced, or damaged: nothing is acknowledged any more, the log is kept). While the
 * store is out of reach it stays open and `degraded`.
 * Invariants: a write is acknowledged only when its record is in the kernel's page cache (`ack=log`) or its commit is in the
 * store (`ack=store`); a flush only after the log was synced; acknowledgements come in log order.
 */
import type { BlockDevice, Completion, DeviceCall, DeviceExtent, WriteCall, ZeroCall } from '../blockdevice/index.ts';
import { checkVolumeSize, PAGE_BYTES } from '../blockstore/index.ts';
import { assert, KIB, MIB, Semaphore, SgwError, throwIfAborted, type VolumeId } from '../kit/index.ts';
import type { WriteLog } from '../writelog/index.ts';
import { ReadAhead } from '../cache/index.ts';
import type { PendingCreation, ServedSnapshot, ServedVolume, VolumeSettings, VolumeStats } from './contract.ts';
import { CallTimer, Counters, Forecast } from './counters.ts';
import type { OnDrained } from './drain-progress.ts';
import { encodePlan } from './encode-plan.ts';
import { deviceExtents } from './extents.ts';
import { UploadKeeper } from './keep-uploaded.ts';
import { checkAck } from './members.ts';
import { lastSizeOf, openParts, type CachedVolumeParts, type Opened } from './opening.ts';
import { PageReader } from './page-reader.ts';
import { PageWriter } from './page-writer.ts';
import { statsOf } from './stats.ts';
import { Throttle } from './throttle.ts';
import { Uploads } from './uploads.ts';

/** Writes longer than this go into the log in pieces. */
const PIECE_BYTES = 8 * MIB;
/** The longest atomic write, where a record holds that much: as long as what file systems and databases write at once. */
const ATOMIC_BYTES_MAX = 128 * KIB;
/** Part of the buffer from which on writers may be slowed. */
const SLOW_FROM = 0.7;

/**
 * Opens a volume for serving. It is usable when this resolves, whatever its log holds: that is uploaded behind.
 * @throws conflict `volume-held`, `volume-in-group`, `not-in-sync`, `ack-needs-group`; notFound; unavailable when the store is out of reach; corrupt
 */
export async function openCachedVolume(parts: CachedVolumeParts): Promise<ServedVolume> {
  const volume = new CachedVolume(parts, await openParts(parts));
  try {
    await volume.begin();
  } catch (error) {
    // The caller opens it again: no second log may be open on these files then.
    await volume.close().catch(() => undefined);
    throw error;
  }
  return volume;
}

class CachedVolume implements ServedVolume {
  readonly volumeId: VolumeId;
  readonly limits: BlockDevice['limits'];
  readonly #parts: CachedVolumeParts;
  readonly #opened: Opened;
  readonly #log: WriteLog;
  readonly #counters = new Counters();
  readonly #forecast = new Forecast();
  readonly #timer: CallTimer;
  readonly #throttle: Throttle;
  readonly #reader: PageReader;
  readonly #writer: PageWriter;
  readonly #uploads: Uploads;
  /** Writers that wait go one after the other. */
  readonly #gate = new Semaphore(1);
  #readAhead: ReadAhead;
  #settings: VolumeSettings;
  #sizeBytes: number;
  #closed: Promise<void> | undefined;
  /** Somebody waits for room in the log. */
  #isFull = false;

  constructor(parts: CachedVolumeParts, opened: Opened) {
    const { blocks, cache, settings } = parts;
    const { log, writer } = opened;
    this.volumeId = parts.volumeId;
    this.#parts = parts;
    this.#opened = opened;
    this.#log = log;
    this.limits = {
      blockBytesMin: 1,
      blockBytesPreferred: PAGE_BYTES,
      payloadBytesMax: 32 * MIB,
      atomic: { unitBytes: PAGE_BYTES, bytesMax: Math.min(ATOMIC_BYTES_MAX, log.wholeBytesMax) },
    };
    this.#settings = settings;
    this.#sizeBytes = writer.sizeBytes;
    this.#timer = new CallTimer(blocks.clock, this.#counters);
    this.#throttle = new Throttle(blocks.clock);
    this.#readAhead = new ReadAhead({ readAheadBytes: settings.readAheadBytes });
    this.#uploads = this.#makeUploads();
    this.#reader = new PageReader({
      log,
      cache,
      clock: blocks.clock,
      counters: this.#counters,
      live: () => this.#uploads.live,
      failure: () => this.#uploads.failure,
      closing: this.#uploads.closing,
    });
    this.#writer = new PageWriter(log, this.#reader, {
      check: this.#checkWritable.bind(this),
      appended: (bytes) => {
        this.#uploads.appended(bytes + PAGE_BYTES);
      },
    });
  }

  #makeUploads(): Uploads {
    const { pool, accountId, cache } = this.#parts;
    const keeper = new UploadKeeper(cache, () => this.#uploads.live);
    return new Uploads({
      parts: this.#parts,
      opened: this.#opened,
      counters: this.#counters,
      encode: async (plan, applied, signal) =>
        await encodePlan({ log: this.#log, reader: this.#reader, pool, accountId }, plan, applied, signal),
      onCommitted: ({ batch, segmentId, logBytes }) => {
        keeper.keep(batch, segmentId);
        this.#throttle.uploaded(logBytes);
      },
    });
  }

  /** Takes the volume's size from what is not uploaded yet, completes what a crash left behind, and starts to upload. */
  async begin(): Promise<void> {
    const { uploadedSequence, damage } = this.#opened;
    this.#sizeBytes = lastSizeOf(this.#log, uploadedSequence) ?? this.#sizeBytes;
    if (damage !== null) return;
    await this.#uploads.begin();
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get isReadOnly(): boolean {
    return this.#opened.damage !== null;
  }

  get failure(): SgwError | undefined {
    return this.#uploads.failure;
  }

  get stats(): VolumeStats {
    const { usage } = this.#log;
    const { clock } = this.#parts.blocks;
    this.#forecast.note(clock.monotonicMs(), usage.dirtyBytes);
    const { writer, failure, trouble } = this.#uploads;
    return statsOf({
      counters: this.#counters,
      usage,
      isFull: this.#isFull,
      nowMs: clock.nowMs(),
      fullInMs: this.#forecast.fullInMs(clock.monotonicMs(), usage.dirtyBytes, usage.capacityBytes),
      sizeBytes: this.#sizeBytes,
      mappedBytes: writer.map.mappedPages * PAGE_BYTES,
      seq: writer.seq,
      epoch: writer.epoch,
      ack: this.#settings.ack,
      isClosed: this.#closed !== undefined,
      failure,
      trouble,
    });
  }

  read(offset: number, target: Buffer, call?: DeviceCall): Completion {
    this.#checkReadable();
    const counters = this.#counters;
    counters.readOps += 1;
    counters.readBytes += target.length;
    const ahead = this.#readAhead.observe(offset, target.length, this.#sizeBytes);
    if (ahead !== undefined) this.#prefetchBehind(ahead.offset, ahead.length);
    const fetched = this.#reader.read(offset, target, call?.signal);
    const { members } = this.#opened;
    if (members !== undefined) return this.#readable(members.readable(fetched, call?.signal));
    return fetched === undefined ? undefined : this.#timer.time(fetched, 'readMs');
  }

  #readable(read: Promise<void> | undefined): Completion {
    return read === undefined ? undefined : this.#timer.time(read, 'readMs');
  }

  write(offset: number, data: Buffer, call?: WriteCall): Completion {
    this.#checkWritable();
    const counters = this.#counters;
    counters.writeOps += 1;
    counters.writeBytes += data.length;
    if (call?.atomic === true) return this.#acknowledged(this.#writeWhole(offset, data, call.signal), call);
    const written =
      data.length <= PIECE_BYTES && this.#isFree(data.length)
        ? this.#append(data.length, () => this.#writer.write(offset, data, call?.signal))
        : this.#writeSlowly(offset, data, call?.signal);
    return this.#acknowledged(written, call);
  }

  trim(offset: number, length: number, call?: WriteCall): Completion {
    return this.writeZeroes(offset, length, call);
  }

  writeZeroes(offset: number, length: number, call?: ZeroCall): Completion {
    this.#checkWritable();
    this.#counters.writeOps += 1;
    const zero = (): Promise<void> => this.#writer.zero(offset, length, call?.signal);
    const written = this.#isFree(0) ? this.#append(0, zero) : this.#waitThen(0, zero, call?.signal);
    return this.#acknowledged(written, call);
  }

  flush(call?: DeviceCall): Completion {
    if (this.failure !== undefined) throw this.failure;
    this.#counters.flushOps += 1;
    return this.#timer.time(this.#durable(call?.signal), 'flushMs');
  }

  prefetch(offset: number, length: number): Completion {
    this.#prefetchBehind(offset, Math.min(length, this.#sizeBytes - offset));
    return undefined;
  }

  async extents(offset: number, length: number, piecesMax: number, call?: DeviceCall): Promise<DeviceExtent[]> {
    this.#checkReadable();
    const extents = await deviceExtents(this.#log, () => this.#uploads.live, offset, length, piecesMax, call?.signal);
    await this.#opened.members?.readable(undefined, call?.signal);
    return extents;
  }

  async snapshot(create: PendingCreation): Promise<ServedSnapshot> {
    this.#checkWritable();
    while (!this.#log.hasRoom(PAGE_BYTES)) await this.#log.room(PAGE_BYTES, this.#uploads.closing);
    // It may have been fenced, or be closing, since.
    this.#checkWritable();
    return await this.#uploads.snapshot(async (barrier) => await create({ barrier }));
  }

  async resize(sizeBytes: number): Promise<void> {
    checkVolumeSize(sizeBytes);
    this.#checkWritable();
    const oldBytes = this.#sizeBytes;
    const tail = Math.min(oldBytes, Math.ceil(sizeBytes / PAGE_BYTES) * PAGE_BYTES) - sizeBytes;
    // The rest of the last page reads zeroes when the volume grows again (C9).
    if (tail > 0) await this.#waitThen(0, () => this.#writer.zero(sizeBytes, tail), this.#uploads.closing);
    const resized = (): Promise<void> => {
      this.#sizeBytes = sizeBytes;
      return this.#log.appendResize(sizeBytes);
    };
    await this.#waitThen(0, resized, this.#uploads.closing);
    await this.#log.flush();
    await this.#uploads.upload(this.#log.usage.lastSequence, this.#uploads.closing);
  }

  async configure(settings: Partial<VolumeSettings>): Promise<void> {
    const { members } = this.#opened;
    checkAck(settings.ack ?? 'log', members !== undefined);
    this.#settings = { ...this.#settings, ...settings };
    if (members !== undefined) members.ack = this.#settings.ack;
    this.#uploads.sealIntervalMs = this.#settings.sealIntervalMs;
    if (settings.recovery !== undefined) this.#uploads.recovery = settings.recovery;
    this.#readAhead = new ReadAhead({ readAheadBytes: this.#settings.readAheadBytes });
    if (settings.bufferBytes !== undefined) await this.#log.resize(settings.bufferBytes);
  }

  async checkHeld(signal?: AbortSignal): Promise<void> {
    await this.#uploads.checkHeld(signal);
  }

  fence(reason: SgwError): void {
    this.#uploads.fail(reason);
  }

  async drain(options: { readonly signal?: AbortSignal; readonly onProgress?: OnDrained } = {}): Promise<void> {
    await this.#uploads.drain(options);
  }

  async close({
    drain = false,
    signal,
  }: { readonly drain?: boolean; readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#closed ??= this.#uploads.close({ drain, ...(signal === undefined ? {} : { signal }) });
    await this.#closed;
  }

  #checkReadable(): void {
    if (this.failure !== undefined && this.#opened.damage === null) throw this.failure;
    if (this.#uploads.closing.aborted) throwIfAborted(this.#uploads.closing);
  }

  #checkWritable(): void {
    if (this.failure !== undefined) throw this.failure;
    if (this.#closed !== undefined)
      throw new SgwError('aborted', 'volume-closed', `volume ${this.volumeId} is being closed`);
  }

  /** Whether a write of `length` bytes goes into the log at once. */
  #isFree(length: number): boolean {
    if (this.#counters.waitingWrites > 0) return false;
    const { dirtyBytes, capacityBytes } = this.#log.usage;
    return dirtyBytes < SLOW_FROM * capacityBytes && this.#log.hasRoom(PageWriter.costBytes(length));
  }

  /** Appends in this task of the event loop. */
  #append(length: number, append: () => Promise<void>): Promise<void> {
    const appended = append();
    this.#uploads.appended(length + PAGE_BYTES);
    return appended;
  }

  /** An atomic write: in one record, and records are committed as wholes. */
  #writeWhole(offset: number, data: Buffer, signal?: AbortSignal): Promise<void> {
    const { length } = data;
    const isWithin = length > 0 && length <= (this.limits.atomic?.bytesMax ?? 0);
    assert(
      isWithin && offset % PAGE_BYTES === 0 && length % PAGE_BYTES === 0,
      `${length} bytes are written as a whole`,
    );
    const write = (): Promise<void> => this.#writer.writeWhole(offset, data);
    return this.#isFree(length) ? this.#append(length, write) : this.#waitThen(length, write, signal);
  }

  async #writeSlowly(offset: number, data: Buffer, signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < data.length; at += PIECE_BYTES) {
      const piece = data.subarray(at, at + PIECE_BYTES);
      await this.#waitThen(piece.length, () => this.#writer.write(offset + at, piece, signal), signal);
    }
  }

  /** Waits for its turn, for as long as back-pressure asks, and for room; then appends. */
  async #waitThen(length: number, append: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    const { closing } = this.#uploads;
    const either = signal === undefined ? closing : AbortSignal.any([signal, closing]);
    this.#counters.waitingWrites += 1;
    let appended: Promise<void>;
    try {
      const release = await this.#gate.acquire(1, either);
      try {
        const { dirtyBytes, capacityBytes } = this.#log.usage;
        const delayMs = this.#throttle.delayMs(length, dirtyBytes / capacityBytes);
        if (delayMs >= 1) await this.#parts.blocks.clock.sleep(delayMs, either);
        const cost = PageWriter.costBytes(length);
        await this.#room(cost, either);
        this.#checkWritable();
        appended = this.#append(length, append);
      } finally {
        release();
      }
    } finally {
      this.#counters.waitingWrites -= 1;
    }
    await appended;
  }

  /** Waits until `cost` bytes can be appended. */
  async #room(cost: number, signal: AbortSignal): Promise<void> {
    while (!this.#log.hasRoom(cost)) {
      this.#isFull = true;
      await this.#log.room(cost, signal);
    }
    this.#isFull = false;
  }

  /** Resolves when `written` is acknowledged as the ack class and the call ask for. */
  #acknowledged(written: Promise<void>, call: WriteCall | undefined): Promise<void> {
    const { members } = this.#opened;
    let acknowledged = written;
    if (call?.fua === true || this.#settings.ack === 'store')
      acknowledged = written.then(() => this.#durable(call?.signal));
    else if (members !== undefined) acknowledged = members.acknowledged(written, this.#checkFailure);
    return this.#timer.time(acknowledged, 'writeMs');
  }

  readonly #checkFailure = (): void => {
    if (this.failure !== undefined) throw this.failure;
  };

  /** Makes what is in the log durable, as the ack class asks for. */
  async #durable(signal: AbortSignal | undefined): Promise<void> {
    const { members } = this.#opened;
    // The members are asked by what it is now: another one, by the time that they answer, asks them nothing.
    const { ack } = this.#settings;
    await (members === undefined ? this.#log.flush() : members.flush(signal));
    if (ack === 'store') await this.#uploads.upload(this.#log.usage.lastSequence, signal);
    // A writer that was fenced meanwhile acknowledges nothing any more.
    if (this.failure !== undefined) throw this.failure;
  }

  /** Gets an extent into the cache, behind the caller's back. */
  #prefetchBehind(offset: number, length: number): void {
    if (length <= 0 || !this.#uploads.live.frames.isIdle) return;
    this.#reader.prefetch(offset, length).catch(() => undefined);
  }
}
