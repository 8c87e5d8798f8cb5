/**
 * The built program over a real S3 server: an image goes in, is kept, served, killed and collected over, and comes out the
 * same; over a good way and over one with 50 ms and an error in each hundred requests.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, expect } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { HomeRig, isAlive, until } from '../cli/gateway-rig.ts';
import { requireTool, toolPath } from '../requirements.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { requireRadosgw, S3_ENVIRONMENT, type Radosgw } from '../support/radosgw.ts';
import { byChance, S3Proxy } from '../support/s3-proxy.ts';
import { sharedRadosgw } from '../support/shared-radosgw.ts';

const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const IMAGE_BYTES = 24 << 20;
const CHUNK_BYTES = 1 << 20;

/** An ext4 file system with files of text and of noise. */
function makeImage(rig: HomeRig): string {
  const files = path.join(rig.folder, 'files');
  mkdirSync(files);
  const random = seededRandom(SEED);
  for (let i = 0; i < 6; i++)
    writeFileSync(path.join(files, `noise-${String(i)}`), random.bytes(500_000 + Math.floor(random.float() * 500_000)));
  for (let i = 0; i < 40; i++) writeFileSync(path.join(files, `text-${String(i)}`), `line ${String(i)}\n`.repeat(3000));
  const image = path.join(rig.folder, 'disk.img');
  writeFileSync(image, '');
  const tool = toolPath('mke2fs') ?? 'mke2fs';
  execFileSync(tool, ['-q', '-t', 'ext4', '-F', '-d', files, image, String(IMAGE_BYTES / 1024)]);
  return image;
}

async function readExport(rig: HomeRig, name: string): Promise<Buffer> {
  const client = await NbdClient.connect(path.join(rig.home, 'nbd.sock'), name);
  const chunks: Buffer[] = [];
  for (let at = 0; at < IMAGE_BYTES; at += CHUNK_BYTES) chunks.push(await client.read(at, CHUNK_BYTES));
  client.close();
  return Buffer.concat(chunks);
}

async function killDaemon(rig: HomeRig): Promise<void> {
  const pid = rig.daemonPid();
  if (pid === undefined) throw new Error('no daemon runs');
  process.kill(pid, 'SIGKILL');
  await until('the daemon is dead', () => !isAlive(pid));
}

async function exported(rig: HomeRig, snapshot: string): Promise<Buffer> {
  const out = path.join(rig.folder, 'out.img');
  await rig.ok('snapshot', 'export', snapshot, out, '--force');
  return readFileSync(out);
}

/** All of it; leaves two snapshots. */
async function roundTrip(storeUrl: string): Promise<void> {
  await using rig = new HomeRig();
  await rig.ok('activate', '--name', 'lab', '--store', storeUrl);
  const image = makeImage(rig);
  const original = readFileSync(image);
  await rig.ok('volume', 'import', image, '--name', 'disk');
  await rig.ok('snapshot', 'create', 'disk', '--name', 'first', '--wait');
  expect((await exported(rig, 'first')).equals(original)).toBe(true);

  await rig.ok('gateway', 'start');
  await rig.ok('volume', 'attach', 'disk');
  expect((await readExport(rig, 'disk')).equals(original)).toBe(true);
  const changed = Buffer.from(original);
  const random = seededRandom(SEED + 1);
  const client = await NbdClient.connect(path.join(rig.home, 'nbd.sock'), 'disk');
  for (let i = 0; i < 100; i++) {
    const at = Math.floor(random.float() * (IMAGE_BYTES / 4096 - 8)) * 4096;
    const bytes = random.bytes(4096 * (1 + Math.floor(random.float() * 8)));
    await client.write(at, bytes);
    bytes.copy(changed, at);
  }
  await client.flush();
  await killDaemon(rig);
  client.close();
  await rig.ok('gateway', 'start');
  expect((await readExport(rig, 'disk')).equals(changed)).toBe(true);
  await rig.ok('snapshot', 'create', 'disk', '--name', 'second', '--wait');
  await rig.ok('gateway', 'stop');

  await rig.ok('snapshot', 'delete', 'first', '--yes');
  await rig.ok('store', 'gc', '--grace', '0s', '--yes');
  await rig.ok('store', 'gc', '--grace', '0s', '--yes');
  expect((await exported(rig, 'second')).equals(changed)).toBe(true);
  await rig.ok('snapshot', 'verify', 'second');

  // What holds the bytes is the bucket alone: another home sees the same.
  await using other = await HomeRig.activated('other', '--store', storeUrl);
  expect((await exported(other, 'second')).equals(changed)).toBe(true);
  const state = readFileSync(path.join(rig.home, 'state.json'), 'utf8') + JSON.stringify(rig.log());
  expect(state).not.toContain(S3_ENVIRONMENT.AWS_SECRET_ACCESS_KEY);
}

requireRadosgw().describe('the program over an S3 server', () => {
  const ext4 = requireTool('mke2fs');
  let server: Radosgw;
  beforeAll(async () => {
    server = await sharedRadosgw();
  });

  ext4.it(
    `an image goes in, is served, survives a kill and gc, and comes out the same (seed ${String(SEED)})`,
    async () => {
      await roundTrip(server.storeUrl('near'));
    },
    300_000,
  );

  ext4.it(
    `the same with 50 ms and an error in each hundred requests (seed ${String(SEED)})`,
    async () => {
      const fault = byChance(seededRandom(SEED), 0.01, ['busy', 'cut', 'lost', 'half']);
      await using way = await S3Proxy.start({ port: server.port, latencyMs: 50, fault });
      await roundTrip(server.storeUrl('far', way.port));
      expect(['busy', 'cut', 'lost', 'half'].some((kind) => way.seen.has(kind))).toBe(true);
    },
    500_000,
  );

  ext4.it(
    'C22 a shadowed image is served while its bucket is out of reach, and is caught up when that is back',
    async () => {
      await using way = await S3Proxy.start({ port: server.port });
      await using rig = new HomeRig();
      await rig.ok('activate', '--name', 'lab', '--mode', 'shadowing', '--store', server.storeUrl('shadow', way.port));
      const image = makeImage(rig);
      await rig.ok('gateway', 'start');
      await rig.ok('volume', 'attach', 'disk', '--image', image);
      await rig.ok('snapshot', 'create', 'disk', '--name', 'first', '--wait');
      await rig.ok('gateway', 'stop');
      way.fault = () => 'cut';
      await rig.ok('gateway', 'start');
      const client = await NbdClient.connect(path.join(rig.home, 'nbd.sock'), 'disk');
      await client.write(8192, Buffer.alloc(4096, 7));
      await client.flush();
      client.close();
      expect(readFileSync(image).subarray(8192, 12_288).equals(Buffer.alloc(4096, 7))).toBe(true);
      way.fault = undefined;
      await rig.ok('snapshot', 'create', 'disk', '--name', 'second', '--wait');
      await rig.ok('gateway', 'stop');
      expect((await exported(rig, 'second')).equals(readFileSync(image))).toBe(true);
    },
    300_000,
  );

  ext4.it('store check tries what the server does; a bucket that heeds no conditions is refused', async () => {
    await using rig = new HomeRig();
    const check = await rig.ok('store', 'check', '--store', server.storeUrl('check'));
    expect(check).toMatchObject({ writable: true, provider: 'Ceph RGW' });
    expect((check['probes'] as { ok: boolean }[]).filter(({ ok }) => !ok)).toEqual([]);
    await server.makeBucket('versioned', true);
    const versioned = server.storeUrl('x').replace('s3://store/', 's3://versioned/');
    const refused = await rig.run(['store', 'check', '--store', versioned, '--json']);
    expect(refused.exitCode).toBe(10);
    expect(JSON.parse(refused.stdout)).toMatchObject({ writable: false });
    expect(await rig.failure('activate', '--store', versioned)).toMatchObject({ exitCode: 10, code: 'store-unfit' });
    const { stdout } = await rig.run(['store', 'check', '--store', versioned]);
    expect(stdout).toContain('versioned buckets');
  });

  ext4.it('what a bucket or its server refuses is said before anything is made', async () => {
    await using rig = new HomeRig();
    const absent = server.storeUrl('x').replace('s3://store/', 's3://absent/');
    expect(await rig.failure('activate', '--store', absent)).toMatchObject({ exitCode: 3, code: 'store-missing' });
    const away = 's3://store/x?endpoint=http://127.0.0.1:1';
    expect(await rig.failure('activate', '--store', away)).toMatchObject({ exitCode: 5, code: 'store-unreachable' });
    expect(await rig.failure('activate', '--store', 's3://key:hush@store/x')).toMatchObject({ code: 'bad-store' });
    expect(await rig.failure('activate', '--path-style')).toMatchObject({ code: 'flag-alone' });
    const flags = ['--store-endpoint', server.endpoint, '--store-region', 'default', '--path-style'];
    const { store } = await rig.ok('activate', '--store', 's3://store/flags', ...flags);
    expect(store).toBe(server.storeUrl('flags'));
  });
});
