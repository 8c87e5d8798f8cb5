/** An encrypted store as its gateways use it: secrets come with calls, are asked for when needed, and stay nowhere. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newKeyFileText } from '../../../src/core/blockstore/sealing/index.ts';
import { MIB, systemRandom } from '../../../src/core/kit/index.ts';
import type { CallContext, KeySecret, Secrets } from '../../../src/core/localapi/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { forgeDocument } from '../blockstore/forging.ts';
import { GatewayRig } from './rig.ts';

const keyFile = newKeyFileText(systemRandom).trimEnd();
const otherFile = newKeyFileText(systemRandom).trimEnd();

/** Secrets that count how often they are asked for. */
function secretsOf(unlock: KeySecret, renew?: KeySecret): { secrets: Secrets; asked: () => number } {
  let count = 0;
  const give = (secret: KeySecret) => async (): Promise<KeySecret> => {
    count += 1;
    return await Promise.resolve(secret);
  };
  const secrets = { unlock: give(unlock), ...(renew === undefined ? {} : { renew: give(renew) }) };
  return { secrets, asked: () => count };
}

const withFile = (unlock: string, renew?: string): Pick<CallContext, 'secrets'> => ({
  secrets: secretsOf({ keyFile: unlock }, renew === undefined ? undefined : { keyFile: renew }).secrets,
});

async function etags(objects: ObjectStore): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for await (const { key } of objects.list('')) all.set(key, (await objects.head(key))?.etag ?? '');
  return all;
}

let objects: ObjectStore;
let rig: GatewayRig;
let recoveryCode: string;
const opened: GatewayRig[] = [];
beforeEach(async () => {
  objects = memoryStore();
  rig = await GatewayRig.fresh(objects);
  const activation = await rig.call('activate', { name: 'lab', encrypt: true }, withFile('', keyFile));
  expect(activation.encryption).toBe('customer');
  recoveryCode = activation.recoveryCode ?? '';
});
afterEach(async () => {
  for (const each of opened.splice(0)) await each[Symbol.asyncDispose]();
  await rig[Symbol.asyncDispose]();
});

/** The same home in another process. */
function again(): GatewayRig {
  const next = rig.again();
  opened.push(next);
  return next;
}

const list = async (gateway: GatewayRig, context: Partial<CallContext>): Promise<string[]> =>
  (await gateway.call('volume.list', {}, context)).volumes.map(({ name }) => name);

async function importImage(gateway: GatewayRig): Promise<void> {
  const file = rig.path('image');
  await writeFile(file, Buffer.alloc(MIB, 'planted data'));
  await gateway.call('volume.import', { file, name: 'golden' }, withFile(keyFile));
}

describe('C16 a gateway over an encrypted store', () => {
  it('asks for the secret once in a process, and serves later calls without', async () => {
    const gateway = again();
    const { secrets, asked } = secretsOf({ keyFile });
    await importImage(gateway);
    await gateway.call('snapshot.create', { volume: 'golden', name: 'v1' }, { secrets });
    await gateway.call('volume.create', { name: 'clone', fromSnapshot: 'v1' });
    expect(asked()).toBe(0);
    const next = again();
    expect(await list(next, { secrets })).toEqual(['golden', 'clone']);
    expect(await list(next, { secrets })).toEqual(['golden', 'clone']);
    expect(asked()).toBe(1);
    const out = rig.path('out');
    await next.call('snapshot.export', { snapshot: 'v1', path: out, format: 'raw' });
    expect((await readFile(out)).equals(await readFile(rig.path('image')))).toBe(true);
  });

  it('stays shut without a secret, and with a wrong one, and nothing is changed', async () => {
    await importImage(again());
    const before = await etags(objects);
    await expect(list(again(), {})).rejects.toMatchObject({ kind: 'invalid', code: 'key-missing' });
    await expect(list(again(), withFile(otherFile))).rejects.toMatchObject({ kind: 'denied', code: 'wrong-key' });
    await expect(list(again(), withFile('sgw-key-1:x'))).rejects.toMatchObject({
      kind: 'invalid',
      code: 'bad-key-file',
    });
    const status = await again().call('status', {});
    expect(status.remarks.join()).toContain('encrypted');
    expect(status).toMatchObject({ store: { reachable: true }, volumes: { count: null } });
    const strange = await again().call('status', {}, withFile('sgw-key-1:x'));
    expect(strange).toMatchObject({ store: { reachable: true }, volumes: { count: null } });
    expect(await etags(objects)).toEqual(before);
    const gateway = again();
    await expect(list(gateway, withFile(otherFile))).rejects.toMatchObject({ code: 'wrong-key' });
    expect(await list(gateway, withFile(keyFile))).toEqual(['golden']);
  });

  it('is opened by the recovery code that activation gave once', async () => {
    expect(recoveryCode).toMatch(/^[0-9A-Z-]{69}$/);
    expect(await list(again(), { secrets: secretsOf({ recoveryCode }).secrets })).toEqual([]);
    await expect(
      list(again(), { secrets: secretsOf({ recoveryCode: recoveryCode.slice(1) }).secrets }),
    ).rejects.toMatchObject({ kind: 'invalid', code: 'bad-recovery-code' });
  });

  it('keeps no secret in its home', async () => {
    await importImage(again());
    const home = rig.path('home');
    const files = await readdir(home, { recursive: true, withFileTypes: true });
    const texts = await Promise.all(
      files
        .filter((file) => file.isFile())
        .map(async (file) => await readFile(join(file.parentPath, file.name), 'latin1')),
    );
    expect(texts.length).toBeGreaterThan(0);
    for (const secret of [keyFile.slice(10), recoveryCode, recoveryCode.slice(0, 9)])
      expect(texts.some((text) => text.includes(secret))).toBe(false);
    expect(JSON.parse(texts.find((text) => text.includes('schemaVersion')) ?? '{}')).toMatchObject({
      gateway: { encryption: 'customer' },
    });
  });

  it('notices a store that claims not to be encrypted any more', async () => {
    const stored = (await objects.get('sgw.json'))?.bytes ?? Buffer.alloc(0);
    await objects.put(
      'sgw.json',
      forgeDocument(stored, (fields) => (fields['keyDerivation'] = null)),
    );
    const before = await etags(objects);
    const creating = again().call('volume.create', { name: 'v', sizeBytes: MIB }, withFile(keyFile));
    await expect(creating).rejects.toMatchObject({ kind: 'corrupt', code: 'encryption-differs' });
    expect(await etags(objects)).toEqual(before);
  });
});

describe('activation over an encrypted store', () => {
  it('by another home needs the secret, and takes no other', async () => {
    const other = await GatewayRig.fresh(objects);
    opened.push(other);
    const before = await etags(objects);
    await expect(other.call('activate', { name: 'attic' })).rejects.toMatchObject({ code: 'key-missing' });
    const wrong = other.call('activate', { name: 'attic', encrypt: true }, withFile(otherFile, otherFile));
    await expect(wrong).rejects.toMatchObject({ code: 'wrong-key' });
    expect(await etags(objects)).toEqual(before);
    const activation = await other.call('activate', { name: 'attic' }, withFile(keyFile));
    expect(activation).toMatchObject({ encryption: 'customer', recoveryCode: null });
    expect(await list(other, withFile(keyFile))).toEqual([]);
  });

  it('does not encrypt a store that was begun without', async () => {
    const plain = memoryStore();
    await using first = await GatewayRig.start(plain);
    const other = await GatewayRig.fresh(plain);
    opened.push(other);
    const activating = other.call('activate', { name: 'attic', encrypt: true }, withFile('', keyFile));
    await expect(activating).rejects.toMatchObject({ kind: 'conflict', code: 'store-not-encrypted' });
    expect(await list(first, {})).toEqual([]);
  });

  it('goes on after a death between the store and its key', async () => {
    const bare = memoryStore();
    const stored = (await objects.get('sgw.json'))?.bytes ?? Buffer.alloc(0);
    await bare.put('sgw.json', stored);
    const other = await GatewayRig.fresh(bare);
    opened.push(other);
    await expect(other.call('activate', { name: 'attic', encrypt: true })).rejects.toMatchObject({
      code: 'key-missing',
    });
    const activation = await other.call('activate', { name: 'attic', encrypt: true }, withFile('', otherFile));
    expect(activation.recoveryCode).not.toBeNull();
    expect(await list(other, withFile(otherFile))).toEqual([]);
  });
});

describe('store rekey', () => {
  it('asks for the old secret though the store is open, changes one object, and closes the old way in', async () => {
    const gateway = again();
    await importImage(gateway);
    const before = await etags(objects);
    await expect(gateway.call('store.rekey', {}, withFile(otherFile, otherFile))).rejects.toMatchObject({
      code: 'wrong-key',
    });
    await expect(gateway.call('store.rekey', {}, withFile(keyFile))).rejects.toMatchObject({ code: 'key-missing' });
    expect(await etags(objects)).toEqual(before);
    const rekeyed = await gateway.call('store.rekey', { recoveryKit: true }, withFile(keyFile, otherFile));
    expect(rekeyed.slots.map(({ kind }) => kind).sort()).toEqual(['keyFile', 'recovery']);
    const after = await etags(objects);
    expect([...after].filter(([key, etag]) => before.get(key) !== etag)).toHaveLength(1);
    await expect(list(again(), withFile(keyFile))).rejects.toMatchObject({ code: 'wrong-key' });
    await expect(list(again(), { secrets: secretsOf({ recoveryCode }).secrets })).rejects.toMatchObject({
      code: 'wrong-key',
    });
    expect(await list(again(), withFile(otherFile))).toEqual(['golden']);
    const renewed = secretsOf({ recoveryCode: rekeyed.recoveryCode ?? '' }).secrets;
    expect(await list(again(), { secrets: renewed })).toEqual(['golden']);
  });

  it('by who has only the recovery code takes a new secret, not only a new code that may be lost on its way', async () => {
    const before = await etags(objects);
    const { secrets } = secretsOf({ recoveryCode });
    await expect(again().call('store.rekey', { recoveryKit: true }, { secrets })).rejects.toMatchObject({
      kind: 'invalid',
      code: 'key-missing',
    });
    expect(await etags(objects)).toEqual(before);
    const withNew = secretsOf({ recoveryCode }, { keyFile: otherFile }).secrets;
    await again().call('store.rekey', { recoveryKit: true }, { secrets: withNew });
    expect(await list(again(), withFile(otherFile))).toEqual([]);
  });

  it('to a passphrase: only that opens it', async () => {
    const passphrase = 'correct horse battery staple';
    const { secrets } = secretsOf({ keyFile }, { passphrase });
    await again().call('store.rekey', {}, { secrets });
    await expect(list(again(), withFile(keyFile))).rejects.toMatchObject({ code: 'wrong-key' });
    expect(await list(again(), { secrets: secretsOf({ passphrase }).secrets })).toEqual([]);
  });

  it('of a store without a key is refused', async () => {
    await using plain = await GatewayRig.start();
    const rekeying = plain.call('store.rekey', {}, withFile(keyFile, otherFile));
    await expect(rekeying).rejects.toMatchObject({ kind: 'conflict', code: 'store-not-encrypted' });
  });
});
