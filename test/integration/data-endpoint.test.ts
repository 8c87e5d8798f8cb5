/**
 * Whole gateways of two accounts whose store is the data endpoint of a service: activated over the network, with volumes that
 * are imported, snapshotted, shared, cloned, served, exported, and collected by the service.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Catalog, openVolumeView } from '../../src/core/blockstore/index.ts';
import { seededRandom, toSgwError, type SnapshotId, type VolumeId } from '../../src/core/kit/index.ts';
import type { CallContext, Handlers } from '../../src/core/localapi/index.ts';
import { directoryStore } from '../../src/core/objectstore/index.ts';
import type { Fenced } from '../../src/core/service/dataendpoint/events.ts';
import { dataEndpoint } from '../../src/core/service/dataendpoint/index.ts';
import { ManagedHome, type Customer } from '../support/control/managed-home.ts';
import { LiveService } from '../support/live-service.ts';
import { readAll } from '../unit/blockstore/volume-model.ts';
import { LiveProcess, PAGE } from './live-home.ts';

const MIB = 1 << 20;
const CALL: CallContext = { signal: new AbortController().signal, onProgress: () => undefined, lockTimeoutMs: 30_000 };
const IMAGE = Buffer.concat([seededRandom(1).bytes(3 * MIB), Buffer.alloc(2 * MIB), seededRandom(2).bytes(3 * MIB)]);

let folder: string;
let live: LiveService;
let anna: Customer;
let bert: Customer;
let annas: ManagedHome;
let berts: ManagedHome;
const fenced: Fenced[] = [];

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  await work.then(
    () => 'done',
    (error: unknown) => toSgwError(error).code,
  );

describe.each([
  ['in plain', false],
  ['by keys that the provider holds', true],
])('gateways over the data endpoint of a store that is kept %s', (_name, isSealed) => {
  beforeAll(async () => {
    fenced.length = 0;
    folder = await mkdtemp(path.join(tmpdir(), 'sgw-data-endpoint-'));
    live = await LiveService.start({
      objects: directoryStore({ path: path.join(folder, 'store') }),
      isSealed,
      frontEnds: ({ service, log, gatewayOf }) => [
        dataEndpoint({ parts: { ...service, log }, principalOf: gatewayOf, onFenced: (one) => fenced.push(one) }),
      ],
    });
    anna = await live.account('anna');
    bert = await live.account('bert');
    annas = await ManagedHome.activate(live, anna, 'annas', 'service');
    berts = await ManagedHome.activate(live, bert, 'berts', 'service');
    await writeFile(path.join(folder, 'golden.img'), IMAGE);
  });
  afterAll(async () => {
    await annas[Symbol.asyncDispose]();
    await berts[Symbol.asyncDispose]();
    await live[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const as = async <T>(home: ManagedHome, work: (handlers: Handlers) => Promise<T>): Promise<T> =>
    await home.withHandlers(work);
  const image = (name: string): string => path.join(folder, name);

  it('a volume is imported, snapshotted and exported, byte by byte', async () => {
    await as(annas, async (handlers) => {
      await handlers['volume.import']({ file: image('golden.img'), name: 'golden' }, CALL);
      const snapshot = await handlers['snapshot.create']({ volume: 'golden', name: 'v1' }, CALL);
      expect(snapshot).toMatchObject({ state: 'completed' });
      await handlers['snapshot.export']({ snapshot: 'v1', path: image('out.img'), format: 'raw' }, CALL);
      expect((await readFile(image('out.img'))).equals(IMAGE)).toBe(true);
      expect(await handlers['snapshot.verify']({ snapshot: 'v1' }, CALL)).toMatchObject({ ok: true });
    });
  });

  it('another account sees nothing of it until it is shared, and then clones and reads it in place', async () => {
    await as(berts, async (handlers) => {
      expect((await handlers['volume.list']({}, CALL)).volumes).toEqual([]);
      expect((await handlers['snapshot.list']({}, CALL)).snapshots).toEqual([]);
      expect(await codeOf(handlers['snapshot.show']({ snapshot: 'v1' }, CALL))).toBe('snapshot-not-found');
    });
    const { snapshotId } = await as(annas, async (handlers) => {
      await handlers['snapshot.share']({ snapshot: 'v1', accountId: bert.accountId }, CALL);
      return await handlers['snapshot.show']({ snapshot: 'v1' }, CALL);
    });
    await as(berts, async (handlers) => {
      await handlers['volume.create']({ name: 'build', fromSnapshot: snapshotId }, CALL);
      await handlers['snapshot.create']({ volume: 'build', name: 'mine' }, CALL);
      expect(await handlers['snapshot.verify']({ snapshot: 'mine' }, CALL)).toMatchObject({ ok: true });
      // Anna agreed to the use of v1, and not to that of what is made of it.
      const taken = handlers['snapshot.export']({ snapshot: 'mine', path: image('x.img'), format: 'raw' }, CALL);
      expect(await codeOf(taken)).toBe('export-denied');
      await handlers['snapshot.export']({ snapshot: snapshotId, path: image('b.img'), format: 'raw' }, CALL);
      expect((await readFile(image('b.img'))).equals(IMAGE)).toBe(true);
    });
  });

  it('a served clone reads the other account’s blocks, uploads its own, and names both as creators', async () => {
    const blocks = live.service.context.blocks;
    const volumeId = await (async () => {
      await using process = await LiveProcess.open(berts.home);
      const { volumeId: id } = await process.call('volume.show', { volume: 'build' });
      await process.serve();
      await process.call('volume.attach', { volume: 'build' });
      // A part of a page of Anna's: what it is from now on is of both.
      const opened = await process.serving.open('build');
      await opened.device.write(5 * PAGE + 100, Buffer.alloc(50, 7));
      await opened.device.write(700 * PAGE, Buffer.alloc(PAGE, 8));
      const first = Buffer.alloc(3 * PAGE);
      await opened.device.read(0, first);
      expect(first.equals(IMAGE.subarray(0, 3 * PAGE))).toBe(true);
      await opened.release();
      await process.call('volume.detach', { volume: 'build' });
      return id;
    })();
    const expected = Buffer.from(IMAGE);
    expected.fill(7, 5 * PAGE + 100, 5 * PAGE + 150);
    expected.fill(8, 700 * PAGE, 701 * PAGE);
    const stored = await readAll(await openVolumeView(blocks, volumeId as VolumeId));
    expect(stored.equals(expected)).toBe(true);
    const made = await as(berts, async (handlers) =>
      handlers['snapshot.create']({ volume: 'build', name: 'after' }, CALL),
    );
    const { creators } = await new Catalog(blocks).getSnapshot(made.snapshotId as SnapshotId);
    expect(creators).toEqual([anna.accountId, bert.accountId].sort());
  });

  it('another gateway of the account takes a volume over, and the service is told of it', async () => {
    await using second = await ManagedHome.activate(live, bert, 'second', 'service');
    await using process = await LiveProcess.open(berts.home);
    await process.serve();
    await process.call('volume.attach', { volume: 'build' });
    expect(fenced).toEqual([]);
    await using other = await LiveProcess.open(second.home);
    await other.serve();
    expect(await codeOf(other.call('volume.attach', { volume: 'build' }))).toBe('volume-held');
    await other.call('volume.attach', { volume: 'build', takeOver: true });
    expect(fenced).toMatchObject([{ oldHolder: { name: 'berts' }, newHolder: { name: 'second' } }]);
    expect(await other.read('build', 700)).toBe(8);
  });

  it('what needs the whole store is not for gateways', async () => {
    await as(annas, async (handlers) => {
      for (const work of [
        async () => handlers['store.gc']({}, CALL),
        async () => handlers['store.scrub']({}, CALL),
        async () => handlers['store.stats']({}, CALL),
        async () => handlers['volume.delete']({ volume: 'golden', preview: true }, CALL),
      ])
        expect(await codeOf(work())).toBe('store-of-service');
      expect((await handlers['store.check']({}, CALL)).writable).toBe(true);
    });
  });
});
