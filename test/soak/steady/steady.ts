/**
 * A gateway under steady load, for as long as is asked for: `npm run soak -- --steady --minutes M`. A client reads, writes, trims and
 * flushes over NBD at a pace that the machine keeps up with, each read held against what was written; snapshots come and
 * go, and gc runs. What the gateway takes of memory, files and descriptors must not grow with time, nor its home beyond its
 * configuration.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import { NbdClient } from '../served/nbd-client.ts';
import { PAGE, stamped, stampOf } from '../served/stamps.ts';
import { sgw } from '../run-sgw.ts';
import { directoryStores, type SoakStores } from '../store.ts';
import { placeIn, type Place } from '../verb.ts';

const PAGES = 65_536;
const LANES = 16;
const PAGES_OF_A_CALL = 16;
const CACHE_BYTES = 64 << 20;
const BUFFER_BYTES = 64 << 20;
/** state.json, logs of the gateway, and the cache's index. */
const OTHER_BYTES = 32 << 20;
/** Of each lane. */
const PAUSE_MS = 40;
const SAMPLE_MS = 5_000;
const SNAPSHOT_MS = 60_000;
const GC_MS = 600_000;
const MIB = 1 << 20;
/** The last quarter may take so much more than the second one. */
const GROWTH_MIB_MAX = 48;
const FILES_MAX = 8;

export interface SteadyCounts {
  reads: number;
  writes: number;
  trims: number;
  flushes: number;
  snapshots: number;
  /** Mean of the second and the last quarter of the time. */
  rssEarlyMib: number;
  rssLateMib: number;
  homeMaxMib: number;
  filesEarly: number;
  filesLate: number;
}

export const steadyCounts = (): SteadyCounts => ({
  ...{ reads: 0, writes: 0, trims: 0, flushes: 0, snapshots: 0 },
  ...{ rssEarlyMib: 0, rssLateMib: 0, homeMaxMib: 0, filesEarly: 0, filesLate: 0 },
});

export interface SteadyOptions {
  readonly folder: string;
  readonly random: Random;
  readonly counts: SteadyCounts;
  readonly forMs: number;
  /** Leaves gc out, whose memory grows with the store that this load makes. */
  readonly withoutGc?: boolean;
  readonly goesOn?: () => boolean;
  readonly onSample?: (line: string) => void;
  /** Default directories. */
  readonly stores?: SoakStores;
}

interface Sample {
  readonly rssMib: number;
  readonly files: number;
  readonly homeBytes: number;
}

/** @throws Error at the first wrong read, failed request or figure out of bounds */
export async function runSteady(options: SteadyOptions): Promise<void> {
  const place = placeIn(options.folder);
  const home = join(options.folder, 'home');
  const store = await (options.stores ?? directoryStores)(options.folder);
  await sgw(place, 'activate', '--name', 'steady', '--store', store.where);
  await sgw(place, 'configure', '--cache', String(CACHE_BYTES), '--cache-ram', '16MiB');
  await sgw(place, 'volume', 'create', 'disk', '--size', String(PAGES * PAGE));
  await sgw(place, 'volume', 'configure', 'disk', '--buffer', String(BUFFER_BYTES), '--seal-interval', '1s');
  await sgw(place, 'gateway', 'start');
  try {
    await sgw(place, 'volume', 'attach', 'disk');
    const { pid } = JSON.parse(readFileSync(join(home, 'gateway.json'), 'utf8')) as { pid: number };
    const samples = await underLoad(options, place, home, pid);
    judge(samples, options.counts);
  } finally {
    await sgw(place, 'gateway', 'stop');
  }
  await store.remove();
}

async function underLoad(options: SteadyOptions, place: Place, home: string, pid: number): Promise<Sample[]> {
  const { counts, forMs, goesOn, onSample } = options;
  const ended = new AbortController();
  const endMs = performance.now() + forMs;
  const isOn = (): boolean => !ended.signal.aborted && performance.now() < endMs && goesOn?.() !== false;
  const client = await NbdClient.connect(join(home, 'nbd.sock'), 'disk');
  const work = [load(options, client, isOn), housekeeping(place, options, isOn)];
  const samples: Sample[] = [];
  const watch = async (): Promise<void> => {
    while (isOn()) {
      await delay(SAMPLE_MS);
      const sample = { rssMib: rssMib(pid), files: readdirSync(`/proc/${pid}/fd`).length, homeBytes: bytesIn(home) };
      samples.push(sample);
      onSample?.(
        `${sample.rssMib} MiB resident, ${sample.files} files open, home ${Math.round(sample.homeBytes / MIB)} MiB, ${counts.reads} reads, ${counts.writes} writes`,
      );
    }
  };
  try {
    await Promise.all([...work, watch()]);
  } finally {
    ended.abort();
    await Promise.allSettled(work);
    client.close();
  }
  return samples;
}

/** Each lane has pages of its own, so what is read is known. */
async function load({ random, counts }: SteadyOptions, client: NbdClient, isOn: () => boolean): Promise<void> {
  const pages = new Float64Array(PAGES);
  let number = 0;
  const each = PAGES / LANES;
  const lane = async (first: number): Promise<void> => {
    while (isOn()) {
      const count = 1 + Math.floor(random.float() * PAGES_OF_A_CALL);
      const page = first + Math.floor(random.float() * (each - count));
      const choice = random.float();
      if (choice < 0.6) {
        counts.reads += 1;
        const bytes = await client.read(page * PAGE, count * PAGE);
        for (let at = 0; at < count; at++) {
          const found = stampOf(page + at, bytes.subarray(at * PAGE, (at + 1) * PAGE));
          const expected = pages[page + at];
          if (found !== expected)
            throw new Error(`page ${page + at} holds write ${found}, not ${expected ?? 'that of a page'}`);
        }
      } else if (choice < 0.95) {
        counts.writes += 1;
        const own = ++number;
        await client.write(page * PAGE, stamped(page, count, own));
        pages.fill(own, page, page + count);
      } else if (choice < 0.98) {
        counts.trims += 1;
        await client.trim(page * PAGE, count * PAGE);
        pages.fill(0, page, page + count);
      } else {
        counts.flushes += 1;
        await client.flush();
      }
      await delay(random.float() * 2 * PAUSE_MS);
    }
  };
  await Promise.all(Array.from({ length: LANES }, async (_, i) => lane(i * each)));
}

/** Snapshots that come and go, and gc. */
async function housekeeping(
  place: Place,
  { counts, withoutGc = false }: SteadyOptions,
  isOn: () => boolean,
): Promise<void> {
  let snapshotMs = performance.now() + SNAPSHOT_MS / 2;
  let gcMs = performance.now() + GC_MS;
  while (isOn()) {
    await delay(500);
    if (performance.now() > snapshotMs) {
      snapshotMs = performance.now() + SNAPSHOT_MS;
      counts.snapshots += 1;
      await sgw(place, 'snapshot', 'create', 'disk', '--name', `s${counts.snapshots}`, '--wait');
      if (counts.snapshots > 1) await sgw(place, 'snapshot', 'delete', `s${counts.snapshots - 1}`, '--yes');
    }
    if (!withoutGc && performance.now() > gcMs) {
      gcMs = performance.now() + GC_MS;
      await sgw(place, 'store', 'gc');
    }
  }
}

function judge(samples: readonly Sample[], counts: SteadyCounts): void {
  const quarter = Math.floor(samples.length / 4);
  const early = samples.slice(quarter, 2 * quarter);
  const late = samples.slice(-quarter);
  if (quarter === 0) throw new Error('too short to tell');
  counts.rssEarlyMib = mean(early.map(({ rssMib }) => rssMib));
  counts.rssLateMib = mean(late.map(({ rssMib }) => rssMib));
  counts.filesEarly = mean(early.map(({ files }) => files));
  counts.filesLate = mean(late.map(({ files }) => files));
  counts.homeMaxMib = Math.round(Math.max(...samples.map(({ homeBytes }) => homeBytes)) / MIB);
  if (counts.rssLateMib > counts.rssEarlyMib + GROWTH_MIB_MAX)
    throw new Error(`memory grew from ${counts.rssEarlyMib} to ${counts.rssLateMib} MiB`);
  if (counts.filesLate > counts.filesEarly + FILES_MAX)
    throw new Error(`open files grew from ${counts.filesEarly} to ${counts.filesLate}`);
  const most = (CACHE_BYTES + BUFFER_BYTES + OTHER_BYTES) / MIB;
  if (counts.homeMaxMib > most) throw new Error(`the home took ${counts.homeMaxMib} MiB, more than ${most}`);
}

const mean = (values: readonly number[]): number =>
  Math.round(values.reduce((sum, value) => sum + value, 0) / values.length);

function rssMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024);
}

/** What the files under a folder take of the disk. */
function bytesIn(folder: string): number {
  let bytes = 0;
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const facts = statSync(join(folder, name), { throwIfNoEntry: false });
    if (facts?.isFile() === true) bytes += facts.blocks * 512;
  }
  return bytes;
}
