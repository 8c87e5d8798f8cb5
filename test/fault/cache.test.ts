/** A cache whose disk fails, or whose process is killed, is a smaller cache, and never an error or wrong bytes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CacheDisk, CacheFile, CacheLimits, FrameCache } from '../../src/core/cache/index.ts';
import type { Clock } from '../../src/core/kit/index.ts';
import { framePages, segmentId } from '../unit/cache/frames.ts';
import { newFolder, openCache, settled } from '../unit/cache/setting.ts';

const MIB = 1024 * 1024;
const LIMITS: CacheLimits = { fileBytes: 2 * MIB, ramBytes: MIB };

/** Files in memory that fail when they are told to. */
class FakeDisk implements CacheDisk {
  bytes = Buffer.alloc(0);
  index: Buffer | undefined;
  fails: (what: string) => boolean = () => false;
  writes = 0;
  held: (() => void)[] | undefined;

  #check(what: string): void {
    if (this.fails(what))
      throw Object.assign(new Error(`ENOSPC: no space left on device, ${what}`), { code: 'ENOSPC' });
  }

  async openFrames(): Promise<CacheFile> {
    this.#check('open');
    return {
      readSync: (target, offset, length, position) => {
        this.#check('read');
        return this.bytes.copy(target, offset, position, position + length);
      },
      write: async (pieces, position) => {
        this.writes++;
        if (this.held !== undefined && position > 0) {
          const { held } = this;
          // Half of the bytes are there before the write ends.
          Buffer.concat(pieces).copy(this.bytes, position, 0, 2048);
          await new Promise<void>((resolve) => held.push(resolve));
        }
        this.#check('write');
        if (this.bytes.length < position + 4096)
          this.bytes = Buffer.concat([this.bytes, Buffer.alloc(position + 4096)]);
        Buffer.concat(pieces).copy(this.bytes, position);
      },
      truncate: async (sizeBytes) => {
        this.#check('truncate');
        this.bytes = Buffer.concat([
          this.bytes.subarray(0, sizeBytes),
          Buffer.alloc(Math.max(0, sizeBytes - this.bytes.length)),
        ]);
      },
      sizeBytes: async () => this.bytes.length,
      sync: async () => {
        this.#check('sync');
      },
      close: async () => undefined,
    };
  }

  async readIndex(): Promise<Buffer | undefined> {
    this.#check('readIndex');
    return this.index;
  }

  async removeIndex(): Promise<void> {
    this.#check('removeIndex');
    this.index = undefined;
  }

  async writeIndex(pieces: Iterable<Buffer>): Promise<void> {
    this.#check('writeIndex');
    this.index = Buffer.concat([...pieces]);
  }
}

class HandClock implements Clock {
  ms = 0;
  nowMs(): number {
    return this.ms;
  }
  monotonicMs(): number {
    return this.ms;
  }
  async sleep(): Promise<void> {
    return Promise.resolve();
  }
}

/** Puts frames of four pages and counts which are found; those found must be right. */
async function putAndFind(cache: FrameCache, from: number, count: number): Promise<number> {
  const segment = cache.numberOf(segmentId(1));
  for (let frame = from; frame < from + count; frame++) cache.put(segment, frame, framePages(1, frame, 4));
  await settled(cache);
  return find(cache, from, count);
}

function find(cache: FrameCache, from: number, count: number): number {
  const segment = cache.numberOf(segmentId(1));
  const target = Buffer.alloc(4 * 4096);
  let found = 0;
  for (let frame = from; frame < from + count; frame++) {
    if (!cache.read(segment, frame, 0, target)) continue;
    expect(target.equals(framePages(1, frame, 4))).toBe(true);
    found++;
  }
  return found;
}

describe('a disk that fails', () => {
  it.each(['open', 'removeIndex', 'write', 'truncate'])(
    'at the opening (%s): the cache is in memory only',
    async (what) => {
      const disk = new FakeDisk();
      disk.fails = (each) => each === what;
      const problems: string[] = [];
      const cache = await openCache({ directory: '/', limits: LIMITS, disk, onProblem: (text) => problems.push(text) });
      expect(problems).toHaveLength(1);
      expect(cache.stats.fileProblem).toContain('ENOSPC');
      expect(await putAndFind(cache, 0, 20)).toBe(20);
      expect(cache.stats.fileUsedBytes).toBe(0);
      disk.fails = () => false;
      await cache.resize(LIMITS);
      expect(await putAndFind(cache, 100, 30)).toBe(30);
      expect(cache.stats).toMatchObject({ fileProblem: null, fileUsedBytes: 30 * 16384 });
    },
  );

  it('when it is full: nothing is written for ten seconds, what is there is read on', async () => {
    const disk = new FakeDisk();
    const clock = new HandClock();
    const problems: string[] = [];
    const limits = { fileBytes: 2 * MIB, ramBytes: 0 };
    const cache = await openCache({ directory: '/', limits, disk, clock, onProblem: (text) => problems.push(text) });
    expect(await putAndFind(cache, 0, 20)).toBe(20);
    disk.fails = (what) => what === 'write';
    expect(await putAndFind(cache, 20, 20)).toBe(0);
    expect(problems).toHaveLength(1);
    const { writes } = disk;
    expect(await putAndFind(cache, 40, 20)).toBe(0);
    expect(disk.writes).toBe(writes);
    expect(find(cache, 0, 60)).toBe(20);
    disk.fails = () => false;
    clock.ms += 10_001;
    expect(await putAndFind(cache, 20, 20)).toBe(20);
    expect(find(cache, 0, 40)).toBe(40);
  });

  it('at reads: the frame is dropped and the reader told that it is not there', async () => {
    const disk = new FakeDisk();
    const cache = await openCache({ directory: '/', limits: { fileBytes: 2 * MIB, ramBytes: 0 }, disk });
    expect(await putAndFind(cache, 0, 20)).toBe(20);
    disk.fails = (what) => what === 'read';
    expect(find(cache, 0, 20)).toBe(0);
    disk.fails = () => false;
    expect(find(cache, 0, 20)).toBe(0);
    expect(cache.stats).toMatchObject({ damagedFrames: 20, frames: 0, fileUsedBytes: 0 });
  });

  it.each(['sync', 'writeIndex'])('at the close (%s): it closes, says so, and begins empty next time', async (what) => {
    const disk = new FakeDisk();
    const problems: string[] = [];
    const cache = await openCache({ directory: '/', limits: LIMITS, disk, onProblem: (text) => problems.push(text) });
    await putAndFind(cache, 0, 20);
    disk.fails = (each) => each === what;
    await cache.close();
    expect(problems).toHaveLength(1);
    disk.fails = () => false;
    const next = await openCache({ directory: '/', limits: LIMITS, disk });
    expect(find(next, 0, 20)).toBe(0);
  });

  it('that can not be made: a file where the folder should be, a folder where the file should be', async () => {
    const directory = await newFolder();
    await writeFile(join(directory, 'file'), '');
    const one = await openCache({ directory: join(directory, 'file'), limits: LIMITS });
    expect(one.stats.fileProblem).not.toBeNull();
    expect(await putAndFind(one, 0, 20)).toBe(20);
    await mkdir(join(directory, 'cache', 'frames'), { recursive: true });
    const other = await openCache({ directory: join(directory, 'cache'), limits: LIMITS });
    expect(other.stats.fileProblem).not.toBeNull();
    expect(await putAndFind(other, 0, 20)).toBe(20);
  });
});

describe('a write under way', () => {
  it('is read from memory, never half-written, and more than the bound is not begun', async () => {
    const disk = new FakeDisk();
    const held: (() => void)[] = [];
    const cache = await openCache({ directory: '/', limits: { fileBytes: 2 * MIB, ramBytes: 0 }, disk });
    disk.held = held;
    const segment = cache.numberOf(segmentId(1));
    for (let frame = 0; frame < 200; frame++) cache.put(segment, frame, framePages(1, frame, 4));
    await new Promise((resolve) => setImmediate(resolve));
    expect(held.length).toBeGreaterThan(0);
    expect(find(cache, 0, 200)).toBe(32);
    expect(cache.stats).toMatchObject({ writingBytes: MIB / 2, unwrittenFrames: 168 });
    disk.held = undefined;
    for (const release of held) release();
    await settled(cache);
    expect(find(cache, 0, 200)).toBe(32);
    expect(cache.stats.damagedFrames).toBe(0);
  });
});

describe('kill -9', () => {
  it('leaves a folder in which the next cache returns nothing wrong', async () => {
    const directory = await newFolder();
    const fileBytes = 4 * MIB;
    for (let round = 0; round < 4; round++) {
      const child = spawn(
        process.execPath,
        [join(import.meta.dirname, 'cache-kill-child.ts'), directory, String(fileBytes)],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      for (let lines = 0; lines < 5 + round * 7; lines++) await once(child.stdout, 'data');
      child.kill('SIGKILL');
      await once(child, 'close');
      const cache = await openCache({ directory, limits: { fileBytes, ramBytes: 0 } });
      const segment = cache.numberOf(segmentId(1));
      for (let frame = 0; frame < 2000; frame++) {
        const pages = (frame % 16) + 1;
        const target = Buffer.alloc(pages * 4096);
        if (!cache.read(segment, frame, 0, target)) continue;
        expect(target.equals(framePages(1, frame, pages))).toBe(true);
      }
      expect(cache.stats.damagedFrames).toBe(0);
      // Every other round is killed behind a clean close, so that an index was there when the child began.
      if (round % 2 === 0) cache.put(segment, 0, framePages(1, 0, 1));
      await cache.close();
    }
  }, 60_000);
});
