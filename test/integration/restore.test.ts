/** Restores to local images as a gateway runs them: served from the start, killed, found again, and what they keep from gc. */
import { copyFileSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createCipheriv, createHmac } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { getRestore, noteFinishing, type RestoreEntry } from '../../src/core/blockstore/index.ts';
import { partsOf } from '../../src/core/daemon/parts.ts';
import { KIB, MIB, seededRandom, systemClock, systemRandom, type SgwError } from '../../src/core/kit/index.ts';
import type { Result } from '../../src/core/localapi/index.ts';
import { acquireLock, openState, updateState } from '../../src/core/state/index.ts';
import { LiveHome, type LiveProcess } from './live-home.ts';
import { readAll, SIZE, SLOW, SnapshotHome } from './snapshot-home.ts';

const BLOCK = 256 * KIB;

let here: SnapshotHome;
let live: LiveHome;
let source: Buffer;
let image: string;
let snapshotId: string;

beforeEach(async () => {
  here = await SnapshotHome.start(11);
  ({ live, source, image, snapshotId } = here);
});

afterEach(async () => {
  await here[Symbol.asyncDispose]();
});

/** Where the tests write, and a little more. Who reads all of it has all of it restored soon. */
async function looksRight(process: LiveProcess): Promise<boolean> {
  const [from, to] = [2 * MIB, 5 * MIB];
  const opened = await process.serving.open('v1');
  const target = Buffer.alloc(to - from);
  await opened.device.read(from, target);
  await opened.release();
  return target.equals(source.subarray(from, to));
}

const write = async (process: LiveProcess, at: number, data: Buffer): Promise<void> =>
  here.write(process, 'v1', at, data);

async function completed(process: LiveProcess): Promise<void> {
  for (;;) {
    const [shown] = process.serving.documents();
    if (shown?.restore?.state === 'completed') return;
    if (shown?.reason !== null && shown?.reason !== undefined) throw new Error(shown.reason);
    await delay(10);
  }
}

describe('a restore without a daemon', () => {
  it('makes the image whole and sparse, and keeps nothing from gc when it is done', async () => {
    const result = await live.alone('snapshot.restore', { snapshot: 'v1', image });
    expect(result).toMatchObject({ state: 'completed', resumed: false, doneBytes: SIZE, export: null });
    expect(readFileSync(image).equals(source)).toBe(true);
    expect(statSync(image).blocks * 512).toBeLessThan(SIZE - 3 * MIB);
    const { roots } = await live.alone('store.gc', { graceMs: 0 });
    expect(roots.restores).toBe(0);
  });

  it('does not touch an image that has something in it, unless it is forced', async () => {
    writeFileSync(image, 'precious');
    await expect(live.alone('snapshot.restore', { snapshot: 'v1', image })).rejects.toMatchObject({
      code: 'file-exists',
    });
    expect(readFileSync(image, 'utf8')).toBe('precious');
    await live.alone('snapshot.restore', { snapshot: 'v1', image, force: true });
    expect(readFileSync(image).equals(source)).toBe(true);
  });

  it('restores a recovery point, and leaves no snapshot of it behind', async () => {
    const [point] = (await live.alone('recovery-point.list', { volume: 'golden' })).recoveryPoints;
    await live.alone('snapshot.restore', { snapshot: 'golden', image, recoveryPoint: point?.at ?? '' });
    expect(readFileSync(image).equals(source)).toBe(true);
    expect((await live.alone('snapshot.list', {})).snapshots.map(({ name }) => name)).toEqual(['v1']);
  });

  it('an image below one block is restored at once', async () => {
    const file = join(live.directory, 'small.img');
    writeFileSync(file, source.subarray(0, 5000));
    await live.alone('snapshot.import', { file, name: 'small' });
    await live.alone('snapshot.restore', { snapshot: 'small', image });
    expect(readFileSync(image).subarray(0, 5000).equals(source.subarray(0, 5000))).toBe(true);
  });
});

describe('a restore that is served', () => {
  it('is read and written from the start, over restarts, and is the snapshot and the writes in the end', async () => {
    {
      await using process = await live.process();
      await process.serve();
      const result = await process.call('snapshot.restore', { snapshot: 'v1', image, attach: true, rateBytes: SLOW });
      expect(result).toMatchObject({ state: 'restoring', export: { kind: 'image', readOnly: false } });
      expect(await looksRight(process)).toBe(true);
      await write(process, 4 * MIB + 77, seededRandom(1).bytes(100_000));
      await write(process, 10 * MIB + 77, seededRandom(1).bytes(100_000));
      await write(process, 12 * MIB, seededRandom(2).bytes(2 * BLOCK));
      expect(await looksRight(process)).toBe(true);
      expect(process.serving.documents()[0]?.restore).toMatchObject({ state: 'restoring', path: image });
      await process.stopUndrained();
    }
    await using again = await live.process();
    await again.serve();
    expect(await looksRight(again)).toBe(true);
    await write(again, 3 * MIB, seededRandom(3).bytes(BLOCK + 5));
    await again.call('volume.detach', { volume: 'v1' });
    await again.call('snapshot.restore', { snapshot: 'v1', image, resume: true, attach: true });
    await completed(again);
    expect((await readAll(again, 'v1')).equals(source)).toBe(true);
    await write(again, 0, seededRandom(4).bytes(5000));
    await again.call('volume.detach', { volume: 'v1' });
    expect(readFileSync(image).equals(source)).toBe(true);
  });

  it('C24 goes on in another home, with nothing but the id of a snapshot that was deleted, the store and the image', async () => {
    const { store } = (await live.alone('status', {})) as { store: { description: string } };
    {
      await using process = await live.process();
      await process.serve();
      await process.call('snapshot.restore', { snapshot: 'v1', image, attach: true, rateBytes: SLOW });
      await write(process, 10 * MIB, seededRandom(1).bytes(100_000));
      await process.stopUndrained();
    }
    await live.alone('snapshot.delete', { snapshot: 'v1' });
    await live.alone('volume.delete', { volume: 'golden' });
    const gc = await live.alone('store.gc', { graceMs: 0 });
    expect(gc.roots.restores).toBe(1);
    const moved = join(live.directory, 'moved.img');
    copyFileSync(image, moved);
    await using other = await LiveHome.start(store.description);
    await other.alone('snapshot.restore', { snapshot: snapshotId, image: moved, resume: true });
    expect(readFileSync(moved).equals(source)).toBe(true);
  });

  it('C25 a mark that was read from the image and is written by a guest is refused, and not believed after a restart', async () => {
    await using process = await live.process();
    await process.serve();
    await process.call('snapshot.restore', { snapshot: 'v1', image, attach: true, rateBytes: SLOW });
    // Once the root is restored, its children carry their marks.
    while ((process.serving.documents()[0]?.restore?.doneBytes ?? 0) === 0) await delay(20);
    const marks = Array.from({ length: Math.floor(SIZE / BLOCK) - 1 }, (_, i) => {
      const mark = readFileSync(image).subarray((i + 1) * BLOCK, (i + 1) * BLOCK + 512);
      const isData = mark.equals(source.subarray((i + 1) * BLOCK, (i + 1) * BLOCK + 512));
      return { block: i + 1, mark, isMark: !isData && mark.some((byte) => byte !== 0) };
    });
    const { block, mark } = marks.find(({ isMark }) => isMark) ?? { block: 0, mark: Buffer.alloc(0) };
    expect(block).toBeGreaterThan(0);
    await expect(write(process, block * BLOCK, mark)).rejects.toMatchObject({ code: 'mark-refused' });
    await expect(write(process, block * BLOCK + 8, mark.subarray(8, 16))).rejects.toMatchObject({
      code: 'mark-refused',
    });
    await write(process, (block + 1) * BLOCK, Buffer.concat([mark, mark]));
    expect((await readAll(process, 'v1')).equals(source)).toBe(true);
  });

  it('another image in its place is not taken for it', async () => {
    {
      await using process = await live.process();
      await process.serve();
      await process.call('snapshot.restore', { snapshot: 'v1', image, attach: true, rateBytes: SLOW });
      await process.stopUndrained();
    }
    rmSync(image);
    writeFileSync(image, Buffer.alloc(SIZE));
    await using process = await live.process();
    await process.serve();
    expect(process.serving.documents()[0]).toMatchObject({ state: 'waiting', kind: 'image' });
    expect(process.serving.documents()[0]?.reason).toContain('carries no mark');
    expect(readFileSync(image).every((byte) => byte === 0)).toBe(true);
  });

  it('two restores of one image: the second is refused while the first is not done, and both while it is served', async () => {
    await using process = await live.process();
    await process.serve();
    await process.call('snapshot.restore', { snapshot: 'v1', image, attach: true, rateBytes: SLOW });
    await expect(process.call('snapshot.restore', { snapshot: 'v1', image, force: true })).rejects.toMatchObject({
      code: 'image-in-use',
    });
    await process.call('volume.detach', { volume: 'v1' });
    await expect(process.call('snapshot.restore', { snapshot: 'v1', image })).rejects.toMatchObject({
      code: 'restore-unfinished',
    });
  });
});

it('a restore of a snapshot of which the store lost a frame has all the rest', async () => {
  const names = await readdir(join(here.stores, 'store'), { recursive: true });
  const sizes = names.map((name) => [
    statSync(join(here.stores, 'store', name), { throwIfNoEntry: false })?.size ?? 0,
    name,
  ]);
  const [, largest] = sizes.sort(([a], [b]) => Number(b) - Number(a))[0] ?? [];
  const segment = join(here.stores, 'store', String(largest));
  const bytes = readFileSync(segment);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  writeFileSync(segment, bytes);
  const error = await live.alone('snapshot.restore', { snapshot: 'v1', image }).catch((failure: unknown) => failure);
  expect(error).toMatchObject({ kind: 'corrupt', code: 'restore-damaged' });
  const { details } = error as SgwError;
  expect(details['damagedBytes']).toBe(BLOCK);
  const extents = [...(details['damaged'] as object[]), ...(details['waiting'] as object[])];
  const restored = readFileSync(image);
  for (const { offset, length } of extents as { offset: number; length: number }[]) {
    expect(restored.subarray(offset, offset + length).equals(source.subarray(offset, offset + length))).toBe(false);
    source.copy(restored, offset, offset, offset + length);
  }
  expect(restored.equals(source)).toBe(true);
});

describe('a restore over an image that holds something', () => {
  const contents = async (snapshot: string): Promise<Buffer> => {
    const file = join(live.directory, 'contents.img');
    await live.alone('snapshot.export', { snapshot, path: file, force: true });
    return readFileSync(file);
  };
  const names = async (): Promise<string[]> =>
    (await live.alone('snapshot.list', {})).snapshots.map(({ name }) => name).filter((name) => name !== 'v1');

  it.each([
    ['the same size', SIZE],
    ['more bytes', SIZE + MIB],
    ['fewer bytes, and no whole sectors', 700_001],
  ])('of %s keeps it first, in a volume and a snapshot', async (_what, sizeBytes) => {
    const old = Buffer.alloc(sizeBytes);
    source.copy(old);
    seededRandom(5).bytes(70_000).copy(old, 123_456);
    writeFileSync(image, old);
    const { previous } = await live.alone('snapshot.restore', { snapshot: 'v1', image, force: true });
    expect(readFileSync(image).equals(source)).toBe(true);
    expect(previous?.snapshotName).toMatch(/^restored-before-restore-\d{8}-\d{6}$/);
    expect((await contents(previous?.snapshotId ?? '')).equals(old)).toBe(true);
    const back = { snapshot: previous?.snapshotId ?? '', image, force: true, snapshotFirst: false };
    await live.alone('snapshot.restore', back);
    expect(readFileSync(image).equals(old)).toBe(true);
    expect(await names()).toEqual([previous?.snapshotName]);
    const { volumes } = await live.alone('volume.list', {});
    expect(volumes.find(({ volumeId }) => volumeId === previous?.volumeId)).toMatchObject({
      state: 'available',
      name: previous?.volumeName,
      sizeBytes,
    });
  });

  it('sends only what differs from the snapshot', async () => {
    const old = Buffer.from(source);
    seededRandom(5).bytes(70_000).copy(old, 123_456);
    writeFileSync(image, old);
    const before = (await live.alone('store.stats', {})).totalBytes;
    await live.alone('snapshot.restore', { snapshot: 'v1', image, force: true });
    expect((await live.alone('store.stats', {})).totalBytes - before).toBeLessThan(MIB);
  });

  it('keeps nothing when it is told so, and nothing of what is empty', async () => {
    writeFileSync(image, 'not precious');
    const wish = { snapshot: 'v1', image, force: true };
    expect(await live.alone('snapshot.restore', { ...wish, snapshotFirst: false })).toMatchObject({ previous: null });
    truncateSync(image, 0);
    expect(await live.alone('snapshot.restore', wish)).toMatchObject({ previous: null });
    truncateSync(image, 0);
    truncateSync(image, SIZE);
    expect(await live.alone('snapshot.restore', wish)).toMatchObject({ previous: null, remarks: [expect.any(String)] });
    expect(await names()).toEqual([]);
  });

  it('refuses an unfinished restore, whose marks are no data, unless it may go', async () => {
    await using process = await live.process();
    await process.serve();
    await process.call('snapshot.restore', { snapshot: 'v1', image, attach: true, rateBytes: SLOW });
    await process.call('volume.detach', { volume: 'v1' });
    const wish = { snapshot: 'v1', image, force: true };
    await expect(process.call('snapshot.restore', wish)).rejects.toMatchObject({ code: 'restore-unfinished' });
    const { previous } = await process.call('snapshot.restore', { ...wish, snapshotFirst: false });
    expect(previous).toBeNull();
    expect(readFileSync(image).equals(source)).toBe(true);
    expect(await names()).toEqual([]);
  });

  it('is left as it is when it can not be kept', async () => {
    const old = Buffer.from(source);
    seededRandom(5).bytes(70_000).copy(old, 123_456);
    writeFileSync(image, old);
    await using process = await live.process();
    const stop = new AbortController();
    const stopped = process.call(
      'snapshot.restore',
      { snapshot: 'v1', image, force: true },
      {
        signal: stop.signal,
        onProgress: () => {
          stop.abort();
        },
      },
    );
    await expect(stopped).rejects.toMatchObject({ kind: 'aborted' });
    expect(readFileSync(image).equals(old)).toBe(true);
    expect(await names()).toEqual([]);
    expect((await live.alone('volume.list', {})).volumes.map(({ name }) => name)).toEqual(['golden']);
  });
});

describe('a completed restore that is served', () => {
  async function complete(): Promise<void> {
    await using process = await live.process();
    await process.serve();
    await process.call('snapshot.restore', { snapshot: 'v1', image, attach: true });
    await completed(process);
    await write(process, 3 * MIB, seededRandom(3).bytes(BLOCK + 5));
    await process.stopUndrained();
  }

  async function isServedWhole(): Promise<void> {
    await using process = await live.process();
    await process.serve();
    expect(process.serving.documents()[0]).toMatchObject({
      state: 'available',
      name: 'v1',
      sizeBytes: SIZE,
      restore: { state: 'completed', path: image },
    });
    expect((await readAll(process, 'v1')).equals(source)).toBe(true);
  }

  it('is served after a restart whose store has nothing of it any more', async () => {
    await complete();
    rmSync(join(here.stores, 'store', 'restores'), { recursive: true });
    await isServedWhole();
  });

  it('is served after a restart while the store is out of reach', async () => {
    await complete();
    rmSync(join(here.stores, 'store'), { recursive: true });
    await isServedWhole();
  });

  it('is followed by its volume after a restart whose store has nothing of the restore any more', async () => {
    await live.alone('configure', { mode: 'shadowing' });
    const wish = { snapshot: 'v1', image, attach: true, exportName: 'disk' };
    {
      await using process = await live.process();
      await process.serve();
      await process.call('snapshot.restore', wish);
      await completed(process);
      await process.stopUndrained();
    }
    rmSync(join(here.stores, 'store', 'restores'), { recursive: true });
    await using process = await live.process();
    await process.serve();
    const [shown] = process.serving.documents();
    expect(shown).toMatchObject({ kind: 'volume', name: 'disk', restore: { state: 'completed', path: image } });
    expect((await readAll(process, 'disk')).equals(source)).toBe(true);
  });

  it('is noted by the next start when it was not before', async () => {
    await complete();
    const noted = (await openState(live.home)).gateway?.attachments[0]?.restore;
    expect(noted).toMatchObject({ completed: { name: 'v1', volumeName: 'golden', sizeBytes: SIZE } });
    await updateState(live.home, ({ gateway }) => {
      delete gateway?.attachments[0]?.restore?.completed;
    });
    await isServedWhole();
    rmSync(join(here.stores, 'store', 'restores'), { recursive: true });
    await isServedWhole();
  });
});

describe('a completed restore that could not be noted', () => {
  it('is known after a restart, also when another restore of the snapshot was completed meanwhile', async () => {
    {
      await using process = await live.process();
      await process.serve();
      await process.call('snapshot.restore', { snapshot: 'v1', image, attach: true, rateBytes: 8 * MIB });
      {
        // Longer than it is waited for by what no caller waits for.
        await using _state = await acquireLock({ home: live.home, name: 'home', purpose: 'test', timeoutMs: 5000 });
        await completed(process);
        await delay(1500);
      }
      expect((await openState(live.home)).gateway?.attachments[0]?.restore?.completed).toBeUndefined();
      await live.alone('snapshot.restore', { snapshot: 'v1', image: `${image}.2` });
      await live.alone('snapshot.restore', { snapshot: 'v1', image: `${image}.3` });
      await process.stopUndrained();
    }
    await using process = await live.process();
    await process.serve();
    expect(process.serving.documents()[0]).toMatchObject({ state: 'available', restore: { state: 'completed' } });
    expect((await readAll(process, 'v1')).equals(source)).toBe(true);
    expect((await openState(live.home)).gateway?.attachments[0]?.restore?.completed).toBeDefined();
  });
});

describe('the snapshot of a recovery point that is served while it is restored', () => {
  const others = async (process: LiveProcess): Promise<string[]> =>
    (await process.call('snapshot.list', {})).snapshots.map(({ name }) => name).filter((name) => name !== 'v1');
  const begin = async (process: LiveProcess, exportName?: string): Promise<Result<'snapshot.restore'>> => {
    const [point] = (await process.call('recovery-point.list', { volume: 'golden' })).recoveryPoints;
    const wish = { snapshot: 'golden', image, attach: true, recoveryPoint: point?.at ?? '' };
    return await process.call('snapshot.restore', { ...wish, ...(exportName === undefined ? {} : { exportName }) });
  };

  it('goes when all is restored, and what is served stays', async () => {
    await using process = await live.process();
    await process.serve();
    const { name } = await begin(process);
    await completed(process);
    expect(await others(process)).toEqual([]);
    expect((await readAll(process, name)).equals(source)).toBe(true);
  });

  it('goes when nothing can be begun', async () => {
    await using process = await live.process();
    await process.serve();
    await process.call('volume.attach', { volume: 'v1', exportName: 'taken' });
    await expect(begin(process, 'taken')).rejects.toMatchObject({ code: 'export-exists' });
    expect(await others(process)).toEqual([]);
  });

  it('goes when it can not be served, and the restore is resumed without it', async () => {
    await using process = await live.process();
    await process.serve();
    await process.serving.stop({ drain: false, signal: new AbortController().signal });
    const failure = await begin(process).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'gateway-stopped', hint: expect.stringContaining('--resume') as string });
    expect(await others(process)).toEqual([]);
    const snapshot = /restore (snap-\S+)/.exec((failure as SgwError).hint ?? '')?.[1] ?? '';
    await process.call('snapshot.restore', { snapshot, image, resume: true });
    expect(readFileSync(image).equals(source)).toBe(true);
  });
});

describe('C24 what is blank is not taken for restored', () => {
  it('an empty file that has the place of a completed restore', async () => {
    await live.alone('snapshot.restore', { snapshot: 'v1', image });
    truncateSync(image, 0);
    truncateSync(image, SIZE);
    await expect(live.alone('snapshot.restore', { snapshot: 'v1', image, resume: true })).rejects.toMatchObject({
      code: 'restore-completed',
    });
  });

  it('nor that of one which was finishing when it was killed, once another restore has begun to overwrite it', async () => {
    await using process = await live.process();
    await process.serve();
    await process.call('snapshot.restore', { snapshot: 'v1', image, attach: true, rateBytes: SLOW });
    await process.call('volume.detach', { volume: 'v1' });
    const [file = ''] = (await readdir(join(here.stores, 'store', 'restores'))).slice(-1);
    const restoreId = /^(snap-[0-9a-f]+-[0-9a-f]+)/.exec(file)?.[1] ?? '';
    const blocks = await (await partsOf(live.home)).openStore(join(here.stores, 'store'), { create: false });
    const options = { objects: blocks, clock: systemClock, random: systemRandom };
    await noteFinishing(options, restoreId as RestoreEntry['restoreId']);
    truncateSync(image, 0);
    // What is small is overwritten without being forced.
    await expect(
      process.call('snapshot.restore', { snapshot: 'v1', image, exportName: 'v1', attach: true, force: true }),
    ).resolves.toMatchObject({ resumed: false });
    expect((await getRestore(options, restoreId as RestoreEntry['restoreId'])).state).toBe('abandoned');
    await blocks.close();
  });
});

describe('another reader, by docs/formats/documents.md alone', () => {
  interface RestoreDocument {
    readonly restoreId: string;
    readonly secret: string;
    readonly blockBytes: number;
    readonly state: string;
  }

  async function readDocument(): Promise<RestoreDocument> {
    const folder = join(here.stores, 'store', 'restores');
    const versions = (await readdir(folder)).sort();
    return JSON.parse(readFileSync(join(folder, versions.at(-1) ?? ''), 'utf8')) as RestoreDocument;
  }

  /** Counter mode, block by block: AES of each counter is the keystream. */
  function markOf({ restoreId, secret }: RestoreDocument, block: number): Buffer {
    const key = createHmac('sha256', Buffer.from(secret, 'hex')).update(`sgw restore mark 1 ${restoreId}`).digest();
    const pieces = Array.from({ length: 32 }, (_, i) => {
      const counter = Buffer.alloc(16);
      counter.writeUInt32BE(block, 4);
      counter.writeUInt32BE(i, 12);
      const cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
      return cipher.update(counter);
    });
    return Buffer.concat(pieces);
  }

  it('C23 finds the marks of the root, or of the children of what is restored', async () => {
    await using process = await live.process();
    await process.serve();
    await process.call('snapshot.restore', { snapshot: 'v1', image, attach: true, rateBytes: SLOW });
    await process.stopUndrained();
    const document = await readDocument();
    expect(document).toMatchObject({ state: 'restoring', blockBytes: BLOCK });
    const file = readFileSync(image);
    const isMarked = (block: number): boolean =>
      file.subarray(block * BLOCK, block * BLOCK + 512).equals(markOf(document, block));
    const marked = Array.from({ length: Math.floor(SIZE / BLOCK) }, (_, block) => block).filter(isMarked);
    expect(marked.length).toBeGreaterThan(0);
    for (const block of marked) if (block > 0) expect(isMarked((block - 1) >> 1)).toBe(false);
  });
});
