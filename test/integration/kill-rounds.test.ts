/** The small tier of `npm run soak`: a few rounds of kill -9 over the built command and real files. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Counts } from '../soak/counts.ts';
import { runLane } from '../soak/lane.ts';
import { LIMITS, presentVerbs } from '../soak/settings.ts';

const ROUNDS = 6;
const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));

it(`commands killed at random lose nothing, stop no later command, and leave nothing that gc does not find (seed ${SEED})`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-kills-'));
  const counts = new Counts();
  await runLane(
    {
      seed: SEED,
      lane: 0,
      folder,
      limits: LIMITS,
      eraRounds: ROUNDS,
      present: presentVerbs(),
      goesOn: () => counts.rounds < ROUNDS,
    },
    counts,
  );
  expect(counts.rounds).toBe(ROUNDS);
  expect(counts.kills).toBeGreaterThan(0);
  await rm(folder, { recursive: true });
}, 300_000);
