/**
 * sgw over a RADOS gateway against the plain SDK, over a way with 0, 20 and 50 ms: `node s3-run.ts FOLDER ROUNDS`. Prints the
 * samples of each as JSON. Both go the same way, through a proxy in this process.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, rmSync } from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { randomBytes } from 'node:crypto';
import { NbdClient } from '../test/soak/served/nbd-client.ts';
import { Radosgw, S3_ENVIRONMENT } from '../test/support/radosgw.ts';
import { S3Proxy } from '../test/support/s3-proxy.ts';

const IMAGE_BYTES = 192 * 1024 * 1024;
const LATENCIES_MS = [0, 20, 50];
const READS = 60;
const PAGE = 4096;
const ROOT = path.dirname(import.meta.dirname);
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
}

const [folder = '', rounds = '3'] = process.argv.slice(2);
const env = { ...process.env, ...S3_ENVIRONMENT, SGW_CONFIG_DIR: path.join(folder, 'config'), SGW_NO_INPUT: '1' };

async function run(argv: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${String(code)}: ${text}`);
  return text;
}

async function secondsOf(argv: readonly string[]): Promise<number> {
  const beganMs = performance.now();
  await run(argv);
  return (performance.now() - beganMs) / 1000;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

const image = path.join(folder, 'image');
const output = path.join(folder, 'output');
await pipeline(
  Readable.from(Array.from({ length: IMAGE_BYTES >> 20 }, () => randomBytes(1 << 20))),
  createWriteStream(image),
);
Object.assign(process.env, S3_ENVIRONMENT);
await using server = await Radosgw.start();
await using way = await S3Proxy.start({ port: server.port });
const endpoint = `http://127.0.0.1:${String(way.port)}`;

/** Pages at random, each of a frame of its own that nobody has read yet. */
async function demandReads(home: string): Promise<number[]> {
  const client = await NbdClient.connect(path.join(home, 'nbd.sock'), 'cold');
  const tookMs: number[] = [];
  const strideBytes = Math.floor(IMAGE_BYTES / READS / PAGE) * PAGE;
  const order = Array.from({ length: READS }, (_, i) => (i * 37) % READS);
  for (const place of order) {
    const beganMs = performance.now();
    await client.read(place * strideBytes, PAGE);
    tookMs.push(performance.now() - beganMs);
  }
  client.close();
  return tookMs;
}

async function round(name: string, samples: S3Samples): Promise<void> {
  const home = path.join(folder, `home-${name}`);
  const sgw = (...words: string[]): string[] => [path.join(ROOT, 'bin/run.js'), ...words, '--home', home, '--quiet'];
  const peer = (...words: string[]): string[] => [PEER, words[0] ?? '', endpoint, ...words.slice(1)];
  await run(sgw('activate', '--name', 'bench', '--store', server.storeUrl(`sgw-${name}`, way.port)));
  const both = async (mine: number[], own: string[], other: number[], others: string[]): Promise<void> => {
    mine.push(await secondsOf(own));
    rmSync(output, { force: true });
    other.push(await secondsOf(others));
    rmSync(output, { force: true });
  };
  const { importSeconds, putSeconds, exportSeconds, getSeconds, readMs, rangeMs } = samples;
  await both(
    importSeconds,
    sgw('volume', 'import', image, '--name', 'disk'),
    putSeconds,
    peer('put', `peer-${name}`, image),
  );
  await run(sgw('snapshot', 'create', 'disk', '--name', 'v1'));
  await both(exportSeconds, sgw('snapshot', 'export', 'v1', output), getSeconds, peer('get', `peer-${name}`, output));
  await run(sgw('volume', 'create', 'cold', '--from-snapshot', 'v1'));
  await run(sgw('gateway', 'start'));
  await run(sgw('volume', 'attach', 'cold'));
  // The first read opens what the volume is made of.
  readMs.push(median((await demandReads(home)).slice(1)));
  await run(sgw('gateway', 'stop'));
  rangeMs.push(median(JSON.parse(await run(peer('ranges', `peer-${name}`, String(READS)))) as number[]));
}

const all: S3Samples[] = [];
for (const latencyMs of LATENCIES_MS) {
  way.latencyMs = latencyMs;
  const samples: S3Samples = {
    ...{ latencyMs, importSeconds: [], putSeconds: [], exportSeconds: [], getSeconds: [], readMs: [], rangeMs: [] },
  };
  for (let i = 0; i < Number(rounds); i++) await round(`${String(latencyMs)}-${String(i)}`, samples);
  all.push(samples);
}
process.stdout.write(JSON.stringify(all));
