/** The small tier of `npm run soak -- --groups`: a group of three gateways, broken under load. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { groupCounts, runGroups } from '../soak/groups/round.ts';

const ROUNDS = Number(process.env['SGW_GROUP_RUNS'] ?? 10);
const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));

it(`C5 C6 C13 a group that is broken at random stays one volume, and nobody above volume connect sees an error (seed ${SEED})`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-groups-'));
  const counts = groupCounts();
  const lines: string[] = [];
  const goesOn = (): boolean => counts.rounds < ROUNDS;
  const onRound = (line: string): void => void lines.push(line);
  await runGroups({ folder, random: seededRandom(SEED), counts, goesOn, onRound });
  process.stderr.write(`${lines.join('\n')}\n`);
  expect(counts.rounds).toBe(ROUNDS);
  expect(counts.writes).toBeGreaterThan(0);
  expect(counts.reads).toBeGreaterThan(0);
  await rm(folder, { recursive: true });
}, 900_000);
