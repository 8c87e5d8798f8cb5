/**
 * The built program with --store alone: a machine that never saw the gateway reads a store in a directory and in a bucket of
 * a real S3 server, plain and encrypted, and leaves neither a home nor anything in the store.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { openObjectStore } from '../../src/core/objectstore/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { toolPath } from '../requirements.ts';
import { requireRadosgw, type Radosgw } from '../support/radosgw.ts';
import { sharedRadosgw } from '../support/shared-radosgw.ts';

const IMAGE_BYTES = 6 << 20;

async function keysOf(store: string): Promise<string[]> {
  const objects = await openObjectStore(store);
  const keys: string[] = [];
  for await (const { key, etag } of objects.list('')) keys.push(`${key} ${etag}`);
  await objects.close();
  return keys;
}

const ENCRYPTIONS = [
  ['plain', []],
  ['encrypted', ['--encrypt']],
] as const;

/** What one gateway put there, read by the program on another machine. */
async function readElsewhere(place: string, flags: readonly string[], encrypt: readonly string[]): Promise<void> {
  await using rig = new HomeRig();
  await using elsewhere = new HomeRig('nothing-here');
  const passphrase = rig.file('passphrase', 'correct horse battery staple\n');
  const recovery = path.join(rig.folder, 'recovery');
  const unlock = encrypt.length === 0 ? [] : ['--passphrase-file', passphrase];
  const newKey = encrypt.length === 0 ? [] : [...encrypt, ...unlock, '--recovery-file', recovery];
  await rig.ok('activate', '--name', 'lab', '--store', place, ...flags, ...newKey);
  const random = seededRandom(7);
  const image = rig.file(
    'disk.img',
    Buffer.concat([Buffer.alloc(2 << 20), random.bytes(1 << 20), Buffer.alloc(3 << 20)]),
  );
  await rig.ok('volume', 'import', image, '--name', 'golden', ...unlock);
  await rig.ok('snapshot', 'create', 'golden', '--name', 'v1', '--wait', ...unlock);

  const { store } = JSON.parse(readFileSync(path.join(rig.home, 'state.json'), 'utf8')).gateway as { store: string };
  const before = await keysOf(store);
  const from = ['--store', place, ...flags, ...unlock];
  const { snapshots } = await elsewhere.ok('snapshot', 'list', ...from);
  expect(snapshots).toMatchObject([{ name: 'v1', volumeName: 'golden', state: 'completed' }]);
  expect(await elsewhere.ok('snapshot', 'show', 'v1', ...from)).toMatchObject({ name: 'v1', exportable: true });
  expect(await elsewhere.ok('volume', 'list', ...from)).toMatchObject({ volumes: [{ name: 'golden' }] });
  expect(await elsewhere.ok('volume', 'show', 'golden', ...from)).toMatchObject({ sizeBytes: IMAGE_BYTES });
  expect(await elsewhere.ok('recovery-point', 'list', 'golden', ...from)).toMatchObject({ name: 'golden' });
  expect(await elsewhere.ok('snapshot', 'verify', 'v1', ...from)).toMatchObject({ ok: true, checkedBytes: 1 << 20 });
  const out = path.join(elsewhere.folder, 'out.img');
  expect(await elsewhere.ok('snapshot', 'export', 'v1', out, ...from)).toMatchObject({ verified: true });
  expect(readFileSync(out).equals(readFileSync(image))).toBe(true);
  if (toolPath('qemu-img') !== undefined) {
    const qcow2 = path.join(elsewhere.folder, 'out.qcow2');
    expect(await elsewhere.ok('snapshot', 'export', 'v1', qcow2, ...from)).toMatchObject({ format: 'qcow2' });
    expect(readFileSync(qcow2).subarray(0, 4).toString('latin1')).toBe('QFI\u00fb');
  }
  expect(existsSync(elsewhere.home)).toBe(false);
  expect(await keysOf(store)).toEqual(before);

  if (encrypt.length === 0) return;
  const shut = ['--store', place, ...flags];
  expect(await elsewhere.failure('snapshot', 'list', ...shut)).toMatchObject({ code: 'key-missing' });
  const byCode = await elsewhere.ok('snapshot', 'list', ...shut, '--recovery-code-file', recovery);
  expect(byCode['snapshots']).toEqual(snapshots);
  writeFileSync(passphrase, 'another one altogether\n');
  expect(await elsewhere.failure('snapshot', 'list', ...from)).toMatchObject({ exitCode: 8, code: 'wrong-key' });
}

describe('a store in a directory', () => {
  it.each(ENCRYPTIONS)(
    'is read without a gateway, %s',
    async (_name, encrypt) => {
      await using place = new HomeRig('place');
      await readElsewhere(path.join(place.folder, 'store'), [], encrypt);
    },
    120_000,
  );

  it('is read in place of what the home has, and a home is none of its business', async () => {
    await using one = await HomeRig.activated();
    await using two = await HomeRig.activated();
    await one.ok('volume', 'create', 'of-one', '--size', '1MiB');
    await two.ok('volume', 'create', 'of-two', '--size', '1MiB');
    const other = path.join(two.home, 'store');
    expect(await one.ok('volume', 'list')).toMatchObject({ volumes: [{ name: 'of-one' }] });
    expect(await one.ok('volume', 'list', '--store', other)).toMatchObject({ volumes: [{ name: 'of-two' }] });
    // A living daemon of the home is not asked either.
    await one.ok('gateway', 'start');
    expect(await one.ok('volume', 'list', '--store', other)).toMatchObject({ volumes: [{ name: 'of-two' }] });
    await one.ok('gateway', 'stop');
  }, 60_000);

  it('that is none is told apart from a damaged one; verbs that write say what they take', async () => {
    await using rig = await HomeRig.activated();
    const empty = path.join(rig.folder, 'user');
    expect(await rig.failure('snapshot', 'list', '--store', empty)).toMatchObject({
      exitCode: 3,
      code: 'store-missing',
    });
    expect(await rig.failure('snapshot', 'list', '--store', '/nonexistent')).toMatchObject({ code: 'store-missing' });
    const store = path.join(rig.home, 'store');
    writeFileSync(path.join(store, 'sgw.json@1'), 'x');
    expect(await rig.failure('snapshot', 'list', '--store', store)).toMatchObject({ exitCode: 7 });
    expect(await rig.failure('snapshot', 'delete', 'v1', '--store', store)).toMatchObject({
      exitCode: 2,
      code: 'unknown-flag',
      hint: expect.stringContaining('Only verbs that read take --store') as string,
    });
    expect(await rig.failure('snapshot', 'list', '--path-style')).toMatchObject({ code: 'flag-alone' });
  }, 60_000);
});

requireRadosgw().describe('a store in a bucket', () => {
  let server: Radosgw;
  beforeAll(async () => {
    server = await sharedRadosgw();
  });

  it.each(ENCRYPTIONS)(
    'is read without a gateway, %s',
    async (name, encrypt) => {
      const flags = ['--store-endpoint', server.endpoint, '--store-region', 'default', '--path-style'];
      await readElsewhere(`s3://store/reader-${name}`, flags, encrypt);
    },
    120_000,
  );

  it('that is not there is told so', async () => {
    await using rig = new HomeRig();
    const absent = server.storeUrl('x').replace('s3://store/', 's3://absent/');
    expect(await rig.failure('volume', 'list', '--store', absent)).toMatchObject({
      exitCode: 3,
      code: 'store-missing',
    });
    const empty = server.storeUrl('reader-nothing');
    expect(await rig.failure('volume', 'list', '--store', empty)).toMatchObject({ exitCode: 3, code: 'store-missing' });
  });
});
