/** A state that does not change any more, a snapshot or a recovery point, as a read-only block device. */
import type { BlockDevice, Completion, DeviceCall, DeviceExtent, DeviceLimits } from '../blockdevice/index.ts';
import { PAGE_BYTES, type FramePool, type VolumeView } from '../blockstore/index.ts';
import { ReadAhead, type FrameCache } from '../cache/index.ts';
import { assert, MIB, SgwError, type Clock } from '../kit/index.ts';
import { FULL_MASK, NOT_IN_LOG } from '../writelog/index.ts';
import { Counters } from './counters.ts';
import { deviceExtents } from './extents.ts';
import { LiveMap } from './live-map.ts';
import { PageReader, type LogReading } from './page-reader.ts';

export interface ViewDeviceParts {
  readonly view: VolumeView;
  readonly cache: FrameCache;
  readonly pool: FramePool;
  readonly clock: Clock;
  readonly readAheadBytes: number;
}

export interface ViewDevice extends BlockDevice {
  /** Ends reads that wait for the store. Idempotent. */
  close(): Promise<void>;
}

/** A log that says nothing. */
const NO_LOG: LogReading = {
  lookup: () => NOT_IN_LOG,
  maskOf: () => FULL_MASK,
  nextPage: () => undefined,
  runLength: (_page, countMax) => countMax,
  readSlots: () => {
    assert(false, 'a view has no log');
  },
};

/** Serves a view for reading. Cache and threads stay the caller's to close. */
export const openViewDevice = (parts: ViewDeviceParts): ViewDevice => new ReadOnlyView(parts);

class ReadOnlyView implements ViewDevice {
  readonly limits: DeviceLimits = {
    blockBytesMin: 1,
    blockBytesPreferred: PAGE_BYTES,
    payloadBytesMax: 32 * MIB,
  };
  readonly isReadOnly = true;
  readonly sizeBytes: number;
  readonly #live: LiveMap;
  readonly #reader: PageReader;
  readonly #readAhead: ReadAhead;
  readonly #closing = new AbortController();

  constructor({ view, cache, pool, clock, readAheadBytes }: ViewDeviceParts) {
    const counters = new Counters();
    this.sizeBytes = view.sizeBytes;
    this.#live = new LiveMap({
      view,
      cache,
      pool,
      onBytes: (bytes) => {
        counters.downloadedBytes += bytes;
      },
    });
    this.#readAhead = new ReadAhead({ readAheadBytes: readAheadBytes });
    this.#reader = new PageReader({
      log: NO_LOG,
      cache,
      clock,
      counters,
      live: () => this.#live,
      failure: () => undefined,
      closing: this.#closing.signal,
    });
  }

  read(offset: number, target: Buffer, call?: DeviceCall): Completion {
    const ahead = this.#readAhead.observe(offset, target.length, this.sizeBytes);
    if (ahead !== undefined) void this.prefetch(ahead.offset, ahead.length);
    return this.#reader.read(offset, target, call?.signal);
  }

  write(): Completion {
    throw readOnly();
  }

  trim(): Completion {
    throw readOnly();
  }

  writeZeroes(): Completion {
    throw readOnly();
  }

  flush(): Completion {
    return undefined;
  }

  prefetch(offset: number, length: number): Completion {
    const end = Math.min(offset + length, this.sizeBytes);
    if (end > offset && this.#live.frames.isIdle) this.#reader.prefetch(offset, end - offset).catch(() => undefined);
    return undefined;
  }

  async extents(offset: number, length: number, piecesMax: number, call?: DeviceCall): Promise<DeviceExtent[]> {
    return await deviceExtents(NO_LOG, () => this.#live, offset, length, piecesMax, call?.signal);
  }

  async close(): Promise<void> {
    this.#closing.abort(new SgwError('aborted', 'view-closed', 'the export was closed'));
    return Promise.resolve();
  }
}

const readOnly = (): SgwError =>
  new SgwError('readOnly', 'device-read-only', 'a snapshot is served for reading only', {
    hint: 'Attach it with --scratch for a throw-away copy that can be written.',
  });
