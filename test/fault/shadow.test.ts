/** Shadowing volumes over disks that forget (C19 to C22). `SGW_SEED` and `SGW_RUNS` for more of the random walk. */
import { afterEach, describe, expect, it } from 'vitest';
import { SgwError, seededRandom, systemClock, type Random } from '../../src/core/kit/index.ts';
import { ShadowScene } from './shadow-scene.ts';
import { randomWalk, type WalkStyle } from './shadow-walk.ts';

const MIB = 1 << 20;
const SEED = Number(process.env['SGW_SEED'] ?? 1);
const RUNS = Number(process.env['SGW_RUNS'] ?? 6);
const SIZE = 9 * MIB + 1536;
const WALK: WalkStyle = {
  ...{ sizeBytes: SIZE, worksMax: 60, longBytes: 65_536, close: 0.5, writesBehind: true },
  work: { write: 0.75, zeroes: 0.9, flush: 1 },
  then: { out: 0.15, back: 0.4, snapshot: 0.5, death: 0.75, rest: 0.85 },
};

let scene: ShadowScene | undefined;
afterEach(async () => {
  await scene?.volume.close().catch(() => undefined);
  scene = undefined;
});

async function start(random: Random, sizeBytes = SIZE): Promise<ShadowScene> {
  scene = await ShadowScene.start(random, sizeBytes);
  return scene;
}

describe('a shadowing volume', () => {
  it('C7: bootstraps an image that is in use, and every recovery point is a state that it had', async () => {
    const random = seededRandom(11);
    const here = await start(random);
    expect(here.volume.limits.atomic, 'an image promises nothing').toBeUndefined();
    for (let i = 0; i < 40; i++) {
      await here.volume.write(
        Math.floor(random.float() * (SIZE - 9000)),
        random.bytes(1 + Math.floor(random.float() * 9000)),
      );
      await systemClock.sleep(1);
    }
    await here.settled();
    await here.check();
    const commits = here.volume.stats.commits;
    await here.closeInOrder();
    await here.open();
    await here.settled();
    // Nothing to be compared or sent.
    expect(here.volume.stats.commits).toBeLessThanOrEqual(commits);
    expect(here.volume.stats.uploadedBytes).toBe(0);
    await here.check();
  });

  it('C21: goes on in pass-through when the buffer is full, and sends what was touched', async () => {
    const random = seededRandom(12);
    const here = await start(random);
    await here.settled();
    const before = here.volume.stats.uploadedBytes;
    here.store.isOut = true;
    for (let i = 0; i < 100; i++) await here.volume.write((i % 50) * 65_536, random.bytes(65_536));
    expect(here.volume.stats).toMatchObject({ state: 'pass-through', shadow: { phase: 'pass-through' } });
    here.store.isOut = false;
    await here.snapshot();
    expect(here.snapshots[0]?.state).toBe('pending');
    expect(here.snapshots[0]?.reason).toMatch(/caught up/);
    const touched = here.volume.stats.shadow?.touchedBytes ?? 0;
    expect(touched).toBeGreaterThan(0);
    await here.settled();
    await here.check();
    expect((await here.snapshotState(0)).state).toBe('completed');
    expect(here.volume.stats.uploadedBytes - before).toBeLessThan(touched + 2 * MIB);
  });

  it('C21: after a kill in pass-through sends the touched pages, after a power cut what differs in marked regions', async () => {
    for (const how of ['kill', 'cut'] as const) {
      const random = seededRandom(13);
      const here = await start(random);
      await here.settled();
      here.store.isOut = true;
      for (let i = 0; i < 40; i++) await here.volume.write(4 * MIB + i * 65_536, random.bytes(65_536));
      expect(here.volume.stats.state).toBe('pass-through');
      await here.die(how);
      await here.open();
      await here.settled();
      await here.check();
      expect(here.volume.stats.uploadedBytes).toBeLessThan(41 * 65_536 + 64 * 1024);
      await here.volume.close();
    }
  });

  it('C7: what a crash leaves of a sending in the log is no recovery point', { timeout: 120_000 }, async () => {
    const random = seededRandom(19);
    const here = await start(random);
    await here.settled();
    for (let round = 0; round < 8; round++) {
      here.store.isOut = true;
      for (let i = 0; i < 60; i++) {
        const page = Math.floor(random.float() * (SIZE / 4096 - 16));
        await here.volume.write(page * 4096, random.bytes(65_536));
      }
      expect(here.volume.stats.state).toBe('pass-through');
      here.store.isOut = false;
      while (here.volume.stats.state === 'pass-through') await systemClock.sleep(1);
      await systemClock.sleep(Math.floor(random.float() * 60));
      here.disk.touch();
      await here.die('kill');
      await here.open();
      await here.settled();
      await here.check();
    }
  });

  it('C19: after a power cut compares the marked regions, and only those', { timeout: 60_000 }, async () => {
    const random = seededRandom(18);
    const here = await start(random);
    await here.settled();
    for (let round = 0; round < 12; round++) {
      // Neither flushed nor uploaded: image and log each keep of it what they please.
      const at = Math.floor(random.float() * 2 * MIB);
      await Promise.all(
        Array.from({ length: 12 }, async (_, i) => here.volume.write(at + i * 9000, random.bytes(9000))),
      );
      here.disk.touch();
      await here.die('cut');
      await here.open();
      expect(here.volume.stats.shadow?.totalBytes ?? 0).toBeLessThan(SIZE);
      await here.settled();
      await here.check();
    }
  });

  it(
    'C19: marks that a kill left unsynced are on the disk before a write relies on them',
    { timeout: 60_000 },
    async () => {
      const random = seededRandom(20);
      const here = await start(random);
      await here.settled();
      for (let round = 0; round < 8; round++) {
        const at = Math.floor(random.float() * 8) * MIB;
        // Its mark is written, and not synced.
        const unmarked = Promise.resolve(here.volume.write(at, random.bytes(4096))).catch(() => undefined);
        await here.die('kill');
        await unmarked;
        await here.open();
        await here.volume.write(at, random.bytes(20_000));
        here.disk.touch();
        await here.die('cut');
        await here.open();
        await here.settled();
        await here.check();
        await systemClock.sleep(30);
      }
    },
  );

  it('C19: compares everything after somebody else wrote to the image, and after a detach', async () => {
    const random = seededRandom(14);
    const here = await start(random);
    await here.settled();
    await here.closeInOrder();
    here.image.writeBehind(8 * MIB, random.bytes(5000));
    await here.open();
    expect(here.volume.stats.shadow?.phase).not.toBe('steady');
    await here.settled();
    await here.check();
    await here.die('kill');
    await systemClock.sleep(200);
    here.image.writeBehind(MIB, random.bytes(5000));
    await here.open();
    await here.settled();
    await here.check();
  });

  it('a snapshot that waits can be deleted, and disturbs nothing', async () => {
    const random = seededRandom(17);
    const here = await start(random);
    await here.snapshot();
    expect(here.snapshots[0]?.reason).toMatch(/caught up/);
    await here.deleteSnapshot(0);
    await here.settled();
    expect((await here.snapshotState(0)).state).toBe('deleted');
    await here.volume.write(0, random.bytes(4096));
    await here.settled();
  });

  it(
    'C20: a region counts as compared only when it was, also where the process ends then',
    { timeout: 60_000 },
    async () => {
      for (const how of ['kill', 'stop'] as const) {
        const random = seededRandom(20);
        const here = await start(random);
        // The log fills up with the first region, and the tick that notes how far it is comes by.
        here.store.isOut = true;
        await systemClock.sleep(1500);
        if (how === 'kill') await here.die('kill');
        else await here.volume.close();
        here.store.isOut = false;
        await here.open();
        await here.settled();
        await here.check();
        await here.volume.close();
      }
    },
  );

  it('C19: compares everything after another gateway has written to the volume', async () => {
    const random = seededRandom(21);
    const here = await start(random);
    await here.settled();
    await here.closeInOrder();
    await here.open();
    await here.settled();
    await here.closeInOrder();
    await here.writeElsewhere(0, random.bytes(4096));
    await here.open();
    await here.settled();
    await here.check();
  });

  it('a drain ends when all that was written is in the store', async () => {
    const random = seededRandom(22);
    const here = await start(random);
    await here.settled();
    for (let round = 0; round < 4; round++) {
      here.store.isOut = true;
      for (let i = 0; i < 60; i++)
        await here.volume.write(Math.floor(random.float() * (SIZE / 4096 - 16)) * 4096, random.bytes(65_536));
      expect(here.volume.stats.state).toBe('pass-through');
      here.store.isOut = false;
      await here.volume.drain();
      await here.checkNow();
    }
  });

  it('C8: a snapshot that is asked for while the store catches up is completed', { timeout: 60_000 }, async () => {
    const random = seededRandom(23);
    const here = await start(random);
    for (let i = 0; i < 10; i++) {
      await here.settled();
      await here.volume.write(i * 100_000, random.bytes(65_536));
      here.store.isOut = true;
      for (let at = 0; at < 24; at++) await here.volume.write(at * 65_536, random.bytes(65_536));
      here.store.isOut = false;
      await systemClock.sleep(Math.floor(random.float() * 200));
      await here.snapshot();
    }
    await here.settled();
    await here.volume.write(0, random.bytes(4096));
    await systemClock.sleep(300);
    await here.settled();
    for (let i = 0; i < 10; i++) expect((await here.snapshotState(i)).state).toBe('completed');
    await here.check();
  });

  it('a log that fails ends logging, and nothing else', async () => {
    const random = seededRandom(24);
    const here = await start(random);
    await here.settled();
    here.log.failWrites = 'EIO';
    await expect((async () => here.volume.write(0, random.bytes(4096)))()).rejects.toBeInstanceOf(SgwError);
    await here.volume.write(8192, random.bytes(4096));
    await here.volume.flush();
    expect(here.volume.stats.state).toBe('pass-through');
    here.log.failWrites = undefined;
    await here.die('kill');
    await here.open();
    await here.settled();
    await here.check();
  });

  it('an image that is truncated while it is compared makes no hole in the store', async () => {
    const random = seededRandom(25);
    const here = await start(random);
    await here.settled();
    await here.closeInOrder();
    here.image.writeBehind(0, random.bytes(5000));
    await here.open();
    here.image.truncate(4 * MIB);
    while (here.volume.failure === undefined) await systemClock.sleep(5);
    expect(here.volume.failure).toMatchObject({ code: 'image-changed' });
    expect(await here.storedBytes(5 * MIB, 4 * MIB)).toEqual(here.image.cut.subarray(MIB, 5 * MIB));
  });

  it('C22: serves an image while the store is out of reach at the start, and reconciles later', async () => {
    const random = seededRandom(15);
    const here = await start(random);
    await here.settled();
    await here.closeInOrder();
    here.store.isOut = true;
    await here.open();
    expect(here.volume.stats.state).toBe('pass-through');
    await here.volume.write(100, random.bytes(20_000));
    await here.volume.flush();
    await here.settled();
    await here.check();
  });

  it('a write that the image takes in part is sent as it is there', async () => {
    const random = seededRandom(16);
    const here = await start(random);
    await here.settled();
    here.image.failWrites = new SgwError('exhausted', 'system-enospc', 'no space left on the device');
    await expect((async () => here.volume.write(MIB, random.bytes(65_536)))()).rejects.toMatchObject({
      kind: 'exhausted',
    });
    here.image.failWrites = undefined;
    await here.settled();
    await here.check();
  });

  for (let run = 0; run < RUNS; run++)
    it(`is right after anything (SGW_SEED=${String(SEED + run)})`, { timeout: 120_000 }, async () => {
      const random = seededRandom(SEED + run);
      const here = await start(random);
      await randomWalk(here, random, WALK);
      await here.closeInOrder();
    });
});
