/** The small tier of `npm run soak -- --restore`: restores to a local image, killed at random. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { restoreCounts, runRestores } from '../soak/restore/round.ts';

const KILLS = 5;
const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));

it(`C23 C24 C25 a restore that is killed at random, served or not, is the snapshot and the writes in the end (seed ${SEED})`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-restores-'));
  const counts = restoreCounts();
  await runRestores({ folder, random: seededRandom(SEED), counts, goesOn: () => counts.rounds < KILLS });
  expect(counts.rounds).toBeGreaterThanOrEqual(KILLS);
  expect(counts.restores).toBeGreaterThan(0);
  await rm(folder, { recursive: true });
}, 600_000);
