/** What a shadowing volume keeps beside its image (docs/formats/shadow.md), and what it tells of itself. */
import type { ImageFacts, ImageFile } from '../../image/index.ts';

/** What a write gives a part of an image. */
export type ShadowContent = { readonly data: Buffer } | { readonly zero: true; readonly mayTrim: boolean };

/** The image of a shadowing volume: all there, or one that is restored meanwhile (C25), and then written where it is restored only. */
export interface ShadowImage extends ImageFile {
  readonly restoring?: {
    /** Whether an extent can be written now, in this task. Cheap. */
    isWritable(offset: number, length: number): boolean;
    /**
     * Restores an extent for a write that follows and gives all of it `content`, which parts of the image may hold when it
     * resolves or fails; ask `isWritable` again then.
     */
    makeWritable(offset: number, length: number, content: ShadowContent, signal?: AbortSignal): Promise<void>;
    /** Whether the restore itself has written to the file since this was asked last. */
    hasWritten(): boolean;
    /** Ends the restore where it is: it writes to the file no more. Idempotent. */
    end(): Promise<void>;
  };
}

/**
 * What an image was known by when it was last in use, numbers as decimal text. The times say nothing for a block device.
 */
export type ImageIdentity = { readonly [K in keyof Omit<ImageFacts, 'links'>]: string };

export interface ShadowRecord {
  readonly version: 1;
  readonly image: ImageIdentity;
  /**
   * `clean`: closed in order, the image and the store held the same. `compared`: served since, and every page that the marks do
   * not name is the same in the store or in the write log. `comparing`: pages from `cursorPage` on are not known to be.
   */
  readonly state: 'clean' | 'compared' | 'comparing';
  /** Below it, only marked regions may differ. */
  readonly cursorPage: number;
  /**
   * Behind this record of the log the log is not what the image was: writes are not logged, or what differed is sent (C21);
   * null: it is.
   */
  readonly behindSince: number | null;
}

export interface MarksFile {
  /** As many bytes as the file has: one bit a region. */
  read(): Buffer;
  /** In the kernel's page cache when it returns. */
  write(position: number, bytes: Uint8Array): void;
  sync(): Promise<void>;
  close(): void;
}

export interface ShadowDisk {
  /** Undefined where there is none, or none that makes sense: then the whole image is compared. */
  readRecord(): Promise<ShadowRecord | undefined>;
  /** Replaces the record as a whole. `durable`: synced when it resolves. */
  writeRecord(record: ShadowRecord, durable: boolean): Promise<void>;
  /** Notes that the image is being written. Cheap. */
  touch(): void;
  /** When `touch` was called last, or the record or the marks were written, milliseconds since 1970. */
  touchedMs(): Promise<number | undefined>;
  /** Opens the marks of `bytes` bytes; `fresh`: all zero, durably. Undefined: there are none of that size. */
  openMarks(bytes: number, fresh: boolean): Promise<MarksFile | undefined>;
}

/** `steady`: what is written is logged and uploaded, and every commit is a recovery point. */
export type ShadowPhase = 'bootstrapping' | 'comparing' | 'pass-through' | 'resyncing' | 'steady';

export interface ShadowStats {
  readonly phase: ShadowPhase;
  /** Of the work at hand, bytes of the image; both 0 when there is none. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** At the pace so far; null when that is not known. */
  readonly leftMs: number | null;
  /** Written and not logged: what a resync sends. */
  readonly touchedBytes: number;
  readonly markedRegions: number;
}
