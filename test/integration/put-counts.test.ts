/** The small tier of `npm run bench -- p10`: requests that random writes cost. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { countPuts, putsMax } from '../soak/served/puts.ts';

const BYTES = 64 << 20;

it('random writes of 4 KiB cost no more PUTs than P10 allows, and an idle volume makes no request', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-puts-'));
  const counts = await countPuts({ folder, random: seededRandom(10), bytes: BYTES, idleMs: 12_000 });
  // Every write is in the store, and is not counted for less.
  expect(counts.uploadedBytes).toBeGreaterThan(0.95 * BYTES);
  expect(counts.segments).toBeGreaterThan(0);
  // What `snapshot create` itself asks for is a few small objects.
  expect(counts.puts).toBeLessThanOrEqual(putsMax(counts) + 3);
  expect(counts.idleRequests).toBe(0);
  await rm(folder, { recursive: true });
}, 240_000);
