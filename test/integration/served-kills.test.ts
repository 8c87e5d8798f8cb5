/** The small tier of `npm run soak -- --served`: a daemon under load, killed at random. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { runServed, servedCounts } from '../soak/served/round.ts';

const ROUNDS = 8;
const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));

it(`C5 C13 a daemon that is killed at random loses no acknowledged write, also without its cache; a lost home leaves an exact state (seed ${SEED})`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-served-'));
  const counts = servedCounts();
  await runServed({ folder, random: seededRandom(SEED), counts, goesOn: () => counts.rounds < ROUNDS });
  expect(counts.kills).toBe(ROUNDS);
  expect(counts.writes).toBeGreaterThan(0);
  await rm(folder, { recursive: true });
}, 600_000);
