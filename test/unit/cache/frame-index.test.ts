import { describe, expect, it } from 'vitest';
import { FrameIndex } from '../../../src/core/cache/frame-index.ts';
import { IDLE_MAX, SegmentNumbers } from '../../../src/core/cache/segment-numbers.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { segmentId } from './frames.ts';

const seed = Number(process.env['SGW_SEED'] ?? 8);

describe('the index of frames', () => {
  it('finds what was added and not what was taken out, at every moment of its growth', () => {
    const index = new FrameIndex(40_000);
    const model = new Map<string, number>();
    const random = seededRandom(seed);
    const name = (): [number, number] => [1 + Math.floor(random.float() * 60_000), Math.floor(random.float() * 3)];
    for (let i = 0; i < 200_000; i++) {
      const [place, frame] = name();
      const key = `${place}/${frame}`;
      const entry = model.get(key) ?? 0;
      expect(index.find(place, frame)).toBe(entry);
      if (entry !== 0 && random.float() < 0.5) {
        index.kill(entry);
        index.free(entry);
        model.delete(key);
      } else if (entry === 0 && model.size < 39_000) {
        const added = index.add(place, frame, 16, 2);
        expect([index.placeOf(added), index.frameOf(added), index.pagesOf(added)]).toEqual([place, frame, 16]);
        model.set(key, added);
      }
    }
    expect(index.count).toBe(model.size);
    expect(model.size).toBeGreaterThan(30_000);
    for (const [key, entry] of model) {
      const [place = 0, frame = 0] = key.split('/').map(Number);
      expect(index.find(place, frame)).toBe(entry);
    }
  });

  it('has room for as many as it was made for, and for more when it is extended', () => {
    const index = new FrameIndex(3);
    expect([1, 2, 3, 4].map((place) => index.add(place, 0, 1, 0))).toEqual([1, 2, 3, 0]);
    index.extend(4);
    expect(index.add(4, 0, 1, 0)).toBe(4);
    expect([1, 2, 3, 4].map((place) => index.find(place, 0))).toEqual([1, 2, 3, 4]);
    expect(index.isFull).toBe(true);
  });
});

describe('numbers of segments', () => {
  it('stay the same while the segment has frames, and are never given again', () => {
    const numbers = new SegmentNumbers();
    const kept = numbers.numberOf(segmentId(1));
    numbers.retain(numbers.placeOf(kept));
    const given = new Set<number>([kept]);
    const dropped = numbers.numberOf(segmentId(2));
    given.add(dropped);
    for (let n = 3; n < 3 + 3 * IDLE_MAX; n++) {
      const number = numbers.numberOf(segmentId(n));
      expect(given.has(number)).toBe(false);
      given.add(number);
    }
    expect(numbers.known).toBeLessThanOrEqual(IDLE_MAX + 1);
    expect(numbers.numberOf(segmentId(1))).toBe(kept);
    expect(numbers.placeOf(dropped)).toBe(0);
    expect(given.has(numbers.numberOf(segmentId(2)))).toBe(false);
    numbers.release(numbers.placeOf(kept));
    for (let n = 0; n < 2 * IDLE_MAX; n++) numbers.numberOf(segmentId(1_000_000 + n));
    expect(numbers.placeOf(kept)).toBe(0);
    expect(numbers.placeOf(0)).toBe(0);
    expect(numbers.placeOf(4_000_000_000)).toBe(0);
  });

  it('are only for ids of 32 hex digits', () => {
    const numbers = new SegmentNumbers();
    for (const bad of ['', 'abc', 'z'.repeat(32), 'a'.repeat(33)]) {
      expect(() => numbers.numberOf(bad)).toThrow(/is no segment id/);
    }
  });
});
