import { PassThrough } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { progressLine, RateMeter, startProgress } from '../../../src/core/cli/progress.ts';
import { MIB } from '../../../src/core/kit/index.ts';

const at = (doneBytes: number, totalBytes = 100 * MIB): { label: string; doneBytes: number; totalBytes: number } => ({
  label: 'importing x',
  doneBytes,
  totalBytes,
});

it('shows the label alone while nothing is counted', () => {
  const state = { label: 'looking for what is unused', doneBytes: 0, totalBytes: 0 };
  expect(progressLine({ ...state, bytesPerSecond: 0, secondsLeft: null })).toBe('looking for what is unused');
});

describe('the rate of progress', () => {
  it('is unknown at first, then measured', () => {
    const meter = new RateMeter();
    expect(meter.measure(at(0), 0)).toMatchObject({ bytesPerSecond: null, secondsLeft: null });
    expect(meter.measure(at(10 * MIB), 1000)).toMatchObject({ bytesPerSecond: 10 * MIB, secondsLeft: 9 });
  });

  it('follows a change within seconds', () => {
    const meter = new RateMeter();
    meter.measure(at(0), 0);
    meter.measure(at(50 * MIB), 1000);
    for (let second = 2; second < 30; second++) meter.measure(at(50 * MIB + second * MIB), second * 1000);
    expect(meter.measure(at(80 * MIB), 30_000).bytesPerSecond).toBeLessThan(2 * MIB);
  });

  it('starts again when the count falls, and knows no time left while nothing moves', () => {
    const meter = new RateMeter();
    meter.measure(at(50 * MIB), 0);
    expect(meter.measure(at(0), 1000)).toMatchObject({ bytesPerSecond: null });
    expect(meter.measure(at(0), 2000)).toMatchObject({ bytesPerSecond: 0, secondsLeft: null });
  });
});

it('a line tells amount, share, rate and time left, as far as known', () => {
  const line = progressLine({ ...at(25 * MIB), bytesPerSecond: 5 * MIB, secondsLeft: 15 });
  expect(line).toBe('importing x: 25 MiB of 100 MiB (25 %), 5 MiB/s, 15 s left');
  expect(progressLine({ ...at(25 * MIB, 0), bytesPerSecond: null, secondsLeft: null })).toBe('importing x: 25 MiB');
});

describe('a reporter', () => {
  it('writes a line every 30 s where there is no terminal, and where the terminal has no width', async () => {
    vi.useFakeTimers();
    for (const facts of [{}, { isTTY: true, columns: 0 }]) {
      const output = Object.assign(new PassThrough(), facts);
      const reporter = startProgress('auto', output);
      reporter.report(at(25 * MIB));
      await vi.advanceTimersByTimeAsync(29_000);
      expect(output.read()).toBeNull();
      await vi.advanceTimersByTimeAsync(2000);
      expect(String(output.read())).toMatch(/^importing x: 25 MiB of 100 MiB \(25 %\).*\n$/);
      reporter.stop();
    }
    vi.useRealTimers();
  });

  it('writes nothing with none, and nothing after its end', async () => {
    vi.useFakeTimers();
    const output = new PassThrough();
    startProgress('none', output).report(at(0));
    const stopped = startProgress('json', output);
    stopped.report(at(0));
    stopped.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(output.read()).toBeNull();
    vi.useRealTimers();
  });
});
