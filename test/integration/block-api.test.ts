/**
 * The block API of the installed `sgw service run`: by the typed client of the package, by the example appliance, across a kill,
 * and beside a gateway's own view of the store.
 */
import { execFile, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import type { ServiceReadyDocument } from '../../src/core/localapi/schemas.ts';
import { BLOCK_API_BYTES, BlockClient, type AccessKey } from '../../src/core/serviceclient/blocks/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { ROOT } from '../cli/run-verb.ts';

const run = promisify(execFile);
const BLOCK = BLOCK_API_BYTES;

let rig: HomeRig;
const clients: BlockClient[] = [];
beforeEach(() => {
  rig = new HomeRig();
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await rig[Symbol.asyncDispose]();
});

async function start(listen = '127.0.0.1:0'): Promise<{ ready: ServiceReadyDocument; child: ChildProcess }> {
  const child = rig.spawn(['service', 'run', '--listen', listen, '--gateway-listen', '127.0.0.1:0', '--json']);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (part: Buffer) => (stdout += part.toString('utf8')));
  child.stderr?.on('data', (part: Buffer) => (stderr += part.toString('utf8')));
  await expect.poll(() => stdout.includes('\n') || child.exitCode !== null, { timeout: 60_000 }).toBe(true);
  if (child.exitCode !== null) throw new Error(stdout + stderr);
  return { ready: JSON.parse(stdout) as ServiceReadyDocument, child };
}

async function connect({ url, caFingerprint }: ServiceReadyDocument, accessKey: AccessKey): Promise<BlockClient> {
  const client = await BlockClient.connect({ url, fingerprint: caFingerprint, accessKey, triesMax: 40 });
  clients.push(client);
  return client;
}

function keyOf({ rootKey }: ServiceReadyDocument): AccessKey {
  if (rootKey === null) throw new Error('no key was told');
  return rootKey;
}

describe('the typed client', () => {
  it('does all that there is, and goes on when the service was killed meanwhile', async () => {
    const { ready, child } = await start();
    const key = keyOf(ready);
    const client = await connect(ready, key);
    const { volumeId } = await client.createVolume({ name: 'disk', sizeBytes: 8 * BLOCK });
    const random = seededRandom(1);
    const [one, two] = [random.bytes(BLOCK), random.bytes(BLOCK)];
    await client.putBlock(volumeId, 1, one);
    const first = await client.createSnapshot(volumeId, { name: 'first' });
    await client.putBlock(volumeId, 1, two);
    await client.putBlock(volumeId, 5, one);
    const gone = once(child, 'exit');
    process.kill(ready.pid, 'SIGKILL');
    await gone;
    const { port } = new URL(ready.url);
    const writing = client.putBlock(volumeId, 6, two);
    await start(`127.0.0.1:${port}`);
    await writing;
    const second = await client.createSnapshot(volumeId);
    expect(await Array.fromAsync(client.volumeBlocks(volumeId))).toEqual([1, 5, 6]);
    expect(await Array.fromAsync(client.snapshotBlocks(first.snapshotId))).toEqual([1]);
    expect(await Array.fromAsync(client.changedBlocks(second.snapshotId, first.snapshotId))).toEqual([1, 5, 6]);
    expect((await client.getSnapshotBlock(first.snapshotId, 1)).equals(one)).toBe(true);
    expect((await client.getBlock(volumeId, 1)).equals(two)).toBe(true);
    const copy = await client.createVolume({ name: 'copy', fromSnapshotId: first.snapshotId });
    expect((await client.getBlock(copy.volumeId, 1)).equals(one)).toBe(true);
    expect((await Array.fromAsync(client.listVolumes())).map(({ name }) => name).sort()).toEqual(['copy', 'disk']);
    expect(await client.showVolume(volumeId)).toMatchObject({ name: 'disk', blockBytes: BLOCK });
    const listed = await Array.fromAsync(client.listSnapshots({ volumeId }));
    expect(listed.map(({ snapshotId }) => snapshotId)).toEqual([first.snapshotId, second.snapshotId].sort());
    expect(await client.deleteSnapshot(first.snapshotId)).toBe(true);
    expect(await client.deleteVolume(copy.volumeId)).toBe(true);
    expect(await client.deleteVolume(copy.volumeId)).toBe(false);
    await expect(client.showSnapshot(first.snapshotId)).rejects.toMatchObject({ code: 'snapshot-not-found' });
    await expect(client.putBlock(volumeId, 8, one)).rejects.toMatchObject({ code: 'block-out-of-range' });
    const stranger = await connect(ready, { ...key, secretAccessKey: 'x'.repeat(40) });
    await expect(stranger.showVolume(volumeId)).rejects.toMatchObject({ kind: 'denied', code: 'signature-wrong' });
  }, 120_000);
});

describe('the example appliance', () => {
  it('backs images up by what changed, and brings them back', async () => {
    const { ready } = await start();
    const { accessKeyId, secretAccessKey } = keyOf(ready);
    const folder = path.join(rig.folder, 'images');
    mkdirSync(folder);
    const ca = path.join(rig.folder, 'ca.pem');
    const client = await connect(ready, keyOf(ready));
    writeFileSync(ca, client.ca ?? '');
    const env = {
      ...{ PATH: process.env['PATH'], SGW_URL: ready.url, SGW_CA: ca },
      ...{ SGW_ACCESS_KEY_ID: accessKeyId, SGW_SECRET_ACCESS_KEY: secretAccessKey },
    };
    const appliance = async (...words: string[]): Promise<Record<string, unknown>> => {
      const program = path.join(ROOT, 'examples/appliance/backup.mjs');
      const { stdout } = await run(process.execPath, [program, ...words], { env });
      return JSON.parse(stdout) as Record<string, unknown>;
    };
    const image = path.join(folder, 'disk.img');
    const restored = path.join(rig.folder, 'restored.img');
    const bytes = Buffer.alloc(6 * BLOCK + 1000);
    seededRandom(2)
      .bytes(2 * BLOCK)
      .copy(bytes, BLOCK);
    bytes.write('the end', 6 * BLOCK + 900);
    writeFileSync(image, bytes);
    const first = await appliance('backup', folder);
    expect(first).toMatchObject({ name: 'disk.img', blocksSent: 3 });
    expect(await appliance('restore', image, restored)).toMatchObject({ blocksRead: 3 });
    expect(readFileSync(restored).equals(bytes)).toBe(true);
    expect(await appliance('backup', folder)).toMatchObject({ blocksSent: 0, snapshotId: first['snapshotId'] });
    bytes.write('changed', 4 * BLOCK);
    bytes.fill(0, BLOCK, 2 * BLOCK);
    writeFileSync(image, bytes);
    expect(await appliance('backup', folder)).toMatchObject({ blocksSent: 2, volumeId: first['volumeId'] });
    const since = String(first['snapshotId']);
    expect(await appliance('restore', image, restored, since)).toMatchObject({ blocksRead: 2 });
    expect(readFileSync(restored).equals(bytes)).toBe(true);
    await expect(appliance('restore', path.join(folder, 'none.img'), restored)).rejects.toMatchObject({ code: 1 });
  }, 120_000);
});
