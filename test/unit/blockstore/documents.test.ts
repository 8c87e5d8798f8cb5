import { describe, expect, it } from 'vitest';
import { changeDocument, createDocument, readDocument } from '../../../src/core/blockstore/documents.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { MemoryWitness } from '../../integration/damaged-store.ts';
import { optionsOver } from './volume-model.ts';

interface Counter {
  readonly name: string;
  readonly count: number;
}

const increment = (options: ReturnType<typeof optionsOver>): Promise<Counter> =>
  changeDocument<Counter>(options, 'doc', (doc) => ({ ...doc, count: doc.count + 1 }));

describe('a document', () => {
  it('is refused when any byte of it is changed, or its end is missing', async () => {
    const options = optionsOver();
    await createDocument(options, 'doc', { name: 'golden', count: 12 });
    const intact = (await options.objects.get('doc'))?.bytes ?? Buffer.alloc(0);
    expect(intact.length).toBeGreaterThan(100);
    for (let i = 0; i < intact.length; i++) {
      const flipped = Buffer.from(intact);
      flipped[i] = (flipped[i] ?? 0) ^ 1;
      await options.objects.put('doc', flipped);
      await expect(readDocument(options, 'doc'), `byte ${String(i)}`).rejects.toMatchObject({
        kind: 'corrupt',
      });
      await options.objects.put('doc', intact.subarray(0, i));
      await expect(readDocument(options, 'doc'), `cut at ${String(i)}`).rejects.toMatchObject({
        kind: 'corrupt',
      });
    }
  });

  it('changed by many at once loses no change', async () => {
    const options = optionsOver();
    await createDocument(options, 'doc', { name: 'n', count: 0 });
    await Promise.all(Array.from({ length: 20 }, () => increment(options)));
    expect((await readDocument<Counter>(options, 'doc'))?.value).toEqual({ name: 'n', count: 20 });
  });

  it('C3 written by a put whose reply was lost is recognised as written', async () => {
    const objects = memoryStore();
    const put = objects.put.bind(objects);
    // Each write is sent again, as after a lost reply.
    objects.put = async (...args) => {
      await put(...args);
      return put(...args);
    };
    const options = optionsOver(objects);
    expect(await createDocument(options, 'doc', { name: 'n', count: 0 })).toBe(true);
    for (let i = 0; i < 5; i++) await increment(options);
    expect((await readDocument<Counter>(options, 'doc'))?.value).toEqual({ name: 'n', count: 5 });
  });

  it('changed while it was being read is no damage, and an older version in its place is', async () => {
    const objects = memoryStore();
    const witness = new MemoryWitness();
    const options = { ...optionsOver(objects), witness };
    const key = 'service/accounts/1.json';
    await createDocument(options, key, { name: 'n', count: 0 });
    const old = (await objects.get(key))?.bytes ?? Buffer.alloc(0);
    const change = async (): Promise<Counter> =>
      changeDocument<Counter>(options, key, (doc) => ({ ...doc, count: doc.count + 1 }));
    const get = objects.get.bind(objects);
    // Each reading is overtaken by a change, which the witness hears of before the reading has ended.
    const overtaken = async (path: string): Promise<Counter | undefined> => {
      let isFirst = true;
      objects.get = async (...args) => {
        const body = await get(...args);
        if (args[0] !== path || !isFirst) return body;
        isFirst = false;
        await change();
        isFirst = true;
        return body;
      };
      const found = await readDocument<Counter>(options, path);
      objects.get = get;
      return found?.value;
    };
    expect((await overtaken(key))?.count).toBe(0);
    expect((await overtaken(key))?.count).toBe(1);
    expect(witness.newest(key)).toBe(3);
    await objects.put(key, old);
    const hint: unknown = expect.stringContaining('--accept-older');
    const older = { kind: 'corrupt', code: 'object-damaged', hint };
    await expect(readDocument(options, key)).rejects.toMatchObject(older);
  });

  it('made while it was being read is no damage, and one that vanished is', async () => {
    const objects = memoryStore();
    const witness = new MemoryWitness();
    const options = { ...optionsOver(objects), witness };
    const key = 'service/accounts/1.json';
    const get = objects.get.bind(objects);
    objects.get = async (...args) => {
      const body = await get(...args);
      objects.get = get;
      await createDocument(options, key, { name: 'n', count: 0 });
      return body;
    };
    expect(await readDocument(options, key)).toBeUndefined();
    expect(witness.newest(key)).toBe(1);
    await objects.delete(key);
    const hint: unknown = expect.stringContaining('--accept-older');
    const gone = { kind: 'corrupt', code: 'object-missing', hint };
    await expect(readDocument(options, key)).rejects.toMatchObject(gone);
  });

  it('put in the place of another is damage', async () => {
    const options = optionsOver();
    await createDocument(options, 'volumes/a', { name: 'a' });
    const bytes = (await options.objects.get('volumes/a'))?.bytes ?? Buffer.alloc(0);
    await options.objects.put('volumes/b', bytes);
    await expect(readDocument(options, 'volumes/b')).rejects.toMatchObject({ code: 'object-damaged' });
  });

  it('of a newer format is unsupported, not damaged', async () => {
    const options = optionsOver();
    await createDocument(options, 'doc', { format: 2, count: 1 });
    await expect(readDocument(options, 'doc')).rejects.toMatchObject({
      kind: 'unsupported',
      code: 'document-format',
    });
  });
});
