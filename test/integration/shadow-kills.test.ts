/** The small tier of `npm run soak -- --shadow`: a gateway that shadows an image, killed at random. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { runShadow, shadowCounts } from '../soak/shadow/round.ts';

const ROUNDS = 5;
const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));

it(`C19 C21 a gateway that is killed at random has the image right, and the store catches up with it (seed ${SEED})`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-shadow-'));
  const counts = shadowCounts();
  await runShadow({ folder, random: seededRandom(SEED), counts, goesOn: () => counts.rounds < ROUNDS });
  expect(counts.kills).toBe(ROUNDS);
  expect(counts.writes).toBeGreaterThan(0);
  await rm(folder, { recursive: true });
}, 600_000);
