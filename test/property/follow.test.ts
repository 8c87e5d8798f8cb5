/**
 * Any requests, with any losses of connections and holders between them: what is read is what a plain array has, and so is the volume
 * at the end, also after everything that was still under way at holders that were left. SGW_SEED=N replays a run.
 */
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FollowingDevice } from '../../src/core/follow/index.ts';
import { Holders } from '../unit/follow/holders.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261130);
const RUNS = Number(process.env['SGW_FOLLOW_RUNS'] ?? 30);
const BLOCK = 512;
const BLOCKS = 96;

type Step =
  | { readonly kind: 'write' | 'read' | 'zero' | 'trim'; readonly block: number; readonly count: number }
  | { readonly kind: 'flush' | 'wait' | 'cut' | 'take over' | 'crash' | 'mute' | 'status' };

const extent = fc
  .tuple(fc.nat(BLOCKS - 1), fc.integer({ min: 1, max: 24 }))
  .map(([block, count]) => ({ block, count: Math.min(count, BLOCKS - block) }));
const steps = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: extent.map((at): Step => ({ kind: 'write', ...at })) },
    { weight: 10, arbitrary: extent.map((at): Step => ({ kind: 'read', ...at })) },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.constantFrom('zero', 'trim'), extent).map(([kind, at]): Step => ({ kind, ...at })),
    },
    { weight: 6, arbitrary: fc.constantFrom<Step>({ kind: 'flush' }, { kind: 'wait' }, { kind: 'status' }) },
    { weight: 4, arbitrary: fc.constant<Step>({ kind: 'cut' }) },
    {
      weight: 2,
      arbitrary: fc.constantFrom<Step>({ kind: 'take over' }, { kind: 'crash' }, { kind: 'mute' }),
    },
  ),
  { minLength: 30, maxLength: 120 },
);

/** The stamps that each block was given, in the order in which the requests were made. */
class Model {
  readonly #stamps: number[][] = Array.from({ length: BLOCKS }, () => [0]);
  #next = 1;

  /** The next stamp, or zeroes. */
  change(block: number, count: number, isZero: boolean): Buffer {
    const stamp = isZero ? 0 : this.#next++;
    for (let i = block; i < block + count; i++) this.#stamps[i]?.push(stamp);
    const data = Buffer.alloc(count * BLOCK);
    for (let at = 0; at < data.length; at += 4) data.writeUInt32LE(stamp, at);
    return data;
  }

  /** How many changes each block has had. */
  versions(block: number, count: number): number[] {
    return this.#stamps.slice(block, block + count).map(({ length }) => length - 1);
  }

  /** Each block is whole, and as one of its changes from `from` on left it. */
  check(block: number, data: Buffer, from: readonly number[]): void {
    for (let i = 0; i < data.length / BLOCK; i++) {
      const bytes = data.subarray(i * BLOCK, (i + 1) * BLOCK);
      const stamp = bytes.readUInt32LE(0);
      const whole = Buffer.alloc(BLOCK);
      for (let at = 0; at < BLOCK; at += 4) whole.writeUInt32LE(stamp, at);
      expect(bytes.equals(whole), `block ${String(block + i)} is torn`).toBe(true);
      const allowed = this.#stamps[block + i]?.slice(from[i]) ?? [];
      expect(allowed, `block ${String(block + i)}`).toContain(stamp);
    }
  }
}

async function doStep(step: Step, holders: Holders, device: FollowingDevice, model: Model): Promise<void> {
  switch (step.kind) {
    case 'write':
    case 'zero':
    case 'trim': {
      const { block, count } = step;
      const data = model.change(block, count, step.kind !== 'write');
      if (step.kind === 'write') await device.write(block * BLOCK, data);
      else if (step.kind === 'zero') await device.writeZeroes(block * BLOCK, data.length);
      else await device.trim(block * BLOCK, data.length);
      return;
    }
    case 'read': {
      const { block, count } = step;
      const from = model.versions(block, count);
      const target = Buffer.alloc(count * BLOCK, 0xee);
      await device.read(block * BLOCK, target);
      model.check(block, target, from);
      return;
    }
    case 'flush':
      await device.flush();
      return;
    case 'status':
      expect((await device.extents(0, BLOCKS * BLOCK, 10)).length).toBeGreaterThan(0);
      return;
    default:
      await change(step.kind, holders);
  }
}

async function change(kind: 'take over' | 'crash' | 'mute' | 'wait' | 'cut', holders: Holders): Promise<void> {
  const { current } = holders;
  // So that holders have something under way.
  await delay(2);
  if (kind === 'cut') current.link.cut();
  if (kind === 'take over') await holders.takeOver();
  else if (kind === 'crash') {
    await holders.crash(current);
    await holders.add();
  } else if (kind === 'mute') {
    current.device.isMute = true;
    await delay(5);
    await holders.takeOver();
  }
}

describe('a device that follows holders', () => {
  it('any requests and losses leave what a plain array has', async () => {
    let repeated = 0;
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(0xffff), async (list, runSeed) => {
        await using holders = await Holders.open({ sizeBytes: BLOCKS * BLOCK, seed: runSeed, silenceMs: 40 });
        const device = await holders.follow();
        const model = new Model();
        const requests: Promise<void>[] = [];
        for (const step of list) {
          const isChange = ['take over', 'crash', 'mute', 'wait', 'cut'].includes(step.kind);
          const done = doStep(step, holders, device, model);
          if (isChange) await done;
          else requests.push(done);
          if (requests.length % 7 === 0) await turn();
        }
        await Promise.all(requests);
        await device.flush();
        // What a holder that was left has still under way may do no harm.
        for (const one of holders.all) one.device.isMute = false;
        await delay(170);
        const target = Buffer.alloc(BLOCKS * BLOCK);
        await device.read(0, target);
        model.check(0, target, model.versions(0, BLOCKS));
        expect(holders.volume.bytes.equals(target)).toBe(true);
        for (const event of holders.events) if (event.kind === 'found') repeated += event.repeated;
      }),
      { seed, numRuns: RUNS, endOnFailure: true },
    );
    expect(repeated).toBeGreaterThan(RUNS);
  }, 300_000);
});
