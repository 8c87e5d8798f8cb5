/**
 * A write log on a disk that forgets, with everything around it that a volume has: a model of the volume, a store that
 * records are uploaded to, and a journal of every record. Each sector that is written says which page and version it is.
 */
import { crc32 } from 'node:zlib';
import { expect } from 'vitest';
import { systemClock, type Random } from '../../src/core/kit/index.ts';
import {
  findLog,
  FULL_MASK,
  LOG_PAGE_BYTES,
  LOG_SECTOR_BYTES,
  NOT_IN_LOG,
  openLog,
  ZERO_IN_LOG,
  type LogExtent,
  type WriteLog,
} from '../../src/core/writelog/index.ts';
import { ForgetfulLogDisk } from '../fault/forgetful-log-disk.ts';

const SECTORS = 8;
const PAGES_MAX = 2 ** 34;
const ZERO_PAGE: readonly number[] = Array.from({ length: SECTORS }, () => 0);

/** Versions of a page's sectors; 0 is zeroes. Pages that are not in are zero. */
type Pages = Map<number, readonly number[]>;

/** What a record does to a volume. */
type Effect =
  | { readonly page: number; readonly mask: number; readonly versions: readonly number[] }
  | { readonly zeroFrom: number; readonly zeroEnd: number };

interface Journalled {
  readonly effects: Effect[];
  readonly barrier: string | undefined;
}

export type Change =
  | { readonly do: 'append' | 'whole'; readonly page: number; readonly count: number }
  | { readonly do: 'sectors'; readonly page: number; readonly mask: number }
  | { readonly do: 'zeroes'; readonly page: number; readonly count: number }
  | { readonly do: 'resize'; readonly pages: number };

function applyTo(pages: Pages, effect: Effect): void {
  if ('zeroFrom' in effect) {
    for (const page of pages.keys()) if (page >= effect.zeroFrom && page < effect.zeroEnd) pages.delete(page);
    return;
  }
  const old = pages.get(effect.page) ?? ZERO_PAGE;
  pages.set(
    effect.page,
    old.map((version, i) => ((effect.mask & (1 << i)) === 0 ? version : (effect.versions[i] ?? 0))),
  );
}

function stamped(page: number, versions: readonly number[]): Buffer {
  const bytes = Buffer.alloc(LOG_PAGE_BYTES);
  versions.forEach((version, i) => {
    if (version === 0) return;
    const at = i * LOG_SECTOR_BYTES;
    bytes.fill(version & 0xff, at, at + LOG_SECTOR_BYTES);
    bytes.writeDoubleLE(page, at);
    bytes.writeDoubleLE(version, at + LOG_SECTOR_BYTES - 8);
  });
  return bytes;
}

/** The versions of a page's sectors; fails when one is of another page, or torn. */
function versionsOf(page: number, bytes: Buffer): number[] {
  return ZERO_PAGE.map((_, i) => {
    const sector = bytes.subarray(i * LOG_SECTOR_BYTES, (i + 1) * LOG_SECTOR_BYTES);
    const version = sector.readDoubleLE(LOG_SECTOR_BYTES - 8);
    const expected = stamped(page, [version]).subarray(0, LOG_SECTOR_BYTES);
    expect(sector.equals(expected), `sector ${i} of page ${page} is whole`).toBe(true);
    return version;
  });
}

export interface SceneOptions {
  readonly fileBytes: number;
  readonly capacityBytes: number;
  readonly random: Random;
}

export class LogScene {
  disk = new ForgetfulLogDisk();
  log!: WriteLog;
  /** The volume as acknowledged, and as the store has it. */
  volume: Pages = new Map();
  readonly store: Pages = new Map();
  storeSequence = 0;
  /** Of the newest record in the store. */
  #storeIncarnation: string | undefined;
  /** Records that the store does not have. */
  readonly journal = new Map<number, Journalled>();
  /** Flushed for sure. */
  flushed = 0;
  readonly touched = new Set<number>([0]);
  recycledPages = 0;
  #version = 0;
  /** Of each version that was appended as part of a whole: all versions of that. */
  readonly #wholes = new Map<number, readonly number[]>();
  #barriers = 0;
  #epoch = 0;
  #capacityBytes: number;
  readonly #options: SceneOptions;

  constructor(options: SceneOptions) {
    this.#options = options;
    this.#capacityBytes = options.capacityBytes;
  }

  async open(): Promise<void> {
    const tells = this.#options.random.float() < 0.5;
    const found = await findLog(this.disk, tells ? { uploadedSequence: this.storeSequence } : {});
    if (this.#storeIncarnation !== undefined) {
      // C4: the log knows its own records in the store.
      expect(found.incarnations.map((one) => one.incarnation)).toContain(this.#storeIncarnation);
    }
    if (tells) expect(found.damage, 'what is reported as damage').toBeNull();
    this.#epoch += 1;
    this.log = await openLog({
      disk: this.disk,
      found,
      capacityBytes: this.#capacityBytes,
      fileBytes: this.#options.fileBytes,
      clock: systemClock,
      incarnation: {
        incarnation: this.#options.random.bytes(8).toString('hex'),
        epoch: this.#epoch,
        baseSeq: this.#epoch,
        uploadedSequence: this.storeSequence,
      },
    });
    expect(this.log.damage, 'what is reported as damage').toBeNull();
    this.log.onRecycle = (pages) => {
      const target = Buffer.alloc(LOG_PAGE_BYTES);
      for (const [page, slot] of pages) {
        this.recycledPages += 1;
        expect(this.log.lookup(page)).toBe(slot);
        // Still readable, and in the store already.
        this.log.readSlots(slot, target);
        const mask = this.log.maskOf(page);
        versionsOf(page, target).forEach((version, i) => {
          if ((mask & (1 << i)) !== 0) expect(version).toBe(this.store.get(page)?.[i] ?? 0);
        });
      }
    };
  }

  /** All of `changes` in one task of the event loop, where there is room for them. */
  async change(changes: readonly Change[]): Promise<void> {
    let promise: Promise<void> | undefined;
    for (const change of changes) {
      const hasPages = change.do === 'append' || change.do === 'whole';
      const bytes = hasPages ? change.count * LOG_PAGE_BYTES : LOG_PAGE_BYTES;
      if (!this.log.hasRoom(bytes)) {
        await promise;
        promise = undefined;
        await this.makeRoom(bytes);
      }
      const one = this.#start(change);
      if (promise !== undefined) expect(one).toBe(promise);
      promise = one;
    }
    await promise;
    this.note();
  }

  async makeRoom(bytes: number): Promise<void> {
    while (!this.log.hasRoom(bytes)) {
      this.upload(Number.MAX_SAFE_INTEGER);
      await this.log.room(bytes);
    }
  }

  #start(change: Change): Promise<void> {
    const { log } = this;
    switch (change.do) {
      case 'append':
      case 'whole': {
        const pieces: Buffer[] = [];
        const first = this.#version + 1;
        const all = Array.from({ length: change.count }, (_, i) => first + i);
        if (change.do === 'whole') for (const version of all) this.#wholes.set(version, all);
        for (let page = change.page; page < change.page + change.count; page++) {
          const version = ++this.#version;
          const versions = ZERO_PAGE.map(() => version);
          pieces.push(stamped(page, versions));
          this.#apply({ page, mask: FULL_MASK, versions });
        }
        const data = Buffer.concat(pieces);
        return change.do === 'whole' ? log.appendWhole(change.page, data) : log.append(change.page, data);
      }
      case 'sectors': {
        const version = ++this.#version;
        const versions = ZERO_PAGE.map((_, i) => ((change.mask & (1 << i)) === 0 ? 0 : version));
        this.#apply({ page: change.page, mask: change.mask, versions });
        return log.appendSectors(change.page, change.mask, stamped(change.page, versions));
      }
      case 'zeroes':
        this.#apply({ zeroFrom: change.page, zeroEnd: Math.min(change.page + change.count, PAGES_MAX) });
        return log.appendZeroes(change.page, Math.min(change.count, PAGES_MAX - change.page));
      case 'resize':
        this.#apply({ zeroFrom: change.pages, zeroEnd: Number.MAX_SAFE_INTEGER });
        return log.appendResize(change.pages * LOG_PAGE_BYTES);
    }
  }

  #apply(effect: Effect): void {
    if ('page' in effect) this.touched.add(effect.page);
    else this.touched.add(effect.zeroFrom).add(Math.min(effect.zeroEnd, PAGES_MAX) - 1);
    applyTo(this.volume, effect);
  }

  async barrier(): Promise<void> {
    await this.makeRoom(0);
    const name = `snap-${++this.#barriers}`;
    const sequence = await this.log.appendBarrier(name);
    this.note();
    expect(this.journal.get(sequence)?.barrier).toBe(name);
  }

  async flush(): Promise<void> {
    const { lastSequence } = this.log.usage;
    await this.log.flush();
    this.flushed = Math.max(this.flushed, lastSequence);
    expect(this.log.usage.flushedSequence).toBeGreaterThanOrEqual(lastSequence);
  }

  /** Reads what is new in the log into the journal. */
  note(): void {
    const from = Math.max(this.storeSequence, ...this.journal.keys()) + 1;
    for (const record of this.log.records(from, Number.MAX_SAFE_INTEGER)) {
      expect(record.sequence).toBe(Math.max(this.storeSequence, ...this.journal.keys()) + 1);
      const read = this.#read(record.extents);
      this.#checkWholes(read.effects);
      this.journal.set(record.sequence, read);
    }
    expect(Math.max(this.storeSequence, ...this.journal.keys())).toBe(this.log.usage.lastSequence);
  }

  /** What was appended as a whole is in the record with all of its pages. */
  #checkWholes(effects: readonly Effect[]): void {
    const there = new Set<number>();
    for (const effect of effects) {
      if (!('versions' in effect)) continue;
      const [version = 0] = effect.versions;
      // Sectors that were merged into it later have another version.
      if (effect.versions.every((one) => one === version)) there.add(version);
    }
    for (const version of there)
      for (const other of this.#wholes.get(version) ?? [])
        expect(there.has(other), `${other} is in the record of ${version}`).toBe(true);
  }

  #read(extents: readonly LogExtent[]): Journalled {
    const effects: Effect[] = [];
    let barrier: string | undefined;
    const target = Buffer.alloc(LOG_PAGE_BYTES);
    for (const extent of extents) {
      expect(barrier, 'a barrier comes last').toBeUndefined();
      if (extent.kind === 'pages') {
        for (let i = 0; i < extent.pageCount; i++) {
          this.log.readSlots(extent.slot + i, target);
          expect(crc32(target)).toBe(extent.checksums[i]);
          const page = extent.firstPage + i;
          effects.push({ page, mask: FULL_MASK, versions: versionsOf(page, target) });
        }
      } else if (extent.kind === 'sectors') {
        this.log.readSlots(extent.slot, target);
        expect(crc32(target)).toBe(extent.checksum);
        effects.push({ page: extent.page, mask: extent.mask, versions: versionsOf(extent.page, target) });
      } else if (extent.kind === 'zeroes') {
        effects.push({ zeroFrom: extent.firstPage, zeroEnd: extent.firstPage + extent.pageCount });
      } else if (extent.kind === 'resize') {
        effects.push({ zeroFrom: extent.sizeBytes / LOG_PAGE_BYTES, zeroEnd: Number.MAX_SAFE_INTEGER });
      } else barrier = extent.name;
    }
    return { effects, barrier };
  }

  /** Brings records into the store, as the uploader does: read back from the files. */
  upload(logBytesMax: number): void {
    this.note();
    const records = this.log.records(this.storeSequence + 1, logBytesMax);
    for (const record of records) {
      const read = this.#read(record.extents);
      expect(read).toEqual(this.journal.get(record.sequence));
      for (const effect of read.effects) applyTo(this.store, effect);
      this.storeSequence = record.sequence;
      this.#storeIncarnation = record.incarnation;
      this.journal.delete(record.sequence);
    }
    this.log.uploaded(this.storeSequence);
  }

  /** Log over store reads as the volume does, for every page that anything was ever said of, and their neighbours. */
  check(): void {
    const { log } = this;
    const target = Buffer.alloc(LOG_PAGE_BYTES);
    for (const touched of this.touched) {
      for (const page of [touched, touched + 1]) {
        const below = this.store.get(page) ?? ZERO_PAGE;
        const slot = log.lookup(page);
        let versions: readonly number[] = below;
        if (slot === ZERO_IN_LOG) versions = ZERO_PAGE;
        else if (slot !== NOT_IN_LOG) {
          log.readSlots(slot, target);
          const mask = log.maskOf(page);
          const read = versionsOf(page, target);
          versions = below.map((version, i) => ((mask & (1 << i)) === 0 ? version : (read[i] ?? 0)));
        }
        expect(versions, `page ${page}, slot ${slot}`).toEqual(this.volume.get(page) ?? ZERO_PAGE);
        expect(log.nextPage(page, page + 1)).toBe(slot === NOT_IN_LOG ? undefined : page);
        const next = log.nextPage(page, Math.min(page + 5000, PAGES_MAX));
        if (next !== undefined) expect(log.lookup(next)).not.toBe(NOT_IN_LOG);
        this.#checkRun(page, slot);
      }
    }
    const { dirtyBytes, oldestDirtyMs, uploadedSequence, lastSequence } = log.usage;
    expect(uploadedSequence).toBe(this.storeSequence);
    expect(dirtyBytes > 0).toBe(lastSequence > uploadedSequence);
    expect(oldestDirtyMs === null).toBe(lastSequence === uploadedSequence);
  }

  #checkRun(page: number, slot: number): void {
    const { log } = this;
    const count = log.runLength(page, 5);
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThanOrEqual(5);
    for (let i = 1; i < count; i++) {
      expect(log.lookup(page + i)).toBe(slot < 0 ? slot : slot + i);
      if (slot > 0) expect(log.maskOf(page + i)).toBe(FULL_MASK);
    }
  }

  /** Closes in an orderly way, and opens again. */
  async reopen(): Promise<void> {
    const { lastSequence } = this.log.usage;
    await this.log.close();
    await this.open();
    expect(this.log.usage.lastSequence).toBe(lastSequence);
    this.flushed = lastSequence;
    this.#checkSurvivors();
  }

  /** The process ends: everything that was acknowledged is there. */
  async kill(): Promise<void> {
    const { lastSequence } = this.log.usage;
    this.disk = this.disk.afterKill();
    await this.open();
    expect(this.log.usage.lastSequence).toBe(lastSequence);
    this.#checkSurvivors();
  }

  /** The power goes: what is there is a prefix with everything that was flushed. */
  async cut(): Promise<void> {
    this.disk = this.disk.afterCut(this.#options.random, this.#options.random.float() < 0.5 ? 512 : LOG_PAGE_BYTES);
    await this.open();
    expect(this.log.usage.lastSequence).toBeGreaterThanOrEqual(this.flushed);
    this.#checkSurvivors();
  }

  #checkSurvivors(): void {
    const last = this.log.usage.lastSequence;
    for (const sequence of this.journal.keys()) if (sequence > last) this.journal.delete(sequence);
    this.volume = new Map(this.store);
    for (const [sequence, { effects }] of this.journal) {
      const [record] = this.log.records(sequence, 1);
      expect(record?.sequence).toBe(sequence);
      expect(this.#read(record?.extents ?? [])).toEqual(this.journal.get(sequence));
      for (const effect of effects) applyTo(this.volume, effect);
    }
    this.flushed = last;
    this.check();
  }

  async setCapacity(capacityBytes: number): Promise<void> {
    this.#capacityBytes = capacityBytes;
    await this.log.resize(capacityBytes);
  }
}
