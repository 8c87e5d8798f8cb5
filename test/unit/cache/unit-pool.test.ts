import { describe, expect, it } from 'vitest';
import { UnitPool } from '../../../src/core/cache/unit-pool.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';

const seed = Number(process.env['SGW_SEED'] ?? 9);

interface Taken {
  readonly units: number[];
  readonly isInPieces: boolean;
}

function take(pool: UnitPool, count: number): Taken {
  const together = pool.takeTogether(count);
  if (together !== 0) return { units: Array.from({ length: count }, (_, i) => together + i), isInPieces: false };
  const units = [pool.takePieces(count)];
  while (units.length < count) units.push(pool.next(units.at(-1)!));
  return { units, isInPieces: true };
}

describe('the pool of units', () => {
  it('gives each unit to one frame at a time, and all of them', () => {
    const random = seededRandom(seed);
    const pool = new UnitPool(1000);
    const owned = new Set<number>();
    const frames: Taken[] = [];
    let pieces = 0;
    for (let i = 0; i < 20_000; i++) {
      const count = 1 + Math.floor(random.float() * 16);
      if (pool.free < count || (i % 3 === 0 && frames.length > 0)) {
        const [frame] = frames.splice(Math.floor(random.float() * frames.length), 1);
        for (const unit of frame!.units) owned.delete(unit);
        pool.release(frame!.units[0]!, frame!.units.length, frame!.isInPieces);
      } else {
        const frame = take(pool, count);
        expect(frame.units).toHaveLength(count);
        for (const unit of frame.units) {
          expect(unit > 0 && unit < 1000 && !owned.has(unit)).toBe(true);
          owned.add(unit);
        }
        if (frame.isInPieces) pieces++;
        frames.push(frame);
      }
      expect(pool.used).toBe(owned.size);
    }
    expect(pieces).toBeGreaterThan(100);
    const rest = take(pool, pool.free);
    expect(pool.free).toBe(0);
    expect(new Set([...owned, ...rest.units]).size).toBe(999);
  });

  it('keeps frames of one size in one piece, however often they come and go', () => {
    const random = seededRandom(seed);
    const pool = new UnitPool(161);
    const frames = Array.from({ length: 10 }, () => pool.takeTogether(16));
    for (let i = 0; i < 1000; i++) {
      const at = Math.floor(random.float() * 10);
      pool.release(frames[at]!, 16, false);
      frames[at] = pool.takeTogether(16);
      expect(frames[at]).toBeGreaterThan(0);
    }
  });

  it('has what is not taken when it begins with frames', () => {
    const pool = new UnitPool(40);
    const taken = new Uint8Array(5);
    for (const unit of [1, 2, 7, 20, 31]) taken[unit >> 3]! |= 1 << (unit & 7);
    pool.adopt(taken);
    expect([pool.used, pool.free]).toEqual([5, 34]);
    expect(take(pool, 34).units.sort((a, b) => a - b)).toEqual(
      Array.from({ length: 39 }, (_, i) => i + 1).filter((unit) => ![1, 2, 7, 20, 31].includes(unit)),
    );
    pool.extend(50);
    expect([pool.used, pool.free]).toEqual([39, 10]);
    expect(pool.takeTogether(10)).toBe(40);
  });
});
