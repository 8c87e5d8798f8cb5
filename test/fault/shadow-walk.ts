/** Anything that clients, disks and the store may do to a shadowing volume, in any order, decided by a seed. */
import { expect } from 'vitest';
import { SgwError, systemClock, type Random } from '../../src/core/kit/index.ts';
import type { ShadowScene } from './shadow-scene.ts';

const STEPS = 12;

/** Chances are sums: of what is named, or of one named before it. */
export interface WalkStyle {
  readonly sizeBytes: number;
  /** Works of a step, and how long a long one is. */
  readonly worksMax: number;
  readonly longBytes: number;
  /** What a work is; a read where nothing is named. */
  readonly work: { readonly write: number; readonly zeroes: number; readonly flush: number };
  /** What follows a step: the store goes, comes back, a snapshot, a death, a rest in which all is checked. */
  readonly then: {
    readonly out: number;
    readonly back: number;
    readonly snapshot: number;
    readonly death: number;
    readonly rest: number;
  };
  /** Of a rest that ends with an orderly close. */
  readonly close: number;
  /** Whether others write to the image while nobody serves it. */
  readonly writesBehind: boolean;
}

/** Walks, and ends settled and checked. */
export async function randomWalk(here: ShadowScene, random: Random, style: WalkStyle): Promise<void> {
  const integer = (below: number): number => Math.floor(random.float() * below);
  const writeBehind = (): void => {
    here.image.writeBehind(integer(style.sizeBytes - 5000), random.bytes(5000));
  };
  for (let step = 0; step < STEPS; step++) {
    const works: Promise<void>[] = [];
    for (let i = integer(style.worksMax); i >= 0; i--) {
      works.push(work(here, random, style));
      if (random.float() < 0.1) await systemClock.sleep(integer(3));
    }
    const next = random.float();
    const { out, back, snapshot, death, rest } = style.then;
    if (next < out) here.store.isOut = true;
    else if (next < back) here.store.isOut = false;
    else if (next < snapshot) await attempt(() => here.snapshot());
    else if (next < death) {
      await here.die(random.float() < 0.5 ? 'kill' : 'cut');
      if (style.writesBehind && random.float() < 0.2) {
        await systemClock.sleep(120);
        writeBehind();
      }
      here.store.isOut = random.float() < 0.2;
      await here.open();
    } else if (next < rest) {
      await Promise.all(works);
      await here.settled();
      await here.check();
      if (random.float() < style.close) {
        await here.closeInOrder();
        if (style.writesBehind && random.float() < 0.3) writeBehind();
        await here.open();
      }
    }
    await Promise.all(works);
  }
  await here.settled();
  await here.check();
}

async function work({ volume }: ShadowScene, random: Random, style: WalkStyle): Promise<void> {
  const integer = (below: number): number => Math.floor(random.float() * below);
  const length = random.float() < 0.3 ? style.longBytes : 1 + integer(20_000);
  const isAligned = random.float() < 0.5;
  const at = isAligned ? integer((style.sizeBytes - length) / 4096) * 4096 : integer(style.sizeBytes - length);
  const choice = random.float();
  await attempt(() => {
    if (choice < style.work.write) return volume.write(at, random.bytes(length), { fua: random.float() < 0.05 });
    if (choice < style.work.zeroes) return volume.writeZeroes(at, length, { mayTrim: true });
    if (choice < style.work.flush) return volume.flush();
    return volume.read(at, Buffer.alloc(length));
  });
}

/** Only a death, or a store that is out, may end it. */
async function attempt(call: () => Promise<unknown> | undefined): Promise<void> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(SgwError);
    expect(['aborted', 'unavailable']).toContain((error as SgwError).kind);
  }
}
