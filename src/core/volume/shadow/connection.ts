/**
 * A shadowing volume that reaches the store: its write log, the uploads from it, and the comparison with the image. There from the
 * moment that an epoch was taken.
 */
import { PAGE_BYTES } from '../../blockstore/index.ts';
import { SgwError } from '../../kit/index.ts';
import type { LogUsage, WriteLog } from '../../writelog/index.ts';
import type { VolumeSettings } from '../contract.ts';
import type { Counters } from '../counters.ts';
import { encodePlan } from '../encode-plan.ts';
import { lastSizeOf, openParts, type Opened } from '../opening.ts';
import type { Members } from '../members.ts';
import { PageReader } from '../page-reader.ts';
import { Uploads } from '../uploads.ts';
import type { ShadowParts } from './parts.ts';
import { RegionCompare } from './region-compare.ts';
import type { RegionMarks } from './region-marks.ts';

/** What comparing and sending may use of the upload buffer; the rest is for clients. */
const BEHIND_SHARE = 0.5;
const ROOM_POLL_MS = 20;
/** Room that the log has when pass-through ends. */
const ROOM_BYTES = 9 << 20;

/** Of a log that is not open. */
export const NO_LOG: LogUsage = {
  ...{ capacityBytes: 0, dirtyBytes: 0, lastSequence: 0, uploadedSequence: 0, flushedSequence: 0 },
  oldestDirtyMs: null,
};

export interface ConnectionOptions {
  readonly counters: Counters;
  /** Whether a commit whose last record is `sequence` shows a state of the image. */
  readonly isConsistent: (sequence: number) => boolean;
  /** Whether what is sent behind clients' backs may go into the log. */
  readonly mayAppend: () => boolean;
}

export class Connection {
  readonly log: WriteLog;
  readonly uploads: Uploads;
  readonly compare: RegionCompare;
  readonly members: Members | undefined;
  readonly #parts: ShadowParts;

  /**
   * Opens the volume for writing, in a new epoch. Uploading starts with `begin`.
   * @throws conflict `volume-held`, `image-smaller`; notFound; corrupt; unavailable when the store is out of reach
   */
  static async open(parts: ShadowParts, options: ConnectionOptions): Promise<Connection> {
    const opened = await openWhole(parts);
    const connection = new Connection(parts, opened, options);
    try {
      await connection.#followSize(opened);
    } catch (error) {
      await connection.uploads.close({ drain: false });
      throw error;
    }
    return connection;
  }

  private constructor(parts: ShadowParts, opened: Opened, options: ConnectionOptions) {
    const { image, blocks, cache, pool, accountId } = parts;
    const { log } = opened;
    const { counters } = options;
    this.#parts = parts;
    this.log = log;
    this.members = opened.members;
    // For a log that was written while the volume was a cached one: it may hold parts of pages.
    const reader = new PageReader({
      ...{ log, cache, clock: blocks.clock, counters },
      live: () => this.uploads.live,
      failure: () => this.uploads.failure,
      closing: parts.signal ?? new AbortController().signal,
    });
    this.uploads = new Uploads({
      parts,
      opened,
      counters,
      encode: async (plan, applied, signal) => {
        const batch = await encodePlan({ log, reader, pool, accountId }, plan, applied, signal);
        return { ...batch, consistent: options.isConsistent(plan.records?.last ?? 0) };
      },
    });
    this.compare = new RegionCompare({
      image,
      log,
      store: () => ({ live: this.uploads.live, segments: this.uploads.writer.segments }),
      room: async (bytes, signal) => {
        while (!(options.mayAppend() && this.#hasRoomBehind(bytes))) await blocks.clock.sleep(ROOM_POLL_MS, signal);
      },
      appended: (bytes) => {
        this.uploads.appended(bytes);
      },
    });
  }

  /** Completes what a crash left behind, and starts to upload. */
  async begin(): Promise<void> {
    await this.uploads.begin();
  }

  /** Whether `bytes` can be logged now. Cheap. */
  canLog(bytes: number): boolean {
    return this.log.failure === undefined && this.log.hasRoom(bytes);
  }

  /** Makes what was logged durable. In pass-through the image has everything, also what a log that failed has lost. */
  async flush(isPassThrough: boolean, signal?: AbortSignal): Promise<void> {
    if (isPassThrough && this.log.failure !== undefined) return;
    await (this.members === undefined ? this.log.flush() : this.members.flush(signal));
  }

  /** Resolves when all that was logged is in the store, and there is room again. @throws why that will never be */
  async emptied(signal: AbortSignal): Promise<void> {
    const { uploads, log } = this;
    while (uploads.committedSequence < log.usage.lastSequence) await uploads.upload(log.usage.lastSequence);
    const bytes = Math.min(ROOM_BYTES, log.usage.capacityBytes / 4);
    while (!this.canLog(bytes)) {
      if (log.failure !== undefined) throw log.failure;
      await log.room(bytes, signal);
    }
  }

  async configure({ sealIntervalMs, bufferBytes, recovery }: Partial<VolumeSettings>): Promise<void> {
    if (recovery !== undefined) this.uploads.recovery = recovery;
    if (sealIntervalMs !== undefined) this.uploads.sealIntervalMs = sealIntervalMs;
    if (bufferBytes !== undefined) await this.log.resize(bufferBytes);
  }

  /** Takes back marks of what has been in the store and on the disk for a while. */
  async sweep(marks: RegionMarks): Promise<void> {
    const { waitsFor } = marks;
    if (waitsFor !== undefined && this.uploads.committedSequence >= waitsFor) marks.release();
    if (!marks.turn()) return;
    await Promise.all([this.log.flush(), this.#parts.image.sync()]);
    marks.turned(this.log.usage.lastSequence);
  }

  /** Logs what was written to the image; parts of pages as the whole pages that the image holds now. */
  append(offset: number, length: number, data: Buffer | undefined): Promise<void> {
    const end = offset + length;
    const firstWhole = Math.ceil(offset / PAGE_BYTES);
    const endWhole = Math.floor(end / PAGE_BYTES);
    this.uploads.appended(length + PAGE_BYTES);
    if (firstWhole * PAGE_BYTES === offset && endWhole * PAGE_BYTES === end)
      return this.#appendWhole(firstWhole, endWhole, data);
    const appended: Promise<void>[] = [];
    for (const page of new Set([Math.floor(offset / PAGE_BYTES), Math.floor((end - 1) / PAGE_BYTES)]))
      if (page < firstWhole || page >= endWhole) appended.push(this.log.append(page, this.#pageOfImage(page)));
    const at = firstWhole * PAGE_BYTES - offset;
    if (endWhole > firstWhole)
      appended.push(
        this.#appendWhole(firstWhole, endWhole, data?.subarray(at, at + (endWhole - firstWhole) * PAGE_BYTES)),
      );
    return Promise.all(appended).then(() => undefined);
  }

  #appendWhole(firstPage: number, endPage: number, data: Buffer | undefined): Promise<void> {
    return data === undefined
      ? this.log.appendZeroes(firstPage, endPage - firstPage)
      : this.log.append(firstPage, data);
  }

  /** It was written a moment ago, so it is in the page cache. */
  #pageOfImage(page: number): Buffer {
    const { image } = this.#parts;
    const bytes = Buffer.alloc(PAGE_BYTES);
    const at = page * PAGE_BYTES;
    image.readSync(at, bytes.subarray(0, Math.min(PAGE_BYTES, image.sizeBytes - at)));
    return bytes;
  }

  #hasRoomBehind(bytes: number): boolean {
    const { dirtyBytes, capacityBytes } = this.log.usage;
    return this.log.hasRoom(bytes) && (dirtyBytes === 0 || dirtyBytes + bytes <= BEHIND_SHARE * capacityBytes);
  }

  /** The volume is as large as its image. */
  async #followSize({ writer, uploadedSequence }: Opened): Promise<void> {
    const { image, volumeId } = this.#parts;
    const sizeBytes = lastSizeOf(this.log, uploadedSequence) ?? writer.sizeBytes;
    if (sizeBytes === image.sizeBytes) return;
    if (sizeBytes > image.sizeBytes)
      throw new SgwError(
        'conflict',
        'image-smaller',
        `the image ${image.path} has ${String(image.sizeBytes)} bytes, volume ${volumeId} has ${String(sizeBytes)}`,
        {
          hint: 'If the image was truncated by mistake, restore it. To make the volume as small: sgw volume resize VOLUME --size SIZE --shrink, then attach.',
          details: { path: image.path, imageBytes: image.sizeBytes, volumeBytes: sizeBytes, volumeId },
        },
      );
    await this.log.appendResize(image.sizeBytes);
  }
}

/** A log that is damaged is no loss here, for the image has everything: it is set aside, and all is compared. */
async function openWhole(parts: ShadowParts): Promise<Opened> {
  const opened = await openParts(parts, { mayBeDamaged: true });
  if (opened.damage === null) return opened;
  await opened.writer.abandon();
  await opened.log.close();
  await parts.beforeLog?.(false);
  const path = await parts.disk.setAside('damaged');
  parts.onEvent?.({ kind: 'setAside', path, lostRecords: 0 });
  return await openParts(parts);
}
