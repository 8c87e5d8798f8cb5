/** The small tier of `npm run soak -- --outage`: the store fails in each way for a while, under load. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { outageCounts, runOutages, type Outage } from '../soak/outage/outages.ts';

const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const PLAN: readonly { outage: Outage; forMs: number }[] = [
  { outage: 'slow', forMs: 4000 },
  { outage: 'failing', forMs: 4000 },
  { outage: 'full', forMs: 10_000 },
  { outage: 'gone', forMs: 10_000 },
];

it(`C5 a store that is slow, fails, is full or gone for a while loses nothing and fails no request; the status says what is the matter; memory stays bounded (seed ${SEED})`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-outage-'));
  const counts = outageCounts();
  await runOutages({ folder, random: seededRandom(SEED), counts, plan: PLAN });
  expect(counts).toMatchObject({ outages: PLAN.length, stoodStill: 2 });
  await rm(folder, { recursive: true });
}, 600_000);
