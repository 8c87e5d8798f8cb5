/** `store scrub`, `volume verify`, `snapshot verify` and the witness, as a gateway answers them. */
import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KIB, MIB, SgwError } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { GatewayRig } from './rig.ts';

let rig: GatewayRig;
let volumeId: string;
let snapshotId: string;
beforeEach(async () => {
  rig = await GatewayRig.start(memoryStore());
  const image = Buffer.alloc(MIB);
  for (let at = 0; at < MIB; at += 64 * KIB) image.fill(`<${String(at)}>`, at, at + 8 * KIB);
  await writeFile(rig.path('image'), image);
  ({ volumeId } = await rig.call('volume.import', { file: rig.path('image'), name: 'golden' }));
  ({ snapshotId } = await rig.call('snapshot.create', { volume: 'golden', name: 'v1' }));
  await rig.call('volume.create', { name: 'other', sizeBytes: MIB });
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

const failureOf = async (work: Promise<unknown>): Promise<SgwError> => {
  const outcome = await work.catch((error: unknown) => error);
  if (!(outcome instanceof SgwError)) throw new Error('it did not fail');
  return outcome;
};

async function bytesOf(key: string): Promise<Buffer> {
  const object = await rig.objects.get(key);
  return object?.bytes ?? Buffer.alloc(0);
}

async function flip(key: string, at: number): Promise<void> {
  const bytes = await bytesOf(key);
  bytes[at] = (bytes[at] ?? 0) ^ 4;
  await rig.objects.put(key, bytes);
}

const segment = (): string => `volumes/${volumeId}/log/0000000000000001`;

describe('a scrub', () => {
  it('of a whole store reads every object of it', async () => {
    const listed = await Array.fromAsync(rig.objects.list(''));
    const result = await rig.call('store.scrub', {});
    expect(result).toMatchObject({ store: 'memory', ok: true, damage: [], remarks: [] });
    expect(result.objects).toBe(listed.length);
    expect(result.checkedBytes).toBe(listed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  });

  it('names a damaged segment, and the volume and the snapshot that need it, by extent', async () => {
    await flip(segment(), 70);
    const failure = await failureOf(rig.call('store.scrub', {}));
    expect(failure).toMatchObject({ kind: 'corrupt', code: 'damage-found' });
    const extents = [{ offset: 0, length: 8 * KIB }];
    expect(failure.details['damage']).toEqual([
      {
        key: segment(),
        message: expect.stringContaining('does not match its checksum') as string,
        affects: [
          { kind: 'volume', id: volumeId, name: 'golden', extents },
          { kind: 'snapshot', id: snapshotId, name: 'v1', extents },
        ],
      },
    ]);
    expect(failure.message).toMatch(/golden, v1$/);
  });

  it('goes on behind an object that the store itself refuses to give, as a directory does with a file cut short', async () => {
    const give = rig.objects.get.bind(rig.objects);
    const cutShort = new SgwError('corrupt', 'object-damaged', `the object ${segment()} is damaged: cut short`, {
      details: { key: segment() },
    });
    rig.objects.get = async (key, ...rest) => {
      if (key === segment()) throw cutShort;
      return await give(key, ...rest);
    };
    await flip(`snapshots/${snapshotId}/snapshot.json`, 1);
    const failure = await failureOf(rig.call('store.scrub', {}));
    expect(failure).toMatchObject({ code: 'damage-found', details: { damage: [{}, {}] } });
    expect(failure.details['damage']).toContainEqual({
      key: segment(),
      message: cutShort.message,
      affects: [expect.objectContaining({ kind: 'volume', id: volumeId, name: 'golden' })],
    });
  });

  it('names an object that hurts nobody, and a document that hurts the store', async () => {
    await flip(segment(), 3);
    await rig.objects.put('service/tokens/1.json', Buffer.from('{}'));
    const failure = await failureOf(rig.call('store.scrub', {}));
    expect(failure.details['damage']).toMatchObject([
      { key: 'service/tokens/1.json', affects: [{ kind: 'store' }] },
      { key: segment(), affects: [] },
    ]);
  });

  it('C2 names a log object that is gone although nothing needs it any more', async () => {
    await writeFile(rig.path('image'), Buffer.alloc(MIB, 7));
    await rig.call('volume.import', { file: rig.path('image'), into: 'golden' });
    await rig.call('snapshot.delete', { snapshot: 'v1' });
    await rig.objects.delete(segment());
    const failure = await failureOf(rig.call('store.scrub', {}));
    expect(failure.details['damage']).toMatchObject([{ key: segment(), affects: [] }]);
    expect(await rig.call('volume.verify', { volume: 'golden' })).toMatchObject({ ok: true });
  });

  it('remarks on what was begun and not finished, and on keys it does not know', async () => {
    const begun = 'vol-00000000000000001';
    await rig.objects.put('elsewhere', Buffer.from('x'));
    const head = await bytesOf(`volumes/${volumeId}/head.json`);
    await rig.call('volume.create', { name: 'third', sizeBytes: MIB });
    await rig.objects.put(`volumes/${begun}/head.json`, head);
    const failure = await failureOf(rig.call('store.scrub', {}));
    expect(failure.details['remarks']).toEqual([
      expect.stringContaining('1 objects have keys'),
      expect.stringContaining(begun),
    ]);
  });
});

describe('a verification', () => {
  it('goes on after damage and names all extents hurt', async () => {
    const size = (await bytesOf(segment())).length;
    await flip(segment(), 70);
    const failure = await failureOf(rig.call('snapshot.verify', { snapshot: 'v1' }));
    expect(failure).toMatchObject({
      kind: 'corrupt',
      code: 'damage-found',
      details: { id: snapshotId, extents: [{ offset: 0, length: 8 * KIB }], objects: [segment()] },
    });
    await rig.objects.put(segment(), (await bytesOf(segment())).subarray(0, size - 1));
    const all = Array.from({ length: 16 }, (_, i) => ({ offset: i * 64 * KIB, length: 8 * KIB }));
    const worse = await failureOf(rig.call('volume.verify', { volume: 'golden' }));
    expect(worse.details['extents']).toEqual(all);
    expect(await rig.call('volume.verify', { volume: 'other' })).toMatchObject({ ok: true });
  });

  it('of a volume whose head is damaged names all of it', async () => {
    await flip(`volumes/${volumeId}/head.json`, 70);
    const failure = await failureOf(rig.call('volume.verify', { volume: 'golden' }));
    expect(failure.details['extents']).toEqual([{ offset: 0, length: MIB }]);
    expect(await rig.call('snapshot.verify', { snapshot: 'v1' })).toMatchObject({ ok: true });
  });
});

describe('the witness of a home', () => {
  const entry = (): string => `snapshots/${snapshotId}/snapshot.json`;

  it('takes an older version of a document for damage, until it is accepted', async () => {
    const older = await bytesOf(entry());
    await rig.call('snapshot.rename', { snapshot: 'v1', name: 'v2' });
    await rig.objects.put(entry(), older);
    expect((await rig.call('snapshot.list', {})).snapshots).toMatchObject([{ snapshotId, state: 'damaged' }]);
    const failure = await failureOf(rig.call('store.scrub', {}));
    expect(failure.hint).toContain('--accept-older');
    expect(failure.details['damage']).toMatchObject([
      {
        key: entry(),
        message: expect.stringContaining('was seen here before') as string,
        affects: [{ id: snapshotId }],
      },
    ]);
    expect(await rig.call('store.scrub', { acceptOlder: true })).toMatchObject({ ok: true });
    expect((await rig.call('snapshot.list', {})).snapshots).toMatchObject([{ name: 'v1', state: 'completed' }]);
    expect(await rig.call('store.scrub', {})).toMatchObject({ ok: true });
  });

  it('lists what vanished as damaged, and scrub names it, until it is accepted', async () => {
    await rig.objects.delete(entry());
    expect((await rig.call('snapshot.list', {})).snapshots).toMatchObject([{ snapshotId, state: 'damaged' }]);
    await expect(rig.call('snapshot.verify', { snapshot: snapshotId })).rejects.toMatchObject({
      kind: 'corrupt',
      code: 'object-missing',
    });
    const failure = await failureOf(rig.call('store.scrub', {}));
    expect(failure.details['damage']).toMatchObject([
      { key: entry(), affects: [{ kind: 'snapshot', id: snapshotId }] },
    ]);
    expect(await rig.call('store.scrub', { acceptOlder: true })).toMatchObject({ ok: true });
    expect((await rig.call('snapshot.list', {})).snapshots).toEqual([]);
  });

  it('accepts an older head only where the log does not contradict it', async () => {
    const key = `volumes/${volumeId}/head.json`;
    const older = await bytesOf(key);
    await rig.call('volume.resize', { volume: 'golden', sizeBytes: 2 * MIB });
    await rig.objects.put(key, older);
    const failure = await failureOf(rig.call('store.scrub', { acceptOlder: true }));
    const affects = [{ kind: 'volume', id: volumeId, extents: [{ offset: 0, length: MIB }] }];
    expect(failure.details['damage']).toMatchObject([
      { key, message: expect.stringContaining('of epoch 1, and the log of 2') as string, affects },
    ]);
    await expect(rig.call('volume.resize', { volume: 'golden', sizeBytes: 3 * MIB })).rejects.toMatchObject({
      kind: 'corrupt',
    });
  });

  it('does not miss what gc has purged', async () => {
    await rig.call('snapshot.delete', { snapshot: 'v1' });
    const { removed } = await rig.call('store.gc', { graceMs: 0 });
    expect(removed.objects).toBeGreaterThan(0);
    expect(await rig.objects.head(entry())).toBeUndefined();
    await expect(rig.call('snapshot.show', { snapshot: snapshotId })).rejects.toMatchObject({ kind: 'notFound' });
    expect(await rig.call('snapshot.list', {})).toEqual({ snapshots: [] });
    expect(await rig.call('store.scrub', {})).toMatchObject({ ok: true, remarks: [] });
  });

  it('stops gc at a snapshot that vanished: what it alone needs is not garbage', async () => {
    await rig.call('volume.delete', { volume: 'golden' });
    await rig.objects.delete(entry());
    await expect(rig.call('store.gc', { graceMs: 0 })).rejects.toMatchObject({
      kind: 'corrupt',
      details: { key: entry() },
    });
  });

  it('a home that begins anew over the store has no such memory', async () => {
    const older = await bytesOf(entry());
    await rig.call('snapshot.rename', { snapshot: 'v1', name: 'v2' });
    await rig.objects.put(entry(), older);
    await using fresh = await GatewayRig.start(rig.objects, 'second');
    expect(await fresh.call('store.scrub', {})).toMatchObject({ ok: true });
  });

  it('a store whose own description is gone is damaged, not another store', async () => {
    await rig.objects.delete('sgw.json');
    await using again = rig.again();
    await expect(again.call('volume.list', {})).rejects.toMatchObject({
      kind: 'corrupt',
      details: { key: 'sgw.json' },
    });
  });
});
