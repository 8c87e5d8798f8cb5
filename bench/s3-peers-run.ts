/**
 * sgw, restic and s3backer over a RADOS gateway: `node s3-peers-run.ts FOLDER IMAGE ROUNDS`. Prints the samples as JSON. All go
 * through a proxy in this process, which counts.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../src/core/kit/index.ts';
import { NbdClient } from '../test/soak/served/nbd-client.ts';
import { writeAtRandom } from '../test/soak/served/puts.ts';
import { S3_ENVIRONMENT } from '../test/support/radosgw.ts';
import { change, copyImage, type Image } from './image.ts';
import { treeBytes, versionOf } from './programs.ts';
import { S3Way, type Program } from './s3-way.ts';

const SHARE = 0.01;
const VOLUME_BYTES = 256 * 2 ** 20;
const WRITTEN_BYTES = 64 * 2 ** 20;
/** s3backer's own default, and what it is mostly given for disks of size. */
const BLOCK_SIZES = [4096, 65_536] as const;
/** Nothing more is on the way when the bucket got no request for so long. */
const QUIET_MS = 2000;

export interface PeerSample {
  readonly work: 'import' | 'change of 1 %' | 'random writes';
  readonly program: string;
  readonly seconds: number;
  readonly requests: number;
  readonly puts: number;
  readonly upBytes: number;
  readonly downBytes: number;
}

const [folder = '', imagePath = '', rounds = '3'] = process.argv.slice(2);
const base: Image = { path: imagePath, sizeBytes: 4 * 1024 ** 3, dataBytes: treeBytes(imagePath) };
const samples: PeerSample[] = [];

type Timed = () => Promise<number>;

async function measured(way: S3Way, work: PeerSample['work'], program: string, timed: Timed): Promise<void> {
  const before = way.proxy.counts();
  const seconds = await timed();
  const after = way.proxy.counts();
  const sample = {
    ...{ work, program, seconds },
    requests: after.requests - before.requests,
    puts: after.puts - before.puts,
    upBytes: after.upBytes - before.upBytes,
    downBytes: after.downBytes - before.downBytes,
  };
  process.stderr.write(`  ${work}, ${program}: ${seconds.toFixed(3)} s\n`);
  samples.push(sample);
}

async function images(way: S3Way, round: number): Promise<void> {
  const image = copyImage(base, path.join(folder, 'changing.img'));
  const repository = `s3:${way.endpoint}/store/restic`;
  const restic = (...words: readonly string[]): Program => ({
    argv: ['restic', '-q', '-r', repository, '-o', 's3.region=default', ...words],
    cwd: path.dirname(image.path),
    env: { RESTIC_PASSWORD: 'benchmark', RESTIC_CACHE_DIR: path.join(folder, 'restic-cache') },
  });
  const hasRestic = versionOf('restic', 'version') !== undefined;
  const backup = restic('backup', path.basename(image.path));
  await way.activate('images');
  const sgw = (...words: readonly string[]): Program => way.sgw('images', ...words);
  if (hasRestic) await way.run(restic('init'));
  const imports: [string, Timed][] = [
    ['sgw', async () => way.secondsOf(sgw('volume', 'import', image.path, '--name', 'disk'))],
  ];
  if (hasRestic) imports.push(['restic', async () => way.secondsOf(backup)]);
  for (const [program, timed] of turned(imports, round)) await measured(way, 'import', program, timed);
  change(image, SHARE, round);
  const rescan = sgw('volume', 'import', image.path, '--into', 'disk');
  const snapshot = async (): Promise<number> => way.secondsOf(sgw('snapshot', 'create', 'disk', '--name', 'v2'));
  if (hasRestic) await measured(way, 'change of 1 %', 'restic', async () => way.secondsOf(backup));
  await measured(way, 'change of 1 %', 'sgw, import --into', async () => way.secondsOf(rescan));
  await measured(way, 'change of 1 %', 'sgw', snapshot);
  rmSync(image.path);
}

const turned = <T>(items: readonly T[], by: number): T[] => items.map((_, i) => items[(i + by) % items.length] as T);

const atRandom = async (write: (offset: number, data: Buffer) => Promise<unknown>): Promise<void> =>
  writeAtRandom({ bytes: WRITTEN_BYTES, volumeBytes: VOLUME_BYTES, random: seededRandom(10) }, write);

async function writesOfSgw(way: S3Way): Promise<void> {
  await way.activate('writes');
  const sgw = async (...words: readonly string[]): Promise<string> => way.run(way.sgw('writes', ...words));
  await sgw('volume', 'create', 'disk', '--size', String(VOLUME_BYTES));
  await sgw('gateway', 'start');
  await sgw('volume', 'attach', 'disk');
  const client = await NbdClient.connect(path.join(way.homeOf('writes'), 'nbd.sock'), 'disk');
  await measured(way, 'random writes', 'sgw', async () => {
    const beganMs = performance.now();
    await atRandom(async (offset, data) => client.write(offset, data));
    await client.flush();
    await sgw('snapshot', 'create', 'disk', '--name', 'all', '--wait');
    return (performance.now() - beganMs) / 1000;
  });
  client.close();
  await sgw('gateway', 'stop');
}

async function writesOfS3backer(way: S3Way, blockBytes: number): Promise<void> {
  const mount = path.join(folder, `s3backer-${String(blockBytes)}`);
  mkdirSync(mount, { recursive: true });
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: key } = S3_ENVIRONMENT;
  // With a region it would name the bucket in the host.
  const argv = [
    ...['-f', '--quiet', `--baseURL=${way.endpoint}/`, `--accessId=${id}`, `--accessKey=${key}`],
    ...[`--prefix=s3backer-${String(blockBytes)}-`, `--blockSize=${String(blockBytes)}`],
    ...[`--size=${String(VOLUME_BYTES)}`, `--blockCacheSize=${String(VOLUME_BYTES / blockBytes)}`, '--listBlocks'],
    ...['store', mount],
  ];
  const backer = spawn('s3backer', argv, { stdio: 'ignore' });
  const ended = new Promise((resolve) => backer.once('close', resolve));
  const file = path.join(mount, 'file');
  for (let i = 0; !existsSync(file); i++) {
    if (i > 100 || backer.exitCode !== null) throw new Error('s3backer does not start');
    await delay(100);
  }
  await measured(way, 'random writes', `s3backer, blocks of ${String(blockBytes / 1024)} KiB`, async () => {
    const beganMs = performance.now();
    await using disk = await open(file, 'r+');
    await atRandom(async (offset, data) => disk.write(data, 0, data.length, offset));
    // A flush does not reach the bucket: it is done when no more requests come.
    await disk.sync();
    return (await quiet(way)) - beganMs / 1000;
  });
  await way.run({ argv: ['umount', mount] });
  await ended;
}

/** Waits until no requests come any more; seconds of the clock when the last was seen. */
async function quiet(way: S3Way): Promise<number> {
  let { requests } = way.proxy.counts();
  let lastMs = performance.now();
  while (performance.now() - lastMs < QUIET_MS) {
    await delay(20);
    const now = way.proxy.counts().requests;
    if (now !== requests) lastMs = performance.now();
    requests = now;
  }
  return lastMs / 1000;
}

for (let round = 0; round < Number(rounds); round++) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await using way = await S3Way.open(folder);
  await images(way, round);
  await writesOfSgw(way);
  if (versionOf('s3backer', '--version') === undefined) continue;
  for (const blockBytes of BLOCK_SIZES) await writesOfS3backer(way, blockBytes);
}
process.stdout.write(JSON.stringify(samples));
