/** Groups by their verbs: homes over one directory, each with a service in it; and gateways of one account at a service. */
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Catalog, readDocument, replaceDocument, type Head } from '../../src/core/blockstore/index.ts';
import { createHandlers } from '../../src/core/control/index.ts';
import { partsOf } from '../../src/core/daemon/parts.ts';
import { controlFrontEnds, openControlPlane } from '../../src/core/daemon/service/control.ts';
import { Gateway, ServiceGroupBook } from '../../src/core/gateway/index.ts';
import { OpenHome } from '../../src/core/gateway/open-home.ts';
import { Management } from '../../src/core/gateway/remote/index.ts';
import { systemClock, systemRandom, toSgwError, type VolumeId } from '../../src/core/kit/index.ts';
import type { CallContext, Handlers } from '../../src/core/localapi/index.ts';
import { directoryStore } from '../../src/core/objectstore/index.ts';
import type { ControlPlane } from '../../src/core/service/controlplane/index.ts';
import { dataEndpoint } from '../../src/core/service/dataendpoint/index.ts';
import { ServiceKey } from '../../src/core/service/server/index.ts';
import { openState } from '../../src/core/state/index.ts';
import { ManagedHome, remoteCalls, type Customer } from '../support/control/managed-home.ts';
import { SILENT, until } from '../support/control/network.ts';
import { FakeReplication } from '../support/fake-replication.ts';
import { LiveService } from '../support/live-service.ts';
import { TestHome } from './home.ts';

const MIB = 1 << 20;
const CALL: CallContext = { signal: new AbortController().signal, onProgress: () => undefined, lockTimeoutMs: 30_000 };

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  await work.then(
    () => 'done',
    (error: unknown) => toSgwError(error).code,
  );

/** As a gateway that opens a volume, or changes its set, leaves the head. */
async function setHead(store: string, volumeId: VolumeId, change: Partial<Head>): Promise<void> {
  const objects = directoryStore({ path: store });
  const blocks = { objects, clock: systemClock, random: systemRandom };
  const key = `volumes/${volumeId}/head.json`;
  const now = await readDocument<Head>(blocks, key);
  if (now === undefined) throw new Error(`no head of ${volumeId}`);
  await replaceDocument(blocks, key, now, { ...now.value, ...change });
  await objects.close();
}

async function gatewayIdOf(home: string): Promise<string> {
  return (await openState(home)).gateway?.gatewayId ?? '';
}

/** The service as the room `replication` asks it, for the gateway of a home. */
async function withBook<T>(home: string, work: (book: ServiceGroupBook) => Promise<T>): Promise<T> {
  const opened = new OpenHome(await partsOf(home));
  try {
    return await work(new ServiceGroupBook(async () => (await opened.open(undefined, CALL)).service));
  } finally {
    await opened.close();
  }
}

/** The handlers of a daemon of a home, over a replication that is told what to say. */
async function asDaemon(
  home: string,
  work: (handlers: Handlers, replication: FakeReplication, gateway: Gateway) => Promise<void>,
): Promise<void> {
  await using gateway = new Gateway(await partsOf(home));
  const replication = new FakeReplication();
  gateway.replicateBy(replication);
  await work(createHandlers(gateway), replication, gateway);
}

describe('homes over one directory', () => {
  let one: TestHome;
  let two: TestHome;
  let store: string;
  let volumeId: VolumeId;
  let ids: string[];
  beforeEach(async () => {
    one = await TestHome.start('one');
    store = path.join(one.home, 'store');
    two = await TestHome.start('two', store);
    ids = [await gatewayIdOf(one.home), await gatewayIdOf(two.home)];
    volumeId = (await one.call('volume.create', { name: 'db', sizeBytes: MIB })).volumeId as VolumeId;
  });
  afterEach(async () => {
    await two[Symbol.asyncDispose]();
    await one[Symbol.asyncDispose]();
  });

  it('a group that one makes the other sees, and the operator changes it at either', async () => {
    expect(await one.call('group.create', { name: 'rack' })).toMatchObject({ name: 'rack', created: true });
    expect(await two.call('group.create', { name: 'rack', ifNotExists: true })).toMatchObject({ created: false });
    expect(await codeOf(two.call('group.create', { name: 'rack' }))).toBe('group-exists');
    await one.call('group.add', { group: 'rack', gateway: 'one' });
    const added = await one.call('group.add', { group: 'rack', gateway: 'two' });
    expect(added.members.map(({ gatewayId }) => gatewayId)).toEqual(ids);
    const assigned = await two.call('group.assign', { group: 'rack', volume: 'db', replicas: 2, holder: 'one' });
    expect(assigned).toMatchObject({
      changed: true,
      volumes: [{ volumeId, exportName: 'db', replicas: 2, preferredHolder: ids[0] }],
      remarks: ['db is to have 2 replicas, and the group has 2 members: sgw group add rack GATEWAY.'],
    });
    expect((await two.call('group.list', {})).groups).toMatchObject([{ name: 'rack', members: 2, volumes: 1 }]);
    expect(await codeOf(one.call('group.delete', { group: 'rack' }))).toBe('group-in-use');
    await one.call('group.assign', { group: 'rack', volume: 'db', replicas: 0 });
    await one.call('group.remove', { group: 'rack', gateway: 'two' });
    expect(await codeOf(one.call('group.remove', { group: 'rack', gateway: 'two' }))).toBe('not-a-member');
    expect(await one.call('group.remove', { group: 'rack', gateway: 'two', ifExists: true })).toMatchObject({
      changed: false,
    });
    expect(await one.call('group.delete', { group: 'rack' })).toMatchObject({ deleted: true, name: 'rack' });
    expect(await one.call('group.delete', { group: 'rack', ifExists: true })).toMatchObject({ deleted: false });
  }, 60_000);

  it('is shown as the store knows it while no daemon runs', async () => {
    await grouped(one);
    expect(await one.call('group.show', {})).toMatchObject({
      ...{ name: 'rack', live: false, remarks: [] },
      members: [
        { name: 'one', self: true, connected: null, peer: null },
        { name: 'two', self: false, connected: null },
      ],
      volumes: [
        {
          ...{ name: 'db', holder: null, epoch: 0, inSync: [], replicaStates: null, successor: null, degraded: true },
          reason: 'no gateway of the group has opened it yet',
        },
      ],
    });
    const holder = { gatewayId: ids[0] ?? '', name: 'one', since: '2026-01-01T00:00:00.000Z' };
    await setHead(store, volumeId, { epoch: 4, holder, inSync: ids });
    expect((await two.call('group.show', { group: 'rack' })).volumes).toMatchObject([
      {
        ...{ holder: { name: 'one' }, epoch: 4, inSync: ids, successor: { gatewayId: ids[1], name: 'two' } },
        ...{ degraded: false, reason: null },
      },
    ]);
    await setHead(store, volumeId, { inSync: ids.slice(0, 1) });
    expect((await two.call('group.show', {})).volumes).toMatchObject([
      { successor: null, degraded: true, reason: '0 of 1 replicas in sync' },
    ]);
    expect(await codeOf(one.call('group.show', { group: 'shed' }))).toBe('group-not-found');
  }, 60_000);

  it('a volume and a gateway of a group are not taken away beside it', async () => {
    await grouped(one);
    expect(await codeOf(one.call('volume.delete', { volume: 'db' }))).toBe('volume-in-group');
    expect(await codeOf(two.call('deactivate', {}))).toBe('gateway-in-group');
    expect((await two.call('status', {})).activated).toBe(true);
    await one.call('group.assign', { group: 'rack', volume: 'db', replicas: 0 });
    expect(await one.call('volume.delete', { volume: 'db' })).toMatchObject({ deleted: true });
    await one.call('group.remove', { group: 'rack', gateway: 'two' });
    await two.call('deactivate', {});
    expect((await two.call('status', {})).activated).toBe(false);
  }, 60_000);

  it('members write where they are, read their group, and are permitted to take a volume over', async () => {
    expect(await withBook(two.home, async (book) => book.mine(CALL.signal))).toBeUndefined();
    await grouped(one);
    await withBook(two.home, async (book) => {
      const mine = await book.mine(CALL.signal);
      expect(mine).toMatchObject({ name: 'rack', volumes: [{ volumeId }] });
      await book.announce({ peer: '192.0.2.2:7070', nbd: ['192.0.2.2:10809'] }, CALL.signal);
      await book.permit({ volumeId, epoch: 4, reason: 'it does not answer' }, CALL.signal);
    });
    await withBook(one.home, async (book) =>
      book.announce({ peer: '127.0.0.1:7070', nbd: ['unix:/tmp/nbd.sock'] }, CALL.signal),
    );
    const shown = await one.call('group.show', {});
    expect(shown.members.map(({ peer }) => peer)).toEqual(['127.0.0.1:7070', '192.0.2.2:7070']);
    expect(shown.remarks).toEqual([expect.stringContaining('sgw configure --peer-listen HOST:PORT') as string]);
    const audited: unknown[] = [];
    const objects = directoryStore({ path: store });
    const blocks = { objects, clock: systemClock, random: systemRandom };
    for await (const { key } of objects.list('service/audit/')) audited.push((await readDocument(blocks, key))?.value);
    await objects.close();
    expect(audited).toMatchObject([{ kind: 'take-over', gatewayId: ids[1], volumeId, epoch: 4, fromGatewayId: null }]);
  }, 60_000);

  it('a daemon of a member tells how its volumes do, and what others hold it can not tell', async () => {
    await grouped(one);
    await asDaemon(one.home, async (handlers, replication) => {
      const volume = (await handlers['group.show']({}, CALL)).volumes[0];
      expect(volume?.reason).toBe('no gateway of the group has opened it yet');
      replication.linkedTo = ids.slice(1);
      const [self = '', other = ''] = ids;
      const report = {
        volume: {
          volumeId,
          exportName: 'db',
          replicas: 1,
          preferredHolder: null,
          whenDegraded: 'continue',
          ack: 'peer',
          allowLoss: false,
        },
        ...{ holder: self, epoch: 7, inSync: [self], successor: null, reason: '0 of 1 replicas in sync' },
        replicas: [
          { gatewayId: other, name: 'two', state: 'catching-up', lagBytes: 4096, lagMs: 12, receivedSequence: 9 },
        ],
      } as const;
      replication.reports = [report];
      const shown = await handlers['group.show']({}, CALL);
      expect(shown).toMatchObject({ live: true, members: [{ connected: null }, { connected: true }] });
      expect(shown.volumes[0]).toMatchObject({
        ...{ name: 'db', holder: { name: 'one' }, epoch: 7, degraded: true, reason: '0 of 1 replicas in sync' },
        replicaStates: [{ gatewayId: other, name: 'two', state: 'catching-up', lagBytes: 4096, lagMs: 12 }],
      });
      const holder = { gatewayId: other, name: 'two', since: '2026-01-01T00:00:00.000Z' };
      await setHead(store, volumeId, { epoch: 8, holder, inSync: ids });
      replication.reports = [{ ...report, holder: other, replicas: [], successor: self, reason: null }];
      expect((await handlers['group.show']({}, CALL)).volumes[0]).toMatchObject({
        ...{ holder: { name: 'two' }, replicaStates: null, successor: { name: 'one' }, degraded: false },
      });
      await handlers['group.assign']({ group: 'rack', volume: 'db', replicas: 2 }, CALL);
      await handlers['group.assign']({ group: 'rack', volume: 'db', replicas: 2 }, CALL);
      expect(replication.reloads).toBe(1);
      replication.known = await withBook(one.home, async (book) => book.mine(CALL.signal));
      await rename(store, `${store}-away`);
      try {
        const known = await handlers['group.show']({ group: 'rack' }, CALL);
        expect(known).toMatchObject({
          ...{ name: 'rack', live: true, members: [{ self: true }, { connected: true }] },
          ...{ volumes: [{ exportName: 'db', holder: { name: 'two' }, epoch: 7, successor: { name: 'one' } }] },
          remarks: [expect.stringContaining('can not be reached') as string],
        });
        expect(await codeOf(handlers['group.show']({ group: 'other' }, CALL))).toMatch(/^store-/);
      } finally {
        await rename(`${store}-away`, store);
      }
    });
  }, 60_000);

  it('says what acknowledges its volumes, and begins with no less than a volume had', async () => {
    expect(await codeOf(one.call('volume.configure', { volume: 'db', ack: 'peer' }))).toBe('ack-needs-group');
    expect(await one.call('volume.configure', { volume: 'db' })).toMatchObject({ ack: 'log', own: [] });
    await one.call('volume.configure', { volume: 'db', ack: 'store' });
    await grouped(one);
    const acks = async (): Promise<unknown[]> => (await two.call('group.show', {})).volumes.map(({ ack }) => ack);
    expect(await acks()).toEqual(['store']);
    for (const ack of ['log', 'peer', 'store'] as const)
      expect(await codeOf(two.call('volume.configure', { volume: 'db', ack })), ack).toBe('volume-in-group');
    await one.call('group.assign', { group: 'rack', volume: 'db', replicas: 1 });
    expect(await acks()).toEqual(['store']);
    await one.call('group.assign', { group: 'rack', volume: 'db', ack: 'peer' });
    await one.call('group.assign', { group: 'rack', volume: 'db', replicas: 1 });
    expect(await acks()).toEqual(['peer']);
  }, 60_000);

  it('a planned take-over is what a daemon of a member does, and no other', async () => {
    await grouped(one);
    expect(await codeOf(one.call('group.failover', { volume: 'db' }))).toBe('daemon-needed');
    const holder = { gatewayId: ids[0] ?? '', name: 'one', since: '2026-01-01T00:00:00.000Z' };
    await setHead(store, volumeId, { epoch: 4, holder, inSync: ids });
    await asDaemon(two.home, async (handlers, replication) => {
      replication.onFailOver = async () =>
        setHead(store, volumeId, { epoch: 5, holder: { ...holder, gatewayId: ids[1] ?? '', name: 'two' } });
      const moved = await handlers['group.failover']({ volume: 'db', to: 'two', acceptLoss: true }, CALL);
      expect(moved).toMatchObject({ from: { name: 'one' }, to: { name: 'two' }, epoch: 5, changed: true });
      expect(replication.asked).toEqual([{ volumeId, to: ids[1], acceptLoss: true }]);
      const again = await handlers['group.failover']({ volume: 'db', to: 'two' }, CALL);
      expect(again).toMatchObject({ to: { name: 'two' }, changed: false });
      expect(replication.asked).toHaveLength(1);
      expect(await codeOf(handlers['group.failover']({ volume: 'db', to: 'three' }, CALL))).toBe('not-a-member');
      await two.call('group.remove', { group: 'rack', gateway: 'one' });
    });
    await asDaemon(one.home, async (handlers) => {
      expect(await codeOf(handlers['group.failover']({ volume: 'db' }, CALL))).toBe('not-a-member');
      await one.call('volume.create', { name: 'web', sizeBytes: MIB });
      expect(await codeOf(handlers['group.failover']({ volume: 'web' }, CALL))).toBe('volume-not-in-group');
    });
  }, 60_000);

  it('keeps where members connect to it, and what it runs after a take-over; a program that failed is in its status', async () => {
    const program = path.join(one.directory, 'move');
    expect(await codeOf(one.call('configure', { onTakeover: program }))).toBe('bad-program');
    await writeFile(program, '#!/bin/sh\nexit 3\n');
    expect(await codeOf(one.call('configure', { onTakeover: program }))).toBe('bad-program');
    await chmod(program, 0o755);
    for (const peerListen of ['nowhere', '192.0.2.1:70000', 'tcp:192.0.2.1:1'])
      expect(await codeOf(one.call('configure', { peerListen })), peerListen).toBe('bad-listener');
    expect(await codeOf(one.call('configure', { onTakeover: 'move' }))).toBe('bad-path');
    expect(await one.call('configure', { onTakeover: program, peerListen: '192.0.2.1:7070' })).toMatchObject({
      ...{ onTakeover: program, peerListen: '192.0.2.1:7070', changed: ['peerListen', 'onTakeover'] },
    });
    expect((await one.call('configure', {})).peerListen).toBe('192.0.2.1:7070');
    await asDaemon(one.home, async (handlers, _replication, gateway) => {
      const event = { volumeId, exportName: 'db', epoch: 5, holder: ids[0] ?? '' };
      await gateway.takeovers.run(event, { log: SILENT, signal: CALL.signal });
      expect((await handlers.status({}, CALL)).remarks.join('\n')).toMatch(
        /The program for take-overs failed at .* after that of db: it ended with code 3\./,
      );
    });
    expect(await one.call('configure', { onTakeover: null, peerListen: null })).toMatchObject({
      ...{ onTakeover: null, peerListen: null, changed: ['peerListen', 'onTakeover'] },
    });
  }, 60_000);
});

/** `rack`, of both homes, which looks after `db`. */
async function grouped(home: TestHome): Promise<void> {
  await home.call('group.create', { name: 'rack' });
  for (const gateway of ['one', 'two']) await home.call('group.add', { group: 'rack', gateway });
  await home.call('group.assign', { group: 'rack', volume: 'db' });
}

describe('gateways at a service', () => {
  let folder: string;
  let live: LiveService;
  let plane: ControlPlane;
  let anna: Customer;
  let bert: Customer;
  let one: ManagedHome;
  let two: ManagedHome;
  let foreign: ManagedHome;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'sgw-groups-'));
    const late: { plane?: ControlPlane } = {};
    live = await LiveService.start({
      objects: directoryStore({ path: path.join(folder, 'store') }),
      frontEnds: ({ service, log, gatewayOf }) => [
        dataEndpoint({ parts: { ...service, log }, principalOf: gatewayOf, onFenced: () => undefined }),
        ...controlFrontEnds(() => late.plane, service, gatewayOf),
      ],
    });
    const serviceKey = new ServiceKey(systemRandom.bytes(32), systemRandom);
    const gatewayAddress = `127.0.0.1:${String(live.ports.gateways)}`;
    const { service } = live;
    plane = await openControlPlane({ service, serviceKey, nats: null, gatewayAddress, log: SILENT }, CALL.signal);
    late.plane = plane;
    [anna, bert] = [await live.account('anna'), await live.account('bert')];
    one = await ManagedHome.activate(live, anna, 'one', 'service');
    two = await ManagedHome.activate(live, anna, 'two', 'service');
    foreign = await ManagedHome.activate(live, bert, 'foreign', 'service');
  }, 60_000);
  afterAll(async () => {
    for (const home of [one, two, foreign]) await home[Symbol.asyncDispose]();
    await plane.close(0);
    await live[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  it('make a group of their account, which another account neither sees nor changes', async () => {
    await one.withHandlers(async (handlers) => {
      await handlers['volume.create']({ name: 'db', sizeBytes: MIB }, CALL);
      expect(await handlers['group.create']({ name: 'rack' }, CALL)).toMatchObject({ created: true });
      await handlers['group.add']({ group: 'rack', gateway: 'one' }, CALL);
      await handlers['group.add']({ group: 'rack', gateway: 'two' }, CALL);
      expect(await codeOf(handlers['group.add']({ group: 'rack', gateway: 'foreign' }, CALL))).toBe(
        'gateway-not-found',
      );
      expect(await handlers['group.assign']({ group: 'rack', volume: 'db' }, CALL)).toMatchObject({ changed: true });
      expect(await codeOf(handlers['volume.delete']({ volume: 'db' }, CALL))).toBe('volume-in-group');
    });
    await two.withHandlers(async (handlers) => {
      expect(await handlers['group.show']({}, CALL)).toMatchObject({ name: 'rack', volumes: [{ name: 'db' }] });
    });
    await foreign.withHandlers(async (handlers) => {
      expect((await handlers['group.list']({}, CALL)).groups).toEqual([]);
      for (const work of [
        async () => handlers['group.show']({ group: 'rack' }, CALL),
        async () => handlers['group.remove']({ group: 'rack', gateway: 'two' }, CALL),
        async () => handlers['group.delete']({ group: 'rack' }, CALL),
      ])
        expect(await codeOf(work())).toBe('group-not-found');
    });
  });

  it('are changed from afar, by the account and not by another one', async () => {
    await two.start();
    await until(() => plane.connections === 1, 'the daemon has connected');
    const gatewayId = await gatewayIdOf(two.home);
    const { call } = remoteCalls(live, anna, gatewayId);
    expect(await call('group.assign', { group: 'rack', volume: 'db', whenDegraded: 'stop' })).toMatchObject({
      volumes: [{ exportName: 'db', whenDegraded: 'stop' }],
    });
    expect(await call('group.show', {})).toMatchObject({ name: 'rack', live: true });
    expect(await codeOf(call('configure', { onTakeover: '/bin/true' }))).toBe('not-from-afar');
    expect(await codeOf(remoteCalls(live, bert, gatewayId).call('group.show', {}))).toBe('gateway-not-found');
    const { rootKey } = live;
    if (rootKey === null) throw new Error('the first start makes a root key');
    expect(await codeOf(remoteCalls(live, { accessKey: rootKey }, gatewayId).call('group.show', {}))).toBe(
      'root-may-not',
    );
  }, 60_000);

  it('are told by the service that their group is another one, while their daemons run', async () => {
    const member = async (): Promise<{ readonly peer: string | null } | undefined> =>
      await one.withHandlers(async (handlers) => {
        const { members } = await handlers['group.show']({ group: 'rack' }, CALL);
        return members.find(({ name }) => name === 'two');
      });
    // A daemon that has gone into its group has told there where it is reached.
    await untilSo(async () => typeof (await member())?.peer === 'string');
    await one.withHandlers(async (handlers) => handlers['group.remove']({ group: 'rack', gateway: 'two' }, CALL));
    expect(await member()).toBeUndefined();
    await one.withHandlers(async (handlers) => handlers['group.add']({ group: 'rack', gateway: 'two' }, CALL));
    await untilSo(async () => typeof (await member())?.peer === 'string');
  }, 60_000);

  it('C27: a candidate is not permitted while the holder is connected and says that it holds the volume', async () => {
    const [{ gateway }, holderId] = [await openState(one.home), await gatewayIdOf(one.home)];
    if (gateway?.service === undefined) throw new Error('activated over the network');
    const volumeId = await idOfVolume(live, 'db');
    const holder = { gatewayId: holderId, name: 'one', since: '2026-01-01T00:00:00.000Z' };
    await setHead(path.join(folder, 'store'), volumeId, { epoch: 1, holder, inSync: [holderId] });
    let isHolding = true;
    const asked: string[] = [];
    const management = new Management(
      {
        ...{ parts: await partsOf(one.home), log: SILENT },
        call: async () => Promise.reject(new Error('nobody calls')),
        reload: async () => Promise.resolve([]),
        regroup: async () => Promise.resolve(),
        checkHeld: async () => Promise.resolve(),
        isHolding: (id) => {
          asked.push(id);
          return isHolding;
        },
      },
      gateway.service,
    );
    const permit = async (): Promise<string> =>
      codeOf(
        withBook(two.home, async (book) =>
          book.permit({ volumeId, epoch: 1, reason: 'it does not answer' }, CALL.signal),
        ),
      );
    try {
      await until(() => plane.holds(holderId), 'the holder has connected');
      expect(await permit()).toBe('holder-alive');
      isHolding = false;
      expect(await permit()).toBe('done');
      expect(asked).toEqual([volumeId, volumeId]);
    } finally {
      await management.close();
    }
    isHolding = true;
    await until(() => !plane.holds(holderId), 'the holder has gone');
    expect(await permit()).toBe('done');
    expect(asked).toHaveLength(2);
  }, 60_000);

  it('a gateway that the service takes away is in no group any more', async () => {
    const gatewayId = await gatewayIdOf(two.home);
    await live.service.gateways.deregister(gatewayId, CALL.signal);
    await one.withHandlers(async (handlers) => {
      expect((await handlers['group.show']({ group: 'rack' }, CALL)).members.map(({ name }) => name)).toEqual(['one']);
    });
  });
});

async function untilSo(look: () => Promise<boolean>): Promise<void> {
  for (const endMs = Date.now() + 20_000; !(await look());) {
    if (Date.now() > endMs) throw new Error('waited in vain');
    await delay(50);
  }
}

async function idOfVolume(live: LiveService, name: string): Promise<VolumeId> {
  const blocks = { objects: live.objects, clock: systemClock, random: systemRandom };
  const { entries } = await new Catalog(blocks).surveyVolumes({});
  const found = entries.find((entry) => entry.name === name);
  if (found === undefined) throw new Error(`no volume ${name}`);
  return found.volumeId;
}
