/** A shadowing volume over an image that is restored meanwhile (C25), over disks that forget. `SGW_SEED` and `SGW_RUNS` for more. */
import { afterEach, describe, expect, it } from 'vitest';
import { seededRandom, systemClock } from '../../src/core/kit/index.ts';
import { ShadowScene } from './shadow-scene.ts';
import { randomWalk, type WalkStyle } from './shadow-walk.ts';

const MIB = 1 << 20;
const SEED = Number(process.env['SGW_SEED'] ?? 1);
const RUNS = Number(process.env['SGW_RUNS'] ?? 3);
const SIZE = 9 * MIB + 1536;
const WALK: WalkStyle = {
  ...{ sizeBytes: SIZE, worksMax: 30, longBytes: 200_000, close: 0.4, writesBehind: false },
  work: { write: 0.65, zeroes: 0.8, flush: 0.9 },
  then: { out: 0.1, back: 0.3, snapshot: 0.4, death: 0.75, rest: 0.9 },
};

let scene: ShadowScene | undefined;
afterEach(async () => {
  await scene?.volume.close().catch(() => undefined);
  scene = undefined;
});

describe('a shadowing volume over an image that is restored', () => {
  it('C25: starts as a clone of the snapshot, and sends nothing but what is written', { timeout: 60_000 }, async () => {
    const random = seededRandom(21);
    const here = (scene = await ShadowScene.startRestoring(random, SIZE));
    expect(here.volume.stats.shadow?.phase).toBe('steady');
    await here.volume.write(5 * MIB + 100, random.bytes(3000));
    await here.volume.write(6 * MIB, random.bytes(128 * 1024));
    const back = Buffer.alloc(SIZE);
    await here.volume.read(0, back);
    expect(back.equals(here.image.live)).toBe(true);
    await here.settled();
    expect(here.volume.stats.uploadedBytes).toBeLessThan(200 * 1024);
    await here.check();
    for (let waits = 0; here.image.completed === 0 && waits < 500; waits++) await systemClock.sleep(10);
    expect(here.image.completed).toBe(1);
    await systemClock.sleep(100);
    // What the restore writes is nobody else's.
    expect(here.volume.stats.shadow?.phase).toBe('steady');
    await here.settled();
    await here.check();
  });

  for (let run = 0; run < RUNS; run++)
    it(`C25: is right after anything (SGW_SEED=${String(SEED + run)})`, { timeout: 120_000 }, async () => {
      const random = seededRandom(SEED + run);
      const here = (scene = await ShadowScene.startRestoring(random, SIZE));
      await randomWalk(here, random, WALK);
    });
});
