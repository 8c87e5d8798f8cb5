/**
 * A service that seals its store by keys of its own, by the built program: what customers do over it is as over any other, and
 * who gets hold of the store without the service key has names and sizes of objects, and nothing else.
 */
import { lstatSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { Agent } from 'node:https';
import path from 'node:path';
import { EBSClient } from '@aws-sdk/client-ebs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { ServiceProcess, ShownDevice, type Customer } from '../support/service-process.ts';
import { BLOCK, blockOf, digests, readSnapshot, writeSnapshot } from '../unit/service/ebs/ebs-rig.ts';

const PHRASE = 'the quick brown fox of account anna\n';
/** Text, which the store would show as it is or compressed, and what does not compress. */
const IMAGE = Buffer.concat([Buffer.alloc(2 * BLOCK, PHRASE), seededRandom(1).bytes(2 * BLOCK)]);

let rig: HomeRig;
let service: ServiceProcess;
let anna: Customer;
let bert: Customer;
let annas: HomeRig;
let berts: HomeRig;
let rootKey: ServiceProcess['ready']['rootKey'];
let store: string;

async function activate(who: Customer, name: string): Promise<HomeRig> {
  const home = new HomeRig(name);
  const device = await ShownDevice.show(home, service);
  await rig.okWith(service.as(who), 'service', 'activate', device.activationKey, '--name', name, '--yes');
  expect(await device.activated()).toMatchObject({ encryption: 'provider' });
  return home;
}

async function withEbs<T>(who: Customer, work: (client: EBSClient) => Promise<T>): Promise<T> {
  const agent = new Agent({ ca: service.ca });
  const { accessKeyId, secretAccessKey } = who;
  const client = new EBSClient({
    ...{ endpoint: service.ready.url, region: 'local', maxAttempts: 1 },
    credentials: { accessKeyId, secretAccessKey },
    requestHandler: { httpsAgent: agent },
  });
  try {
    return await work(client);
  } finally {
    client.destroy();
    agent.destroy();
  }
}

const blocksOf = (image: Buffer): Map<number, Buffer> =>
  new Map(Array.from({ length: image.length / BLOCK }, (_, i) => [i, image.subarray(i * BLOCK, (i + 1) * BLOCK)]));

/** An object of the store that was never replaced. */
const storeFile = (key: string): string => path.join(store, `${key}@1`);

/** Every file of the store's directory. */
const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => path.join(folder, name))
    .filter((file) => lstatSync(file).isFile());

beforeAll(async () => {
  rig = new HomeRig('service');
  service = await ServiceProcess.start(rig, { flags: ['--keys', 'provider'] });
  rootKey = service.ready.rootKey;
  store = path.join(rig.home, 'store');
  anna = await service.customer('kumquat-anna');
  bert = await service.customer('kumquat-bert');
  annas = await activate(anna, 'kumquat-lab');
  berts = await activate(bert, 'berts');
}, 120_000);
afterAll(async () => {
  for (const one of [annas, berts, rig]) await one[Symbol.asyncDispose]();
});

describe('a service that holds the keys', () => {
  it('says so', () => {
    expect(service.ready.keys).toBe('provider');
    expect(JSON.parse(readFileSync(storeFile('sgw.json'), 'utf8'))).toMatchObject({
      keyDerivation: { mode: 'provider' },
    });
  });

  it('a volume of a gateway is read with EBS direct, and a snapshot that EBS wrote by the gateway', async () => {
    await annas.ok('volume', 'import', annas.file('disk.img', IMAGE), '--name', 'kumquat-disk');
    const made = await annas.ok('snapshot', 'create', 'kumquat-disk', '--name', 'kumquat-v1', '--tag', 'kumquat=tag');
    await withEbs(anna, async (ebs) => {
      expect(digests(await readSnapshot(ebs, String(made['snapshotId'])))).toEqual(digests(blocksOf(IMAGE)));
      const Tags = [{ Key: 'Name', Value: 'kumquat-ebs' }];
      await writeSnapshot(ebs, new Map([[1, blockOf(7)]]), { Tags, Description: 'kumquat of EBS' });
    });
    const out = path.join(annas.folder, 'ebs.img');
    await annas.ok('snapshot', 'export', 'kumquat-ebs', out);
    expect(
      readFileSync(out)
        .subarray(BLOCK, 2 * BLOCK)
        .equals(blockOf(7)),
    ).toBe(true);
    expect(await annas.ok('snapshot', 'verify', 'kumquat-v1')).toMatchObject({ ok: true });
  }, 120_000);

  it('another account clones and exports what is shared with it, and nothing else', async () => {
    expect(await berts.failure('snapshot', 'show', 'kumquat-v1')).toMatchObject({ code: 'snapshot-not-found' });
    const { snapshotId } = await annas.ok('snapshot', 'share', 'kumquat-v1', '--with', bert.accountId);
    await berts.ok('volume', 'create', 'clone', '--from-snapshot', String(snapshotId));
    await berts.ok('snapshot', 'create', 'clone', '--name', 'of-clone');
    expect(await berts.ok('snapshot', 'verify', 'of-clone')).toMatchObject({ ok: true });
    const out = path.join(berts.folder, 'out.img');
    await berts.ok('snapshot', 'export', String(snapshotId), out);
    expect(readFileSync(out).equals(IMAGE)).toBe(true);
  }, 120_000);

  it('all of it is there when the service was killed and started again', async () => {
    await service.kill();
    service = await service.again();
    expect(service.ready).toMatchObject({ keys: 'provider', rootKey: null });
    const out = path.join(annas.folder, 'again.img');
    await annas.ok('snapshot', 'export', 'kumquat-v1', out);
    expect(readFileSync(out).equals(IMAGE)).toBe(true);
  }, 120_000);

  it('who takes the store away finds no name, tag, content, account or key in it', () => {
    const told = [PHRASE.trim(), 'brown fox', 'kumquat', 'berts', '"accountId"', 'SGWSEG1', 'SGWMAP1', 'PRIVATE KEY'];
    const ids = [anna.accountId, bert.accountId, anna.accessKeyId, bert.accessKeyId, rootKey?.accessKeyId ?? ''];
    const words = [...told, ...ids, anna.secretAccessKey];
    const random = IMAGE.subarray(2 * BLOCK, 2 * BLOCK + 64);
    const files = filesOf(store);
    expect(files.length).toBeGreaterThan(40);
    for (const file of files) {
      const bytes = readFileSync(file);
      const found = words.filter(
        (word) => bytes.includes(word) || bytes.includes(Buffer.from(word).toString('base64')),
      );
      expect(found, file).toEqual([]);
      expect(bytes.includes(random), file).toBe(false);
      if (path.basename(file).startsWith('sgw.json') || bytes.length < 64) continue;
      expect(bytes.toString('latin1', 0, 8), file).toBe('SGWPROV1');
    }
  });

  it('nobody opens the store himself, with a gateway or a verb that reads stores', async () => {
    await using other = new HomeRig('other');
    const denied = { exitCode: 8, code: 'provider-holds-keys' };
    expect(await other.failure('activate', '--name', 'own', '--store', store)).toMatchObject(denied);
    const verbs = ['snapshot list', 'volume list', 'store check'];
    for (const verb of verbs)
      expect(await other.failure(...verb.split(' '), '--store', store), verb).toMatchObject(denied);
    const copy = path.join(other.folder, 'copy');
    expect(await other.failure('store', 'copy', store, copy, '--yes')).toMatchObject(denied);
  }, 120_000);

  it('an account whose key is gone has nothing that can be read, and the other one goes on', async () => {
    const { snapshotId: id } = await annas.ok('snapshot', 'show', 'kumquat-v1');
    const snapshotId = String(id);
    await service.kill();
    const key = storeFile(`service/account-keys/${anna.accountId}.json`);
    const aside = path.join(rig.folder, 'aside');
    renameSync(key, aside);
    service = await service.again();
    const gone = await annas.failure('snapshot', 'export', snapshotId, path.join(annas.folder, 'gone.img'));
    expect(gone).toMatchObject({ exitCode: 7, code: 'account-key-missing' });
    // What its names are is not known any more.
    const listed = await annas.ok('snapshot', 'list');
    expect(listed['snapshots']).toMatchObject([{ state: 'damaged' }, { state: 'damaged' }]);
    expect(JSON.stringify(listed['remarks'])).toContain(`the key of account ${anna.accountId} is gone`);
    await berts.ok('volume', 'import', berts.file('b.img', IMAGE), '--name', 'own');
    await berts.ok('snapshot', 'create', 'own', '--name', 'own-v1');
    expect(await berts.ok('snapshot', 'verify', 'own-v1')).toMatchObject({ ok: true });
    expect((await berts.ok('volume', 'list'))['volumes']).toHaveLength(2);
    await service.kill();
    renameSync(aside, key);
    service = await service.again();
    expect(await annas.ok('snapshot', 'verify', 'kumquat-v1')).toMatchObject({ ok: true });
  }, 120_000);
});

describe('the service key', () => {
  const run = async (...flags: string[]): Promise<Record<string, unknown>> =>
    await rig.failure('service', 'run', '--listen', '127.0.0.1:0', '--gateway-listen', '127.0.0.1:0', ...flags);

  it('is needed, the right one, to start; and keys stay as they were chosen', async () => {
    await service.kill();
    const wrong = rig.file('wrong.key', `sgw-service-1:${Buffer.alloc(32, 9).toString('base64url')}\n`);
    expect(await run('--service-key-file', wrong)).toMatchObject({ exitCode: 8, code: 'service-key-wrong' });
    expect(await run('--keys', 'none')).toMatchObject({ exitCode: 4, code: 'keys-differ' });
    await using other = new HomeRig('service');
    const elsewhere = [
      'service',
      'run',
      '--store',
      store,
      '--listen',
      '127.0.0.1:0',
      '--gateway-listen',
      '127.0.0.1:0',
    ];
    expect(await other.failure(...elsewhere)).toMatchObject({ exitCode: 3, code: 'service-key-missing' });
    await using plain = await HomeRig.activated('plain');
    const begun = path.join(plain.home, 'store');
    expect(await run('--store', begun, '--keys', 'provider')).toMatchObject({ exitCode: 4, code: 'keys-differ' });
    // The right one, from a file of another name.
    const key = rig.file('copy.key', readFileSync(path.join(rig.home, 'service.key')));
    const again = await ServiceProcess.start(rig, { flags: ['--service-key-file', key, '--keys', 'provider'] });
    expect(again.ready.keys).toBe('provider');
    await again.kill();
  }, 120_000);
});
