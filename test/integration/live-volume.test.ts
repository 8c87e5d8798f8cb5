import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LiveHome, PAGE, type LiveProcess } from './live-home.ts';

let live: LiveHome;
let daemon: LiveProcess;

beforeEach(async () => {
  live = await LiveHome.start();
  daemon = await live.process();
  await daemon.serve();
  await daemon.call('volume.attach', { volume: 'db' });
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  await live[Symbol.asyncDispose]();
});

/** The bytes that pages of a snapshot begin with. */
async function snapshotBytes(snapshot: string, ...pages: number[]): Promise<(number | undefined)[]> {
  const path = join(live.directory, `${snapshot}.img`);
  await live.alone('snapshot.export', { snapshot, path, force: true });
  const image = await readFile(path);
  return pages.map((page) => image[page * PAGE]);
}

async function completed(snapshot: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { state } = await daemon.call('snapshot.show', { snapshot });
    if (state === 'completed') return;
    if (state !== 'pending' || tries > 500) throw new Error(`it is ${state}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('a volume that is served', () => {
  test('C8: a snapshot holds what was acknowledged before it, and nothing after', async () => {
    await daemon.write('db', 1, 7);
    const { state } = await daemon.call('snapshot.create', { volume: 'db', name: 'v1' });
    await daemon.write('db', 1, 8);
    await daemon.write('db', 2, 9);
    expect(state).toBe('pending');
    await completed('v1');
    expect(await snapshotBytes('v1', 1, 2)).toEqual([7, 0]);
    expect(await daemon.read('db', 1)).toBe(8);
  });

  test('C8: a snapshot that a kill left pending is completed when the volume is served again', async () => {
    await daemon.write('db', 1, 7);
    await daemon.call('snapshot.create', { volume: 'db', name: 'v1' });
    await daemon.write('db', 1, 8);
    await daemon.stopUndrained();
    daemon = await live.process();
    await daemon.call('volume.configure', { volume: 'db', sealIntervalMs: 100 });
    await daemon.serve();
    await completed('v1');
    expect(await snapshotBytes('v1', 1)).toEqual([7]);
    expect(await daemon.read('db', 1)).toBe(8);
  });

  test('grows, and shrinks when that is wanted, without being detached', async () => {
    await daemon.write('db', 1023, 5);
    expect(await daemon.call('volume.resize', { volume: 'db', sizeBytes: 8 << 20 })).toMatchObject({
      sizeBytes: 8 << 20,
    });
    await daemon.write('db', 2000, 6);
    const smaller = { volume: 'db', sizeBytes: 1 << 20 };
    await expect(daemon.call('volume.resize', smaller)).rejects.toMatchObject({ code: 'would-shrink' });
    await daemon.call('volume.resize', { ...smaller, shrink: true });
    await daemon.call('volume.resize', { volume: 'db', sizeBytes: 8 << 20 });
    expect(await daemon.read('db', 2000)).toBe(0);
  });

  test('is not deleted or imported into, and keeps the gateway as it is', async () => {
    const image = join(live.directory, 'a.img');
    await writeFile(image, Buffer.alloc(4 << 20, 1));
    const hint = 'Detach it first: sgw volume detach db';
    await expect(daemon.call('volume.delete', { volume: 'db' })).rejects.toMatchObject({
      code: 'volume-attached',
      hint,
    });
    await expect(daemon.call('volume.import', { file: image, into: 'db' })).rejects.toMatchObject({
      code: 'volume-attached',
      hint,
    });
    await expect(daemon.call('configure', { mode: 'shadowing' })).rejects.toMatchObject({ code: 'volumes-attached' });
  });

  test('lets its write log go once it is detached and drained', async () => {
    const { volumeId } = await daemon.call('volume.show', { volume: 'db' });
    await daemon.write('db', 1, 7);
    await daemon.call('volume.detach', { volume: 'db' });
    expect(await readdir(join(live.home, 'volumes', volumeId))).toEqual([]);
    await daemon.call('volume.attach', { volume: 'db' });
    expect(await daemon.read('db', 1)).toBe(7);
  });

  test('tells changes since a snapshot: what is in the store, in the log, and written meanwhile', async () => {
    await daemon.write('db', 1, 1);
    await daemon.call('snapshot.create', { volume: 'db', name: 'v1' });
    await completed('v1');
    await daemon.write('db', 3, 3);
    const opened = await daemon.serving.open('db');
    const { signal } = new AbortController();
    await opened.findContexts?.(['sgw:changed-since:v1', 'qemu:'], signal);
    expect(opened.contexts.map(({ name }) => name)).toEqual(['sgw:changed-since:v1', 'qemu:dirty-bitmap:v1']);
    const [context] = opened.contexts;
    const flags = async (): Promise<unknown> => context?.query(0, 16 * PAGE, 100, signal);
    expect(await flags()).toEqual([
      { length: 3 * PAGE, flags: 0 },
      { length: PAGE, flags: 1 },
      { length: 12 * PAGE, flags: 0 },
    ]);
    await daemon.write('db', 5, 5);
    expect(await flags()).toEqual([
      { length: 3 * PAGE, flags: 0 },
      { length: PAGE, flags: 1 },
      { length: PAGE, flags: 0 },
      { length: PAGE, flags: 1 },
      { length: 10 * PAGE, flags: 0 },
    ]);
    await opened.release();
  });
});

describe('a snapshot that is served', () => {
  test('is read through the store, read-only; its throw-away clone is written', async () => {
    await daemon.write('db', 1, 7);
    await daemon.call('snapshot.create', { volume: 'db', name: 'v1' });
    await completed('v1');
    await daemon.call('volume.attach', { volume: 'v1' });
    expect(await daemon.read('v1', 1)).toBe(7);
    await expect(daemon.write('v1', 1, 8)).rejects.toMatchObject({ kind: 'readOnly' });
    await daemon.call('volume.attach', { volume: 'v1', scratch: true, exportName: 'scratch' });
    await daemon.write('scratch', 1, 9);
    expect([await daemon.read('scratch', 1), await daemon.read('v1', 1), await daemon.read('db', 1)]).toEqual([
      9, 7, 7,
    ]);
    await daemon.call('volume.detach', { volume: 'scratch' });
    expect((await daemon.call('volume.list', {})).volumes.map(({ name }) => name)).toEqual(['db']);
  });
});

describe('a write log that nobody serves is settled before anybody else writes, so nothing acknowledged is left out:', () => {
  beforeEach(async () => {
    await daemon.write('db', 1, 7);
    await daemon.stopUndrained();
    await daemon[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    daemon = await live.process();
  });

  test('snapshot create', async () => {
    expect(await live.alone('snapshot.create', { volume: 'db', name: 'v1' })).toMatchObject({ state: 'completed' });
    expect(await snapshotBytes('v1', 1)).toEqual([7]);
  });

  test('volume resize', async () => {
    await live.alone('volume.resize', { volume: 'db', sizeBytes: 8 << 20 });
    await live.alone('snapshot.create', { volume: 'db', name: 'v1' });
    expect(await snapshotBytes('v1', 1)).toEqual([7]);
  });

  test('volume import --into: the pages that the image does not change', async () => {
    const image = join(live.directory, 'a.img');
    await live.alone('snapshot.create', { volume: 'db', name: 'v0' });
    await writeFile(image, Buffer.alloc(4 << 20, 3));
    await live.alone('volume.import', { file: image, into: 'db' });
    await live.alone('snapshot.create', { volume: 'db', name: 'v1' });
    expect(await snapshotBytes('v1', 1)).toEqual([3]);
    expect(await snapshotBytes('v0', 1)).toEqual([7]);
  });

  test('volume delete, undone by undelete', async () => {
    await live.alone('volume.delete', { volume: 'db' });
    await live.alone('volume.undelete', { volume: 'db' });
    await live.alone('snapshot.create', { volume: 'db', name: 'v1' });
    expect(await snapshotBytes('v1', 1)).toEqual([7]);
  });

  test('store gc, which rewrites', async () => {
    await live.alone('store.gc', { graceMs: 0 });
    const next = await live.process();
    await next.serve();
    expect(await next.read('db', 1)).toBe(7);
    await next[Symbol.asyncDispose]();
  });

  test('a next attachment goes on with it', async () => {
    const next = await live.process();
    await next.serve();
    expect(await next.read('db', 1)).toBe(7);
    await next[Symbol.asyncDispose]();
    await live.alone('snapshot.create', { volume: 'db', name: 'v1' });
    expect(await snapshotBytes('v1', 1)).toEqual([7]);
  });
});

describe('a recovery point', () => {
  test('C7: is listed, cloned, and attached for reading, after newer writes', async () => {
    await daemon.write('db', 1, 7);
    await daemon.call('volume.detach', { volume: 'db' });
    await daemon.call('volume.attach', { volume: 'db' });
    const { recoveryPoints } = await daemon.call('recovery-point.list', { volume: 'db' });
    const at = recoveryPoints.at(-1)?.at ?? '';
    await new Promise((resolve) => setTimeout(resolve, 20));
    await daemon.write('db', 1, 8);
    await daemon.call('volume.detach', { volume: 'db' });
    const past = await daemon.call('volume.attach', { volume: 'db', recoveryPoint: at, exportName: 'past' });
    expect(past).toMatchObject({ readOnly: true, state: 'available' });
    expect(await daemon.read('past', 1)).toBe(7);
    await daemon.call('volume.create', { name: 'then', fromVolume: 'db', recoveryPoint: at });
    await daemon.call('volume.create', { name: 'now', fromVolume: 'db' });
    for (const volume of ['then', 'now']) await daemon.call('volume.attach', { volume });
    expect([await daemon.read('then', 1), await daemon.read('now', 1)]).toEqual([7, 8]);
    await daemon.call('volume.detach', { volume: 'past' });
    expect((await daemon.call('snapshot.list', {})).snapshots).toEqual([]);
  });
});
