/**
 * The independent reader, which knows docs/formats alone, exports whole stores: every fixture in either form and through a
 * bucket, and what the built program wrote to a bucket of a real S3 server, plain and encrypted.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { seededRandom } from '../../src/core/kit/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { exportStore, type ExportedDisk } from '../reader/independent-export.ts';
import { bucketObjects, directoryObjects, plainFiles, type StoredObjects } from '../reader/independent-places.ts';
import { serviceKeyBytes } from '../reader/independent-provider.ts';
import { keyFileBytes, type Secret } from '../reader/independent-sealing.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { requireRadosgw, type Radosgw } from '../support/radosgw.ts';
import { sharedRadosgw } from '../support/shared-radosgw.ts';

const FIXTURES = path.join(import.meta.dirname, '../fixtures/formats');
const VERSIONS = readdirSync(FIXTURES).filter((name) => /^v\d/.test(name));
const SIZE = 8 << 20;

const secretOf = (version: string): Parameters<typeof exportStore>[1] => {
  if (version === 'v1-provider') {
    const text = readFileSync(path.join(FIXTURES, version, 'service-key'), 'utf8');
    return { kind: 'serviceKey', bytes: serviceKeyBytes(text) };
  }
  const file = path.join(FIXTURES, version, 'key-file');
  const isSealed = readdirSync(path.join(FIXTURES, version)).includes('key-file');
  return isSealed ? { kind: 'keyFile', bytes: keyFileBytes(readFileSync(file, 'utf8')) } : undefined;
};

const shown = (disks: readonly ExportedDisk[]): object[] =>
  disks.map(({ id, name, sizeBytes, sha256 }) => ({ id, name, sizeBytes, sha256 }));

async function requireFixture(version: string, objects: StoredObjects): Promise<void> {
  const expected = JSON.parse(readFileSync(path.join(FIXTURES, version, 'expected.json'), 'utf8')) as object;
  const { volumes, snapshots } = await exportStore(objects, secretOf(version));
  expect({ volumes: shown(volumes), snapshots: shown(snapshots) }).toEqual(expected);
}

describe.each(VERSIONS)('the fixture %s', (version) => {
  it.each([
    ['plain files', 'objects', plainFiles],
    ['a directory store', 'directory', directoryObjects],
  ])('is exported from %s', async (_form, folder, objectsIn) => {
    await requireFixture(version, objectsIn(path.join(FIXTURES, version, folder)));
  });
});

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Writes, trims, snapshots and clones by the program; answers what each disk holds, by name. */
async function fill(rig: HomeRig, unlock: readonly string[]): Promise<Map<string, string>> {
  const random = seededRandom(20);
  const disk = Buffer.concat([random.bytes(3 << 20), Buffer.alloc(SIZE - (3 << 20))]);
  const expected = new Map<string, string>();
  await rig.ok('volume', 'import', rig.file('disk.img', disk), '--name', 'golden', ...unlock);
  await rig.ok('snapshot', 'create', 'golden', '--name', 'imported', '--wait', ...unlock);
  expected.set('imported', sha256(disk));
  await rig.ok('volume', 'create', 'clone', '--from-snapshot', 'imported', ...unlock);
  await rig.ok('gateway', 'start', ...unlock);
  await rig.ok('volume', 'attach', 'clone');
  const clone = Buffer.from(disk);
  const client = await NbdClient.connect(path.join(rig.home, 'nbd.sock'), 'clone');
  for (let i = 0; i < 40; i++) {
    const at = Math.floor(random.float() * (SIZE / 512 - 64)) * 512;
    const bytes = random.bytes(512 * (1 + Math.floor(random.float() * 32)));
    await client.write(at, bytes);
    bytes.copy(clone, at);
  }
  await client.flush();
  await rig.ok('snapshot', 'create', 'clone', '--name', 'written', '--wait');
  expected.set('written', sha256(clone));
  await client.trim(1 << 20, 1 << 20);
  clone.fill(0, 1 << 20, 2 << 20);
  await client.flush();
  client.close();
  await rig.ok('snapshot', 'create', 'clone', '--name', 'trimmed', '--wait');
  await rig.ok('gateway', 'stop');
  return expected.set('trimmed', sha256(clone)).set('clone', sha256(clone)).set('golden', sha256(disk));
}

requireRadosgw().describe('through a bucket', () => {
  let server: Radosgw;
  beforeAll(async () => {
    server = await sharedRadosgw();
  });

  it.each(VERSIONS)('the fixture %s is exported', async (version) => {
    const client = new S3Client({ endpoint: server.endpoint, region: 'default', forcePathStyle: true });
    const folder = path.join(FIXTURES, version, 'objects');
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = path.join(entry.parentPath, entry.name);
      const Key = `fixture-${version}/${path.relative(folder, file)}`;
      await client.send(new PutObjectCommand({ Bucket: 'store', Key, Body: readFileSync(file) }));
    }
    client.destroy();
    using objects = bucketObjects(server.storeUrl(`fixture-${version}`));
    await requireFixture(version, objects);
  });

  it.each([['plain'], ['encrypted']])(
    'what the program wrote is exported, %s',
    async (mode) => {
      await using rig = new HomeRig();
      const passphrase = 'correct horse battery staple';
      const isSealed = mode === 'encrypted';
      const unlock = isSealed ? ['--passphrase-file', rig.file('passphrase', `${passphrase}\n`)] : [];
      const encrypt = isSealed ? ['--encrypt', ...unlock, '--recovery-file', path.join(rig.folder, 'recovery')] : [];
      const place = server.storeUrl(`written-${mode}`);
      await rig.ok('activate', '--name', 'lab', '--store', place, ...encrypt);
      const expected = await fill(rig, unlock);
      using objects = bucketObjects(place);
      const secret: Secret | undefined = isSealed ? { kind: 'passphrase', passphrase } : undefined;
      const { volumes, snapshots } = await exportStore(objects, secret);
      const found = new Map([...volumes, ...snapshots].map((disk) => [disk.name, disk.sha256]));
      expect(found).toEqual(expected);
    },
    120_000,
  );
});
