/**
 * The built program moves a store from a directory to a bucket of a real S3 server, and back: killed, gone on with, beside a
 * gateway that writes, encrypted; and the gateway goes on in the new place.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { openObjectStore } from '../../src/core/objectstore/index.ts';
import { ended, HomeRig } from '../cli/gateway-rig.ts';
import { exportStore } from '../reader/independent-export.ts';
import { bucketObjects, directoryObjects, type StoredObjects } from '../reader/independent-places.ts';
import type { Secret } from '../reader/independent-sealing.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { requireRadosgw, type Radosgw } from '../support/radosgw.ts';
import { sharedRadosgw } from '../support/shared-radosgw.ts';

const SIZE = 32 << 20;
const PASSPHRASE = 'correct horse battery staple';
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** A volume with noise in it, a snapshot and a clone. */
async function fill(rig: HomeRig, unlock: readonly string[]): Promise<Buffer> {
  const disk = Buffer.concat([seededRandom(5).bytes(SIZE / 2), Buffer.alloc(SIZE / 2)]);
  await rig.ok('volume', 'import', rig.file('disk.img', disk), '--name', 'golden', ...unlock);
  await rig.ok('snapshot', 'create', 'golden', '--name', 'v1', '--wait', ...unlock);
  await rig.ok('volume', 'create', 'clone', '--from-snapshot', 'v1', ...unlock);
  return disk;
}

async function holds(objects: StoredObjects, secret?: Secret): Promise<Record<string, string>> {
  const { volumes, snapshots } = await exportStore(objects, secret);
  return Object.fromEntries([...volumes, ...snapshots].map((disk) => [disk.name, disk.sha256]));
}

describe('from a directory to another', () => {
  it('refuses its own place, one inside it, and one that holds something else, and changes nothing', async () => {
    await using rig = await HomeRig.activated();
    const store = path.join(rig.home, 'store');
    for (const to of [store, path.join(store, 'inside'), rig.home])
      expect(await rig.failure('store', 'copy', store, to)).toMatchObject({ exitCode: 2, code: 'same-store' });
    expect(await rig.failure('store', 'copy', store, path.join(rig.folder, 'user'))).toMatchObject({});
    await using other = await HomeRig.activated();
    expect(await rig.failure('store', 'copy', store, path.join(other.home, 'store'))).toMatchObject({
      exitCode: 4,
      code: 'store-not-empty',
    });
    expect(await rig.failure('store', 'copy', path.join(rig.folder, 'nowhere'), '/tmp/x')).toMatchObject({
      exitCode: 3,
      code: 'store-missing',
    });
  }, 60_000);

  it('goes beside a gateway that writes: most of it ahead, the rest when that has stopped', async () => {
    await using rig = new HomeRig();
    await rig.ok('activate', '--name', 'lab', '--store', path.join(rig.folder, 'old'));
    const [from, to] = [path.join(rig.folder, 'old'), path.join(rig.folder, 'new')];
    const disk = await fill(rig, []);
    await rig.ok('gateway', 'start');
    await rig.ok('volume', 'attach', 'clone');
    expect(await rig.failure('store', 'copy', from, to)).toMatchObject({
      exitCode: 4,
      code: 'volumes-held',
      message: expect.stringContaining('clone (in lab since') as string,
    });
    const prepared = await rig.ok('store', 'copy', from, to, '--prepare');
    expect(prepared).toMatchObject({ state: 'unfinished', damage: [] });
    // Neither a store nor an empty place.
    expect(await rig.failure('volume', 'list', '--store', to)).toMatchObject({ exitCode: 4, code: 'copy-unfinished' });
    await using other = new HomeRig();
    expect(await other.failure('activate', '--store', to)).toMatchObject({ exitCode: 4, code: 'copy-unfinished' });
    const client = await NbdClient.connect(path.join(rig.home, 'nbd.sock'), 'clone');
    await client.write(4096, Buffer.alloc(8192, 7));
    await client.flush();
    client.close();
    await rig.ok('gateway', 'stop');
    const finished = await rig.ok('store', 'copy', from, to);
    expect(finished).toMatchObject({ state: 'finished', resumed: true });
    expect(finished['copiedBytes']).toBeLessThan(prepared['copiedBytes'] as number);
    expect(await rig.failure('store', 'copy', from, to)).toMatchObject({ code: 'copy-finished' });
    expect(await rig.ok('store', 'copy', from, to, '--verify-only')).toMatchObject({ state: 'compared', damage: [] });
    const changed = Buffer.from(disk).fill(7, 4096, 4096 + 8192);
    expect(await holds(directoryObjects(to))).toEqual({
      ...{ golden: sha256(disk), v1: sha256(disk), clone: sha256(changed) },
    });

    // The gateway goes on there, and what is left behind is noticed.
    await rig.ok('configure', '--store', to);
    await rig.ok('store', 'scrub');
    await rig.ok('volume', 'delete', 'golden', '--yes');
    await rig.ok('configure', '--store', from);
    const { remarks } = await rig.ok('volume', 'list');
    expect(String(remarks)).toMatch(/is version \d+, and version \d+ was seen here before/);
  }, 180_000);
});

requireRadosgw().describe('over an S3 server', () => {
  let server: Radosgw;
  beforeAll(async () => {
    server = await sharedRadosgw();
  });

  it.each([['plain'], ['encrypted']])(
    'there and back, killed on the way, %s',
    async (mode) => {
      await using rig = new HomeRig();
      const isSealed = mode === 'encrypted';
      const unlock = isSealed ? ['--passphrase-file', rig.file('passphrase', `${PASSPHRASE}\n`)] : [];
      const secret: Secret | undefined = isSealed ? { kind: 'passphrase', passphrase: PASSPHRASE } : undefined;
      const encrypt = isSealed ? ['--encrypt', ...unlock, '--recovery-file', path.join(rig.folder, 'code')] : [];
      const from = path.join(rig.folder, 'old');
      await rig.ok('activate', '--name', 'lab', '--store', from, ...encrypt);
      const disk = await fill(rig, unlock);
      const expected = { golden: sha256(disk), v1: sha256(disk), clone: sha256(disk) };
      const bucket = `s3://store/copy-${mode}`;
      const flags = ['--to-endpoint', server.endpoint, '--to-region', 'default', '--to-path-style'];
      // No key is needed, but to know that nobody has a volume open.
      const words = ['store', 'copy', from, bucket, ...flags, ...(isSealed ? ['--yes'] : [])];

      const child = rig.spawn(words);
      const place = server.storeUrl(`copy-${mode}`);
      const there = await openObjectStore(place);
      for (let keys = 0; keys < 4 && child.exitCode === null;) {
        keys = 0;
        for await (const _ of there.list('')) keys += 1;
      }
      await there.close();
      child.kill('SIGKILL');
      await ended(child);
      const copied = await rig.run([...words, '--json']);
      const document = JSON.parse(copied.stdout) as Record<string, unknown>;
      const error = document['error'] as { code: string } | undefined;
      if (error === undefined) expect(document).toMatchObject({ state: 'finished', resumed: true, damage: [] });
      else expect(error.code).toBe('copy-finished');
      using objects = bucketObjects(place);
      expect(await holds(objects, secret)).toEqual(expected);

      await rig.ok('configure', '--store', place);
      await rig.ok('snapshot', 'verify', 'v1', ...unlock);
      await rig.ok('snapshot', 'create', 'clone', '--name', 'moved', '--wait', ...unlock);
      const back = path.join(rig.folder, 'back');
      await rig.ok('store', 'copy', place, back, ...unlock);
      expect(await holds(directoryObjects(back), secret)).toEqual({ ...expected, moved: sha256(disk) });
      expect(await rig.ok('store', 'copy', place, back, '--verify-only')).toMatchObject({ damage: [] });
      const out = path.join(rig.folder, 'out.img');
      await rig.ok('snapshot', 'export', 'moved', out, '--store', back, ...unlock);
      expect(readFileSync(out).equals(disk)).toBe(true);
    },
    240_000,
  );
});
