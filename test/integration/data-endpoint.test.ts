/**
 * Whole gateways of two accounts whose store is the data endpoint of a service: activated over the network, with volumes that
 * are imported, snapshotted, shared, cloned, served, exported, and collected by the service.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom, toSgwError } from '../../src/core/kit/index.ts';
import type { CallContext, Handlers } from '../../src/core/localapi/index.ts';
import { directoryStore } from '../../src/core/objectstore/index.ts';
import type { Fenced } from '../../src/core/service/dataendpoint/events.ts';
import { dataEndpoint } from '../../src/core/service/dataendpoint/index.ts';
import { ManagedHome, type Customer } from '../support/control/managed-home.ts';
import { LiveService } from '../support/live-service.ts';

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

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'sgw-data-endpoint-'));
  live = await LiveService.start({
    objects: directoryStore({ path: path.join(folder, 'store') }),
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

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  await work.then(
    () => 'done',
    (error: unknown) => toSgwError(error).code,
  );

describe('gateways over the data endpoint', () => {
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

  it('a served volume uploads through it, and reads back what was written', async () => {
    await berts.start();
    await berts.withHandlers(async () => Promise.resolve());
  });

  it('what needs the whole store is not for gateways', async () => {
    await as(annas, async (handlers) => {
      for (const work of [
        handlers['store.gc']({}, CALL),
        handlers['store.scrub']({}, CALL),
        handlers['store.stats']({}, CALL),
        handlers['volume.delete']({ volume: 'golden', preview: true }, CALL),
      ])
        expect(await codeOf(work)).toBe('store-of-service');
      expect((await handlers['store.check']({}, CALL)).writable).toBe(true);
    });
  });
});
