/** What `gateway top` makes of two looks at a gateway, and how that fits a screen. */
import { describe, expect, it } from 'vitest';
import { ratesBetween } from '../../../src/core/cli/gateway/rates.ts';
import { compact, topLines } from '../../../src/core/cli/gateway/top-view.ts';
import { styleFor } from '../../../src/core/cli/style.ts';
import { PassThrough } from 'node:stream';
import { servedGateway } from '../../cli/fake-serving.ts';

const TIME = '2026-11-22T23:45:01.000Z';
const plain = styleFor(new PassThrough(), false);

describe('rates between two looks', () => {
  it('are what the counters grew by, a second', () => {
    const top = ratesBetween(servedGateway(1), servedGateway(2), TIME);
    expect(top).toMatchObject({ intervalMs: 1000, processorShare: 0.25 });
    expect(top.volumes[0]).toMatchObject({
      readOpsPerSecond: 1000,
      writeOpsPerSecond: 200,
      readBytesPerSecond: 4_096_000,
      readLatencyMs: 0.5,
      writeLatencyMs: 0.25,
      hitRate: 0.9,
      bufferShare: 1 / 1024,
    });
  });

  it('of a gateway that began anew count from its beginning', () => {
    const now = { ...servedGateway(1), pid: 4712, uptimeMs: 500 };
    const top = ratesBetween(servedGateway(9), now, TIME);
    expect(top).toMatchObject({ intervalMs: 500 });
    expect(top.volumes[0]).toMatchObject({ readOpsPerSecond: 2000 });
  });

  it('of a volume that was attached anew count from its beginning', () => {
    const before = servedGateway(5);
    const now = { ...servedGateway(1), uptimeMs: before.uptimeMs + 1000 };
    expect(ratesBetween(before, now, TIME).volumes[0]).toMatchObject({ readOpsPerSecond: 1000 });
  });

  it('have no mean where nothing happened', () => {
    const now = { ...servedGateway(1), uptimeMs: servedGateway(1).uptimeMs + 1000 };
    const [volume] = ratesBetween(servedGateway(1), now, TIME).volumes;
    expect(volume).toMatchObject({ readOpsPerSecond: 0, readLatencyMs: null, writeLatencyMs: null, hitRate: null });
  });
});

describe('the screen', () => {
  const top = ratesBetween(servedGateway(1), servedGateway(2), TIME);
  const volume = top.volumes[0] as (typeof top.volumes)[number];

  it('fits 80 columns, whatever the numbers', () => {
    const huge = {
      ...volume,
      name: 'a-volume-with-quite-a-long-name',
      readOpsPerSecond: 1_234_567,
      writeOpsPerSecond: 99_950,
      readBytesPerSecond: 12e9,
      readLatencyMs: 99_999,
      hitRate: 1,
      bufferShare: 1,
      waitingWrites: 999,
      dirtyBytes: 1023.6 * 2 ** 30,
      dirtyMs: 47 * 3_600_000,
      fullInMs: 998 * 86_400_000,
      reason: 'the store does not answer: '.repeat(5),
      state: 'degraded',
    };
    const lines = topLines({ ...top, volumes: [volume, huge] }, plain, 80, 24);
    for (const line of lines) expect([...line].length, line).toBeLessThanOrEqual(80);
    expect(lines.join('\n')).toContain('a-volume');
    expect(lines.at(-1)).toMatch(/^a-volume-with-quite-a-long-name is degraded: .*…$/);
  });

  it('says how much more there is when it is too low', () => {
    const volumes = Array.from({ length: 50 }, (_, at) => ({ ...volume, name: `v${String(at)}` }));
    const lines = topLines({ ...top, volumes }, plain, 80, 10);
    expect(lines).toHaveLength(10);
    expect(lines.at(-1)).toBe('and 44 more lines');
  });

  it('says that nothing is attached', () => {
    expect(topLines({ ...top, volumes: [] }, plain, 80, 24).at(-1)).toBe('No volume is attached.');
  });

  it.each([
    [0, '0'],
    [0.004, '<0.01'],
    [0.25, '0.25'],
    [3.21, '3.2'],
    [9.96, '10'],
    [9999, '9999'],
    [12_345, '12.3k'],
    [123_456, '123k'],
    [4_000_000, '4M'],
  ])('%d is %s', (value, text) => {
    expect(compact(value)).toBe(text);
  });
});
