/** Keys that the provider holds: what is stored, what is refused, and what a lost key takes with it. */
import { describe, expect, it } from 'vitest';
import { createDocument, createStore, readDocument, readStoreInfo } from '../../../../src/core/blockstore/index.ts';
import { seededRandom, systemClock, toSgwError, type Clock } from '../../../../src/core/kit/index.ts';
import {
  memoryStore,
  withFaults,
  withMeter,
  withRetry,
  type ObjectStore,
} from '../../../../src/core/objectstore/index.ts';
import { Accounts } from '../../../../src/core/service/identity/accounts.ts';
import { openedByProvider } from '../../../reader/independent-provider.ts';
import { ANNA, BERT, openProvider, own, SECRET, SIGNAL, type OpenedProvider } from './provider-rig.ts';

const VOLUME = 'vol-0123456789abcdef0';
const OTHER = 'vol-0123456789abcdef1';
const SNAPSHOT = 'snap-0123456789abcdef0';
const LOG = `volumes/${VOLUME}/log/0000000000000001`;
const CHUNK = 64 * 1024;
const HEADER = 64;
const IF_ABSENT = { condition: { ifAbsent: true } } as const;

const failure = async (work: Promise<unknown>): Promise<{ kind: string; code: string; message: string }> =>
  await work.then(
    () => ({ kind: '', code: 'done', message: '' }),
    (error: unknown) => toSgwError(error),
  );

/** With the keys of two accounts, and a volume of each. */
async function stocked(options: Parameters<typeof openProvider>[0] = {}): Promise<OpenedProvider> {
  const provider = await openProvider(options);
  for (const [accountId, id] of [
    [ANNA, VOLUME],
    [BERT, OTHER],
  ] as const) {
    await provider.accountKeys.makeAccountKey(accountId, SIGNAL);
    await own(provider, id, accountId);
    await provider.objects.put(`volumes/${id}/log/0000000000000001`, Buffer.from(`of ${id}`), IF_ABSENT);
  }
  return provider;
}

async function bytesOf(store: ObjectStore, key: string): Promise<Buffer> {
  const object = await store.get(key);
  if (object === undefined) throw new Error(`${key} is not there`);
  return object.bytes;
}

describe('what is stored', () => {
  it('is sealed but for sgw.json, each thing by a key of its own', async () => {
    const provider = await stocked();
    const text = Buffer.from('a secret of some length, in plain');
    await provider.objects.put(`volumes/${VOLUME}/map/0000000000000001`, text);
    await provider.objects.put('pins/0aa.json', text);
    const keyIds = new Map<string, string>();
    for await (const { key } of provider.raw.list('')) {
      const bytes = await bytesOf(provider.raw, key);
      expect(bytes.includes('secret of some')).toBe(false);
      if (key === 'sgw.json') continue;
      expect(bytes.toString('latin1', 0, 8)).toBe('SGWPROV1');
      keyIds.set(key, bytes.toString('hex', 16, 32));
    }
    expect(keyIds.get(LOG)).toBe(keyIds.get(`volumes/${VOLUME}/map/0000000000000001`));
    expect(keyIds.get(LOG)).not.toBe(keyIds.get(`volumes/${OTHER}/log/0000000000000001`));
    expect(keyIds.get('pins/0aa.json')).toBe(keyIds.get(`service/data-keys/${VOLUME}.json`));
    expect(new Set(keyIds.values()).size).toBe(3);
  });

  it('is other bytes each time, and opened again by another server that has the service key', async () => {
    const first = await stocked();
    const stored: Buffer[] = [];
    for (let i = 0; i < 2; i++) {
      await first.objects.put('pins/0aa.json', Buffer.from('the same'));
      stored.push(await bytesOf(first.raw, 'pins/0aa.json'));
    }
    expect(stored[0]?.equals(stored[1] ?? Buffer.alloc(0))).toBe(false);
    const second = await openProvider({ raw: first.raw, mayBegin: false });
    expect((await bytesOf(second.objects, LOG)).toString()).toBe(`of ${VOLUME}`);
    expect((await bytesOf(second.objects, 'pins/0aa.json')).toString()).toBe('the same');
  });

  it('is opened by a reader that knows the format alone, also of many chunks', async () => {
    const { objects, raw } = await stocked();
    const body = seededRandom(3).bytes(20 * CHUNK + 1);
    const key = `volumes/${VOLUME}/map/0000000000000001`;
    const get = async (name: string): Promise<Buffer | undefined> => (await raw.get(name))?.bytes;
    const opened = await openedByProvider({ get, keys: async () => Promise.resolve([]) }, SECRET);
    for (const size of [0, 1, CHUNK, 16 * CHUNK, body.length]) {
      await objects.put(key, body.subarray(0, size));
      expect((await opened.get(key))?.equals(body.subarray(0, size)), String(size)).toBe(true);
    }
  });

  it('of two servers that begin a volume at once, both use the key of one', async () => {
    const first = await openProvider();
    const second = await openProvider({ raw: first.raw });
    await first.accountKeys.makeAccountKey(ANNA, SIGNAL);
    await own(first, VOLUME, ANNA);
    const keys = Array.from({ length: 8 }, (_, i) => `volumes/${VOLUME}/log/000000000000000${String(i)}`);
    await Promise.all(
      keys.map(async (key, i) => (i % 2 ? first : second).objects.put(key, Buffer.from(key), IF_ABSENT)),
    );
    for (const { objects } of [first, second])
      for (const key of keys) expect((await bytesOf(objects, key)).toString()).toBe(key);
  });

  it('the entry of a snapshot that the service itself begins says whose it is', async () => {
    const provider = await stocked();
    const key = `snapshots/${SNAPSHOT}/snapshot.json`;
    await createDocument(provider.blocks, key, { snapshotId: SNAPSHOT, accountId: BERT, name: 'by ebs' });
    await provider.objects.put(`uploads/${SNAPSHOT}/00000000-0000`, Buffer.from('block'));
    expect((await readDocument<{ name: string }>(provider.blocks, key))?.value.name).toBe('by ebs');
    // So that whose it is, is known when its account's key is gone.
    expect((await readDocument(provider.blocks, `service/owners/${SNAPSHOT}.json`))?.value).toMatchObject({
      accountId: BERT,
    });
    await provider.raw.delete(`service/account-keys/${BERT}.json`);
    const later = await openProvider({ raw: provider.raw });
    expect(await failure(later.objects.get(`uploads/${SNAPSHOT}/00000000-0000`))).toMatchObject({
      code: 'account-key-missing',
    });
  });

  it('nothing is written of what has no owner', async () => {
    const provider = await stocked();
    const key = 'volumes/vol-0123456789abcdef9/log/0000000000000001';
    expect(await failure(provider.objects.put(key, Buffer.from('x')))).toMatchObject({ kind: 'internal' });
    expect(await provider.raw.get(key)).toBeUndefined();
  });

  it.each(['error500', 'lostReply'] as const)(
    'a volume or snapshot is begun once, whichever write of it ends in %s',
    async (fault) => {
      for (let write = 0; write < 4; write++) {
        const faulty = withFaults(memoryStore(), { rules: [] });
        const { raw } = await stocked({ raw: faulty.store });
        const provider = await openProvider({ raw });
        const key = `snapshots/${SNAPSHOT}/snapshot.json`;
        const entry = { snapshotId: SNAPSHOT, accountId: BERT, name: 'by ebs' };
        faulty.setRules([{ fault, operation: 'put', skip: write, times: 1 }]);
        const first = await failure(createDocument(provider.blocks, key, entry));
        // Three writes: whose it is, its data key, the entry.
        expect(first.code === 'done', String(write)).toBe(write === 3);
        faulty.setRules([]);
        // Another server, which remembers nothing.
        const other = await openProvider({ raw });
        if (write < 3) await createDocument(other.blocks, key, entry);
        for (const { blocks } of [provider, other]) expect((await readDocument(blocks, key))?.value).toEqual(entry);
      }
    },
  );

  it('C3: a put whose reply was lost is settled by what is opened', async () => {
    const faulty = withFaults(memoryStore(), { rules: [] });
    const provider = await stocked({ raw: withRetry(faulty.store, { baseDelayMs: 0.01, triesMax: 1 }) });
    faulty.setRules([{ fault: 'lostReply', operation: 'put', key: /log\/0000000000000002$/, times: 1 }]);
    const key = `volumes/${VOLUME}/log/0000000000000002`;
    const body = Buffer.from('sent twice');
    expect(await failure(provider.objects.put(key, body, IF_ABSENT))).toMatchObject({ kind: 'unavailable' });
    expect(await provider.objects.put(key, body, IF_ABSENT)).toMatchObject({ outcome: 'preconditionFailed' });
    expect((await bytesOf(provider.objects, key)).equals(body)).toBe(true);
  });
});

describe('the documents of keys', () => {
  it('are not to be seen, written or removed from above', async () => {
    const { objects, raw } = await stocked();
    for (const key of [`service/account-keys/${ANNA}.json`, `service/data-keys/${VOLUME}.json`]) {
      expect(await raw.head(key)).toBeDefined();
      expect(await objects.get(key)).toBeUndefined();
      expect(await objects.head(key)).toBeUndefined();
      expect(await failure(objects.put(key, Buffer.from('x')))).toMatchObject({ kind: 'denied', code: 'key-document' });
      expect(await failure(objects.delete(key))).toMatchObject({ kind: 'denied', code: 'key-document' });
      expect(await raw.head(key)).toBeDefined();
    }
    const listed: string[] = [];
    for (const prefix of ['', 'service/', 'service/account-keys/', 'service/data-keys/vol'])
      for await (const { key } of objects.list(prefix)) listed.push(key);
    expect(listed.filter((key) => key.includes('-keys/'))).toEqual([]);
    expect(listed).toContain(`service/owners/${VOLUME}.json`);
    expect(await Array.fromAsync(objects.listFolders('service/'))).toEqual(['owners']);
    const [first] = await Array.fromAsync(objects.list('service/', { limit: 1 }));
    expect(first?.key).toBe(`service/owners/${VOLUME}.json`);
  });

  it('sgw.json is shown as that of a store without keys, and is not to be changed', async () => {
    const { objects, raw } = await stocked();
    const shown = await readStoreInfo(objects);
    expect(shown).toMatchObject({ keyDerivation: null, keysHeldBy: 'provider' });
    const head = await objects.head('sgw.json');
    expect(await objects.get('sgw.json')).toMatchObject({ ...head });
    const listed = (await Array.fromAsync(objects.list(''))).find(({ key }) => key === 'sgw.json');
    expect(listed).toEqual(head);
    expect((await bytesOf(objects, 'sgw.json')).includes('wrapped')).toBe(false);
    expect(await failure(objects.put('sgw.json', Buffer.from('x')))).toMatchObject({ code: 'key-document' });
    expect(await failure(objects.delete('sgw.json'))).toMatchObject({ code: 'key-document' });
    expect((await bytesOf(raw, 'sgw.json')).includes('"mode": "provider"')).toBe(true);
  });
});

describe('who has no service key', () => {
  it('another service key opens nothing', async () => {
    const { raw } = await stocked();
    expect(await failure(openProvider({ raw, secret: Buffer.alloc(32, 8) }))).toMatchObject({
      kind: 'denied',
      code: 'service-key-wrong',
    });
  });

  it('a gateway that opens the place itself is refused, and so is who would begin it anew', async () => {
    const { raw } = await stocked();
    const refused = { kind: 'denied', code: 'provider-holds-keys' };
    expect(await failure(readStoreInfo(raw))).toMatchObject(refused);
    const blocks = { objects: raw, clock: systemClock, random: seededRandom(1) };
    expect(await failure(createStore(blocks))).toMatchObject(refused);
  });

  it('a store that was begun otherwise is not taken for one', async () => {
    const raw = memoryStore();
    await createStore({ objects: raw, clock: systemClock, random: seededRandom(1) });
    expect(await failure(openProvider({ raw }))).toMatchObject({ kind: 'conflict', code: 'keys-differ' });
    await expect(openProvider({ raw, mayBegin: false })).rejects.toThrow('no store whose provider');
  });
});

describe('an account whose key is gone', () => {
  it('has nothing that can be read, and others go on', async () => {
    const { raw } = await stocked();
    await raw.delete(`service/account-keys/${ANNA}.json`);
    const provider = await openProvider({ raw });
    expect(await failure(provider.objects.get(LOG))).toMatchObject({
      kind: 'corrupt',
      code: 'account-key-missing',
      message: `the key of account ${ANNA} is gone, which opens ${VOLUME}`,
    });
    const span = { offset: 0, length: 1 };
    expect(await failure(provider.objects.get(LOG, { span }))).toMatchObject({ code: 'account-key-missing' });
    expect(await failure(provider.objects.put(LOG, Buffer.from('x')))).toMatchObject({ code: 'account-key-missing' });
    await own(provider, 'vol-0123456789abcdef7', ANNA);
    const next = 'volumes/vol-0123456789abcdef7/head.json';
    expect(await failure(provider.objects.put(next, Buffer.from('x')))).toMatchObject({ code: 'account-key-missing' });
    const bert = `volumes/${OTHER}/log/0000000000000001`;
    expect((await bytesOf(provider.objects, bert)).toString()).toBe(`of ${OTHER}`);
    expect(await provider.objects.put(bert, Buffer.from('x'))).toMatchObject({ outcome: 'stored' });
  });

  it('is read by no server after some minutes, and by none of them with a key that was made anew', async () => {
    let nowMs = 1e6;
    const clock: Clock = { ...systemClock, monotonicMs: () => nowMs };
    const provider = await stocked({ clock });
    await provider.raw.delete(`service/account-keys/${ANNA}.json`);
    expect((await bytesOf(provider.objects, LOG)).toString()).toBe(`of ${VOLUME}`);
    nowMs += 5 * 60_000;
    expect(await failure(provider.objects.get(LOG))).toMatchObject({ code: 'account-key-missing' });
    await provider.accountKeys.makeAccountKey(ANNA, SIGNAL);
    expect(await failure(provider.objects.get(LOG))).toMatchObject({ code: 'account-key-missing' });
  });

  it('gets no other one by being created again', async () => {
    const provider = await openProvider();
    const { blocks, accountKeys, raw } = provider;
    const accounts = new Accounts({ blocks, accountKeys, serviceId: 'store-0123456789abcdef', isEmbedded: false });
    const wanted = { name: 'anna', accountId: ANNA, clientToken: null };
    await accounts.create(wanted, SIGNAL);
    const place = `service/account-keys/${ANNA}.json`;
    expect(await raw.head(place)).toBeDefined();
    await raw.delete(place);
    expect(await failure(accounts.create({ ...wanted, name: 'again' }, SIGNAL))).toMatchObject({
      code: 'account-exists',
    });
    expect(await raw.head(place)).toBeUndefined();
  });
});

describe('a stored object that is not as it was sealed', () => {
  const BODY = seededRandom(4).bytes(3 * CHUNK + 100);
  const SEALED_CHUNK = CHUNK + 16;

  async function changed(change: (stored: Buffer, provider: OpenedProvider) => Buffer | Promise<Buffer>) {
    const provider = await stocked();
    await provider.objects.put(LOG, BODY);
    const stored = await bytesOf(provider.raw, LOG);
    await provider.raw.put(LOG, await change(stored, provider));
    return await failure(provider.objects.get(LOG));
  }
  const damage = { kind: 'corrupt', code: 'object-damaged' };

  it('truncation is found wherever it cuts, also by who reads a part', async () => {
    const sizes = [0, 10, HEADER, HEADER + 15, HEADER + 16, HEADER + SEALED_CHUNK, HEADER + 2 * SEALED_CHUNK];
    for (const size of [...sizes, HEADER + 3 * SEALED_CHUNK, HEADER + 3 * SEALED_CHUNK + 16, BODY.length])
      expect(await changed((stored) => stored.subarray(0, size)), String(size)).toMatchObject(damage);
    const provider = await stocked();
    await provider.objects.put(LOG, BODY);
    const stored = await bytesOf(provider.raw, LOG);
    await provider.raw.put(LOG, stored.subarray(0, HEADER + 2 * SEALED_CHUNK));
    for (const span of [{ suffix: 10 }, { offset: 3 * CHUNK, length: 5 }, { offset: 2 * CHUNK - 1, length: 9 }])
      expect(await failure(provider.objects.get(LOG, { span })), JSON.stringify(span)).toMatchObject(damage);
  });

  it('every flipped bit is found', async () => {
    const places = [0, 8, 9, 12, 20, 40, HEADER, HEADER + CHUNK + 3, HEADER + 3 * SEALED_CHUNK + 2];
    for (const at of [...places, HEADER + BODY.length + 4 * 16 - 1]) {
      const flipped = (stored: Buffer): Buffer => {
        stored.writeUInt8(stored.readUInt8(at) ^ 4, at);
        return stored;
      };
      expect(await changed(flipped), String(at)).toMatchObject(damage);
    }
  });

  it('chunks in another order, of another object, or of the same one as it was before are found', async () => {
    const swapped = (stored: Buffer): Buffer =>
      Buffer.concat([
        stored.subarray(0, HEADER),
        stored.subarray(HEADER + SEALED_CHUNK, HEADER + 2 * SEALED_CHUNK),
        stored.subarray(HEADER, HEADER + SEALED_CHUNK),
        stored.subarray(HEADER + 2 * SEALED_CHUNK),
      ]);
    expect(await changed(swapped)).toMatchObject(damage);
    expect(await changed((stored) => Buffer.concat([stored, stored.subarray(-500)]))).toMatchObject(damage);
    const neighbour = async (_stored: Buffer, { objects, raw }: OpenedProvider): Promise<Buffer> => {
      const key = `volumes/${VOLUME}/log/0000000000000002`;
      await objects.put(key, BODY);
      return await bytesOf(raw, key);
    };
    expect(await changed(neighbour)).toMatchObject(damage);
    const others = async (_stored: Buffer, { raw }: OpenedProvider): Promise<Buffer> =>
      bytesOf(raw, `volumes/${OTHER}/log/0000000000000001`);
    expect(await changed(others)).toMatchObject(damage);
    const mixed = async (stored: Buffer, { objects, raw }: OpenedProvider): Promise<Buffer> => {
      await objects.put(LOG, BODY);
      const again = await bytesOf(raw, LOG);
      return Buffer.concat([stored.subarray(0, HEADER + SEALED_CHUNK), again.subarray(HEADER + SEALED_CHUNK)]);
    };
    expect(await changed(mixed)).toMatchObject(damage);
    expect(await changed(() => Buffer.from('plain, where nothing is'))).toMatchObject(damage);
  });

  it('one that was damaged on its way is read once more', async () => {
    const faulty = withFaults(memoryStore(), { rules: [] });
    const provider = await stocked({ raw: faulty.store });
    await provider.objects.put(LOG, BODY);
    faulty.setRules([{ fault: 'truncatedRead', operation: 'get', key: /log/, times: 1 }]);
    expect((await bytesOf(provider.objects, LOG)).equals(BODY)).toBe(true);
    faulty.setRules([{ fault: 'truncatedRead', operation: 'get', key: /log/ }]);
    expect(await failure(provider.objects.get(LOG))).toMatchObject(damage);
  });

  it('a part is read by the chunks that it lies in, and a header that is remembered', async () => {
    let asked: number[] = [];
    const raw = withMeter(memoryStore(), ({ key, downBytes }) => {
      if (key === LOG) asked.push(downBytes);
    });
    const provider = await stocked({ raw });
    await provider.objects.put(LOG, BODY);
    const part = async (offset: number): Promise<number[]> => {
      asked = [];
      const got = await provider.objects.get(LOG, { span: { offset, length: 10 } });
      expect(got?.bytes.equals(BODY.subarray(offset, offset + 10))).toBe(true);
      return asked.sort((a, b) => a - b);
    };
    expect(await part(2 * CHUNK)).toEqual([HEADER, SEALED_CHUNK]);
    expect(await part(CHUNK + 5)).toEqual([SEALED_CHUNK]);
    expect(await part(2 * CHUNK - 1)).toEqual([2 * SEALED_CHUNK]);
    // A new version has another header.
    await provider.objects.put(LOG, BODY);
    expect(await part(2 * CHUNK)).toEqual([HEADER, SEALED_CHUNK]);
  });
});
