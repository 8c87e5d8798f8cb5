/**
 * sgw over a RADOS gateway against the plain SDK, over a way with 0, 20 and 50 ms: `node s3-run.ts FOLDER ROUNDS`. Prints the
 * samples of each as JSON. Both go the same way, through a proxy in this process.
 */
import { randomBytes } from 'node:crypto';
import { createWriteStream, rmSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { NbdClient } from '../test/soak/served/nbd-client.ts';
import { IMAGE_BYTES, S3Way, type Program } from './s3-way.ts';

const LATENCIES_MS = [0, 20, 50];
const READS = 60;
const PAGE = 4096;
const PEER = path.join(import.meta.dirname, 's3-peer.ts');

/** Seconds, or milliseconds of one read, by round. */
export interface S3Samples {
  readonly latencyMs: number;
  readonly importSeconds: number[];
  readonly putSeconds: number[];
  readonly exportSeconds: number[];
  readonly getSeconds: number[];
  readonly readMs: number[];
  readonly rangeMs: number[];
  /** The same pages again. */
  readonly cachedMs: number[];
  /** From asking for a clone of the snapshot until it is served and its first page was read. */
  readonly cloneSeconds: number[];
}

const [folder = '', rounds = '3'] = process.argv.slice(2);

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

const image = path.join(folder, 'image');
const output = path.join(folder, 'output');
await pipeline(
  Readable.from(Array.from({ length: IMAGE_BYTES >> 20 }, () => randomBytes(1 << 20))),
  createWriteStream(image),
);

const PAGES = Array.from({ length: READS }, (_, i) => ((i * 37) % READS) * Math.floor(IMAGE_BYTES / READS / PAGE));

/** Pages at random, each of a frame of its own. */
async function readPages(client: NbdClient): Promise<number[]> {
  const tookMs: number[] = [];
  for (const page of PAGES) {
    const beganMs = performance.now();
    await client.read(page * PAGE, PAGE);
    tookMs.push(performance.now() - beganMs);
  }
  return tookMs;
}

async function round(latencyMs: number, samples: S3Samples): Promise<void> {
  await using way = await S3Way.open(folder, latencyMs);
  const name = `${String(latencyMs)}-${String(samples.importSeconds.length)}`;
  const sgw = (...words: string[]): Program => way.sgw(name, ...words);
  const peer = (what: string, subject: string): Program => ({
    argv: [process.execPath, PEER, what, way.endpoint, 'peer', subject],
  });
  await way.activate(name);
  const both = async (mine: number[], own: Program, other: number[], others: Program): Promise<void> => {
    mine.push(await way.secondsOf(own));
    rmSync(output, { force: true });
    other.push(await way.secondsOf(others));
    rmSync(output, { force: true });
  };
  const { importSeconds, putSeconds, exportSeconds, getSeconds, readMs, rangeMs, cachedMs, cloneSeconds } = samples;
  await both(importSeconds, sgw('volume', 'import', image, '--name', 'disk'), putSeconds, peer('put', image));
  await way.run(sgw('snapshot', 'create', 'disk', '--name', 'v1'));
  await both(exportSeconds, sgw('snapshot', 'export', 'v1', output), getSeconds, peer('get', output));
  await way.run(sgw('gateway', 'start'));
  const beganMs = performance.now();
  await way.run(sgw('volume', 'create', 'cold', '--from-snapshot', 'v1', '--attach'));
  const client = await NbdClient.connect(path.join(way.homeOf(name), 'nbd.sock'), 'cold');
  await client.read(0, PAGE);
  cloneSeconds.push((performance.now() - beganMs) / 1000);
  // Nobody has read them; nearly each is in a segment of its own, whose tables are read first.
  readMs.push(median((await readPages(client)).slice(1)));
  cachedMs.push(median(await readPages(client)));
  client.close();
  await way.run(sgw('gateway', 'stop'));
  rangeMs.push(median(JSON.parse(await way.run(peer('ranges', String(READS)))) as number[]));
}

const all: S3Samples[] = [];
for (const latencyMs of LATENCIES_MS) {
  const samples: S3Samples = {
    ...{ latencyMs, importSeconds: [], putSeconds: [], exportSeconds: [], getSeconds: [], readMs: [], rangeMs: [] },
    ...{ cachedMs: [], cloneSeconds: [] },
  };
  for (let i = 0; i < Number(rounds); i++) await round(latencyMs, samples);
  all.push(samples);
}
process.stdout.write(JSON.stringify(all));
