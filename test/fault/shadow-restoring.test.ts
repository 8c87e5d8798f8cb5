/** A shadowing volume over an image that is restored meanwhile (C25), over disks that forget. `SGW_SEED` and `SGW_RUNS` for more. */
import { afterEach, describe, expect, it } from 'vitest';
import { SgwError, seededRandom, systemClock } from '../../src/core/kit/index.ts';
import { ShadowScene } from './shadow-scene.ts';

const MIB = 1 << 20;
const SEED = Number(process.env['SGW_SEED'] ?? 1);
const RUNS = Number(process.env['SGW_RUNS'] ?? 3);
const SIZE = 9 * MIB + 1536;

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
      const integer = (below: number): number => Math.floor(random.float() * below);
      const attempt = async (work: () => Promise<unknown> | undefined): Promise<void> => {
        try {
          await work();
        } catch (error) {
          expect(error).toBeInstanceOf(SgwError);
          expect(['aborted', 'unavailable']).toContain((error as SgwError).kind);
        }
      };
      for (let step = 0; step < 12; step++) {
        const works: Promise<void>[] = [];
        for (let i = integer(30); i >= 0; i--) {
          const length = random.float() < 0.3 ? 200_000 : 1 + integer(20_000);
          const at = random.float() < 0.5 ? integer((SIZE - length) / 4096) * 4096 : integer(SIZE - length);
          const choice = random.float();
          works.push(
            attempt(() => {
              if (choice < 0.65) return here.volume.write(at, random.bytes(length), { fua: random.float() < 0.05 });
              if (choice < 0.8) return here.volume.writeZeroes(at, length, { mayTrim: true });
              if (choice < 0.9) return here.volume.flush();
              return here.volume.read(at, Buffer.alloc(length));
            }),
          );
          if (random.float() < 0.1) await systemClock.sleep(integer(3));
        }
        const next = random.float();
        if (next < 0.1) here.store.isOut = true;
        else if (next < 0.3) here.store.isOut = false;
        else if (next < 0.4) await attempt(() => here.snapshot());
        else if (next < 0.75) {
          await here.die(random.float() < 0.5 ? 'kill' : 'cut');
          here.store.isOut = random.float() < 0.2;
          await here.open();
        } else if (next < 0.9) {
          await Promise.all(works);
          await here.settled();
          await here.check();
          if (random.float() < 0.4) {
            await here.closeInOrder();
            await here.open();
          }
        }
        await Promise.all(works);
      }
      await here.settled();
      await here.check();
    });
});
