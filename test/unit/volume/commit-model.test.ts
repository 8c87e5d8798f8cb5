/** The formula for other seal intervals, held against what the uploader does with them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { Catalog, createStore, FramePool } from '../../../src/core/blockstore/index.ts';
import { openFrameCache } from '../../../src/core/cache/index.ts';
import { putsOf } from '../../../src/core/gateway/cost/forecast.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { MODELLED_INTERVALS_MS, openCachedVolume, type ServedVolume } from '../../../src/core/volume/index.ts';
import { directoryDisk } from '../../../src/core/writelog/index.ts';
import { countedStore, type Counters } from '../../support/counted-store.ts';
import { TurnedClock } from './turned-clock.ts';

const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const PAGE = 4096;
const MIB = 1024 * 1024;
const SIZE = 64 * MIB;
const SEAL_BYTES = 12 * MIB;
const ACCOUNT = '000000000001';
/** What the log takes of one write at most. The uploader may see a full segment a write or two late. */
const RECORD_BYTES = 65 * PAGE;
const HOURS_MS = 1.5 * 3_600_000;
/** Those of the model that are played. */
const PLAYED_MS = [10_000, 60_000, 900_000];

interface Write {
  readonly afterMs: number;
  readonly page: number;
  readonly pages: number;
}

/** One and a half hours of somebody who works, pauses, and now and then copies something large. */
function drawWrites(seed: number): Write[] {
  const random = seededRandom(seed);
  const draw = (below: number): number => Math.floor(random.float() * below);
  const writes: Write[] = [];
  for (let ms = 0; ms < HOURS_MS;) {
    const kind = random.float();
    const afterMs = kind < 0.7 ? 1 + draw(8000) : kind < 0.97 ? 1 + draw(90_000) : 1 + draw(20 * 60_000);
    ms += afterMs;
    writes.push({ afterMs, page: draw(SIZE / PAGE - 64), pages: 1 + draw(8) });
    if (kind > 0.96) for (let i = 0; i < 60; i++) writes.push({ afterMs: 0, page: draw(SIZE / PAGE - 64), pages: 64 });
  }
  return writes;
}

interface Outcome {
  readonly commits: number;
  readonly modelled: readonly number[];
  /** PUTs from the opening to the closing, without either. */
  readonly puts: number;
  readonly idleRequests: number;
}

const requestsOf = (counters: Readonly<Counters>): number =>
  counters.put + counters.get + counters.head + counters.list + counters.delete;

async function play(writes: readonly Write[], sealIntervalMs: number): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-model-'));
  await using pool = new FramePool({ threads: 1 });
  const clock = new TurnedClock();
  const { store, counters } = countedStore(memoryStore());
  const blocks = { objects: store, clock, random: seededRandom(1) };
  await createStore(blocks);
  const entry = await new Catalog(blocks).createVolume({ name: 'v', sizeBytes: SIZE, accountId: ACCOUNT });
  const cache = await openFrameCache({ directory: join(folder, 'cache'), limits: { fileBytes: 0, ramBytes: MIB } });
  const volume = await openCachedVolume({
    blocks,
    volumeId: entry.volumeId,
    holder: { gatewayId: 'sgw-00000001', name: 'g' },
    accountId: ACCOUNT,
    disk: directoryDisk(join(folder, 'log')),
    cache,
    pool,
    settings: { ack: 'log', bufferBytes: 128 * MIB, sealIntervalMs, readAheadBytes: 0 },
    takeOver: false,
  });
  const before = counters.put;
  const settled = async (): Promise<void> => {
    while (isBusy(volume, clock)) await turn();
  };
  for (const { afterMs, page, pages } of writes) {
    await clock.turnTo(clock.ms + afterMs, settled);
    await volume.write(page * PAGE, Buffer.alloc(pages * PAGE, 1 + (page % 250)));
    await settled();
  }
  await clock.turnTo(clock.ms + sealIntervalMs, settled);
  const { commits, modelledCommits } = volume.stats;
  const puts = counters.put - before;
  const beforeIdle = requestsOf(counters);
  await clock.turnTo(clock.ms + 24 * 3_600_000, settled);
  const idleRequests = requestsOf(counters) - beforeIdle;
  await volume.close({ drain: true });
  await cache.close();
  await rm(folder, { recursive: true });
  return { commits, modelled: modelledCommits, puts, idleRequests };
}

/** Something is to be uploaded now: a segment is full, or its time is over. */
const isBusy = ({ stats }: ServedVolume, clock: TurnedClock): boolean =>
  stats.dirtyBytes >= SEAL_BYTES + 2 * RECORD_BYTES || (stats.dirtyBytes > 0 && !clock.isAwaited);

it(`other intervals make the commits and PUTs that the model says, and an idle volume makes no request (seed ${String(SEED)})`, async () => {
  const writes = drawWrites(SEED);
  const made: number[] = [];
  const outcomes: Outcome[] = [];
  for (const intervalMs of PLAYED_MS) {
    const outcome = await play(writes, intervalMs);
    made.push(outcome.commits);
    outcomes.push(outcome);
  }
  const [often = 0, , seldom = 0] = made;
  // Longer intervals make fewer, and large copies fill segments whatever the interval.
  expect(often).toBeGreaterThan(2 * seldom);
  expect(seldom).toBeGreaterThan(2);
  for (const { modelled, puts, commits, idleRequests } of outcomes) {
    const said = PLAYED_MS.map((intervalMs) => modelled[MODELLED_INTERVALS_MS.indexOf(intervalMs as 10_000)] ?? 0);
    for (const [at, count] of said.entries()) {
      // What is committed last has told the model, which counts it with what comes next.
      const missed = (made[at] ?? 0) - count;
      expect(Math.abs(missed), `${said.join(' ')} for ${made.join(' ')}`).toBeLessThanOrEqual(2);
    }
    expect(Math.abs(puts - putsOf(commits))).toBeLessThanOrEqual(2);
    expect(idleRequests).toBe(0);
  }
}, 120_000);
