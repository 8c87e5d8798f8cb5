import { existsSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Serving } from '../../../src/core/gateway/index.ts';
import { SgwError, systemClock, type Clock } from '../../../src/core/kit/index.ts';
import type { Input, VolumeAttached } from '../../../src/core/localapi/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { openState } from '../../../src/core/state/index.ts';
import { GatewayRig } from './rig.ts';
import { FakeServing } from './serving-fakes.ts';

const SIZE = 1 << 20;
const DRAINING = { drain: true, signal: new AbortController().signal };
const HOST = 'iqn.1993-08.org.debian:01:abcdef';
const OTHER = 'iqn.1991-05.com.microsoft:my_pc.example.org';
const SECRET = 'kumquat-7f3a-1';
const TARGET_SECRET = 'persimmon-0b55';
const CHAP = { chap: { user: 'host-1', secret: SECRET } };
const MUTUAL = { ...CHAP, chapTarget: { user: 'sgw', secret: TARGET_SECRET } };

const hasty: Clock = {
  ...systemClock,
  sleep: async (ms, signal) => systemClock.sleep(ms < 10_000 ? Math.min(ms, 1) : ms, signal),
};

let fakes: FakeServing;
let rig: GatewayRig;
let serving: Serving;
beforeEach(async () => {
  fakes = new FakeServing();
  rig = await GatewayRig.start(memoryStore(), 'lab', { serving: fakes.parts, clock: hasty });
  serving = await rig.serve();
});
afterEach(async () => {
  await serving.stop(DRAINING);
  await rig[Symbol.asyncDispose]();
});

const create = async (name: string, sizeBytes = SIZE): Promise<string> =>
  (await rig.call('volume.create', { name, sizeBytes })).volumeId;
const attach = async (volume: string, input: Partial<Input<'volume.attach'>> = {}): Promise<VolumeAttached> =>
  await rig.call('volume.attach', { volume, protocols: ['iscsi'], ...input });
const targetOf = ({ iscsi }: VolumeAttached): string => iscsi?.targetName ?? '';
const session = (initiator: string): Parameters<Serving['targets']['open']>[1] => ({
  sessionId: 1,
  initiator,
  user: undefined,
  signal: DRAINING.signal,
});
const chapFile = (): string => rig.path('home/chap.json');

async function restarted(): Promise<{ rig: GatewayRig; serving: Serving }> {
  await serving.stop(DRAINING);
  const again = rig.again({ serving: new FakeServing().parts, clock: hasty });
  return { rig: again, serving: await again.serve() };
}

describe('attaching over iSCSI', () => {
  test('a volume is a target, named by its id and the name of its export, and is not there over NBD', async () => {
    const volumeId = await create('DB_1');
    const attached = await attach('DB_1');
    const name = `iqn.2026-11.internal.sgw:${volumeId}.db-1`;
    expect(attached).toMatchObject({
      protocols: ['iscsi'],
      iscsi: { targetName: name, lun: 0, portals: ['127.0.0.1:3260'], chapUser: null, initiators: [] },
      uris: [`iscsi://127.0.0.1:3260/${name}/0`],
      connected: [],
    });
    expect(await serving.targets.list(HOST)).toEqual([{ name }]);
    expect(await serving.targets.find(name.toUpperCase(), HOST)).toEqual({
      kind: 'here',
      name,
      alias: 'DB_1',
      chap: undefined,
    });
    expect(await serving.list()).toEqual([]);
    await expect(serving.open('DB_1')).rejects.toMatchObject({ code: 'export-not-found' });
    await rig.call('volume.rename', { volume: 'DB_1', name: 'renamed' });
    expect(serving.documents()[0]?.iscsi?.targetName).toBe(name);
  });

  test('one over NBD alone is no target', async () => {
    await create('db');
    const { uris, iscsi } = await attach('db', { protocols: ['nbd'] });
    expect({ uris, iscsi }).toEqual({ uris: [`nbd+unix:///db?socket=${rig.path('home/nbd.sock')}`], iscsi: null });
    expect(await serving.targets.list(HOST)).toEqual([]);
  });

  test('both protocols have one device, and the unit is named by the id of the volume', async () => {
    const volumeId = await create('db');
    const attached = await attach('db', { protocols: ['nbd', 'iscsi'] });
    const opened = await serving.targets.open(targetOf(attached), session(HOST));
    expect((await serving.open('db')).device).toBe(opened.device);
    expect(opened.unit).toMatchObject({ serial: volumeId, revision: '0.0', isThin: true });
    expect(opened.unit.naa).toHaveLength(8);
    expect((opened.unit.naa[0] ?? 0) >> 4).toBe(3);
    expect(attached.uris.map((uri) => uri.split(':')[0])).toEqual(['nbd+unix', 'iscsi']);
    const again = await restarted();
    expect((await again.serving.targets.open(targetOf(attached), session(HOST))).unit).toEqual(opened.unit);
    await again.serving.stop(DRAINING);
    await again.rig[Symbol.asyncDispose]();
  });

  test('a snapshot can only be read, and each of its throw-away clones is a target of its own', async () => {
    await create('db');
    const { snapshotId } = await rig.call('snapshot.create', { volume: 'db', name: 'v1' });
    const plain = await attach('v1');
    expect(targetOf(plain)).toBe(`iqn.2026-11.internal.sgw:${snapshotId}.v1`);
    expect((await serving.targets.open(targetOf(plain), session(HOST))).isReadOnly).toBe(true);
    const first = await attach('v1', { scratch: true, exportName: 'a' });
    const second = await attach('v1', { scratch: true, exportName: 'b' });
    expect(targetOf(first)).toMatch(/^iqn\.2026-11\.internal\.sgw:scratch-[0-9a-f]{16}\.a$/);
    const units = [first, second].map(async (one) => (await serving.targets.open(targetOf(one), session(HOST))).unit);
    expect(new Set((await Promise.all(units)).map(({ serial }) => serial)).size).toBe(2);
    expect(await attach('v1', { scratch: true, exportName: 'a', ifNotExists: true })).toMatchObject({ created: false });
  });

  test('a volume that the API of AWS made has the name that programs expect', async () => {
    await rig.call('volume.create', { name: 'a', sizeBytes: SIZE, tags: { 'sgw:aws-target-name': 'My_Volume' } });
    expect(targetOf(await attach('a'))).toBe('iqn.1997-05.com.amazon:my-volume');
  });

  test('a volume that is attached otherwise is to be detached first, whatever name is chosen', async () => {
    await create('db');
    await attach('db');
    const refused = { code: 'volume-attached', hint: 'Detach it first: sgw volume detach db' };
    await expect(attach('db', { protocols: ['nbd', 'iscsi'] })).rejects.toMatchObject(refused);
    await expect(attach('db', { iscsi: { initiators: [HOST] } })).rejects.toMatchObject(refused);
  });

  test('a name that is taken is refused, and nothing changes', async () => {
    await create('a');
    await create('b');
    await attach('a', { iscsi: { targetName: 'iqn.2026-11.org.Example:disk' } });
    await expect(attach('b', { iscsi: { targetName: 'iqn.2026-11.org.example:disk' } })).rejects.toMatchObject({
      code: 'target-exists',
      hint: 'Choose another one with --target-name.',
    });
    expect((await openState(rig.path('home'))).gateway?.attachments).toMatchObject([{ exportName: 'a' }]);
  });

  test('where no portal can be had, nothing is attached, and no secret stays', async () => {
    await create('db');
    const events: string[] = [];
    serving.listenIscsi = async () => {
      events.push(serving.targets.portals.listen.join());
      await Promise.resolve();
      if (events.length === 1) throw new SgwError('unavailable', 'address-in-use', '127.0.0.1:3260 is in use');
    };
    await expect(attach('db', { iscsi: CHAP })).rejects.toMatchObject({ code: 'address-in-use' });
    expect(serving.show()).toEqual([]);
    expect((await openState(rig.path('home'))).gateway?.attachments).toEqual([]);
    expect(existsSync(chapFile())).toBe(false);
    expect(events).toEqual(['127.0.0.1:3260', '']);
  });

  test('clients keep it from being detached, and are let go by force', async () => {
    await create('db');
    const name = targetOf(await attach('db'));
    const opened = await serving.targets.open(name, session(HOST));
    await expect(rig.call('volume.detach', { volume: 'db' })).rejects.toMatchObject({ code: 'clients-connected' });
    await opened.release(0);
    await rig.call('volume.detach', { volume: 'db' });
    await expect(serving.targets.find(name, HOST)).rejects.toMatchObject({ code: 'target-not-found' });
    await attach('db');
    await serving.targets.open(name, session(HOST));
    await rig.call('volume.detach', { volume: 'db', force: true });
  });

  test('one that can not be opened is unavailable, and not listed', async () => {
    const volumeId = await create('db');
    const name = targetOf(await attach('db'));
    const failure = new SgwError('conflict', 'volume-held', 'another gateway holds it');
    fakes.failures.set(volumeId, failure);
    serving.named('db')?.wait(failure, null);
    expect(await serving.targets.list(HOST)).toEqual([]);
    await expect(serving.targets.open(name, session(HOST))).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'export-not-ready',
    });
  });

  test('a target that another gateway has is looked for there', async () => {
    const name = targetOf(await attach(await create('db')));
    const moved = { kind: 'moved', portal: '192.0.2.7:3260', isPermanent: false } as const;
    serving.targets.elsewhere = (target) => (target === name ? moved : undefined);
    expect(await serving.targets.find(name, HOST)).toEqual(moved);
  });

  test('who is connected is told', async () => {
    await create('db');
    await attach('db');
    const client = { initiator: HOST, user: 'host-1', requests: 3, receivedBytes: 48, sentBytes: 96 };
    serving.connected = (name) =>
      name === 'db' ? [{ protocol: 'iscsi', remotes: ['192.0.2.9:4711'], sinceMs: 0, ...client }] : [];
    const { attachment } = await rig.call('volume.show', { volume: 'db' });
    expect(attachment?.connected).toEqual([
      { protocol: 'iscsi', remotes: ['192.0.2.9:4711'], since: '1970-01-01T00:00:00.000Z', ...client },
    ]);
  });
});

test('sessions and their requests are counted, also those of sessions that have ended', async () => {
  await create('db');
  await create('other');
  const name = targetOf(await attach('db'));
  await attach('other', { protocols: ['nbd'] });
  await (await serving.targets.open(name, session(HOST))).release(40);
  const client = { initiator: HOST, user: null, receivedBytes: 48, sentBytes: 96, remotes: ['192.0.2.9:4711'] };
  serving.connected = (of) => (of === 'db' ? [{ protocol: 'iscsi', sinceMs: 0, requests: 2, ...client }] : []);
  const figures = (await serving.metrics()).split('\n').filter((line) => line.startsWith('sgw_iscsi'));
  expect(figures).toEqual(['sgw_iscsi_sessions{export="db"} 1', 'sgw_iscsi_requests_total{export="db"} 42']);
});

describe('who may log in', () => {
  test('only the initiators that were named find it, however they spell their names', async () => {
    await create('db');
    const name = targetOf(await attach('db', { iscsi: { initiators: [OTHER.toUpperCase()] } }));
    expect(await serving.targets.list(HOST)).toEqual([]);
    expect(await serving.targets.list(OTHER)).toEqual([{ name }]);
    expect(await serving.targets.find(name, OTHER.toUpperCase())).toMatchObject({ kind: 'here' });
    await expect(serving.targets.find(name, HOST)).rejects.toMatchObject({ kind: 'denied', code: 'initiator-denied' });
    await expect(serving.targets.open(name, session(HOST))).rejects.toMatchObject({ kind: 'denied' });
  });

  test('the secrets of CHAP are asked for, kept in a file for the owner alone, and go with the export', async () => {
    await create('db');
    const attached = await attach('db', { iscsi: MUTUAL });
    expect(attached.iscsi).toMatchObject({ chapUser: 'host-1', chapTargetUser: 'sgw' });
    const access = await serving.targets.find(targetOf(attached), HOST);
    expect(access).toMatchObject({
      chap: {
        initiators: [{ user: 'host-1', secret: Buffer.from(SECRET) }],
        target: { user: 'sgw', secret: Buffer.from(TARGET_SECRET) },
      },
    });
    expect(statSync(chapFile()).mode & 0o777).toBe(0o600);
    expect(readFileSync(chapFile(), 'utf8')).toContain(SECRET);
    const told = JSON.stringify([attached, serving.documents(), await rig.call('status', {})]);
    const kept = readFileSync(rig.path('home/state.json'), 'utf8');
    for (const secret of [SECRET, TARGET_SECRET]) expect(told + kept).not.toContain(secret);

    const again = await restarted();
    expect(await again.serving.targets.find(targetOf(attached), HOST)).toEqual(access);
    await again.rig.call('volume.detach', { volume: 'db' });
    expect(existsSync(chapFile())).toBe(false);
    await again.serving.stop(DRAINING);
    await again.rig[Symbol.asyncDispose]();
  });

  test('the same with another secret is not the same', async () => {
    await create('db');
    await attach('db', { iscsi: CHAP });
    const alike = { ifNotExists: true };
    expect(await attach('db', { iscsi: CHAP, ...alike })).toMatchObject({ created: false });
    for (const iscsi of [{ chap: { user: 'host-1', secret: TARGET_SECRET } }, MUTUAL, {}])
      await expect(attach('db', { iscsi, ...alike })).rejects.toMatchObject({ kind: 'conflict' });
    await expect(attach('db', { protocols: ['nbd', 'iscsi'], iscsi: CHAP, ...alike })).rejects.toMatchObject({
      kind: 'conflict',
    });
  });

  test('without its secret a target lets nobody in, and the others go on', async () => {
    for (const name of ['a', 'b', 'c']) await create(name);
    const closed = targetOf(await attach('a', { protocols: ['nbd', 'iscsi'], iscsi: CHAP }));
    const open = targetOf(await attach('b'));
    const checks = async (of: GatewayRig): Promise<object[]> =>
      (await of.call('doctor', {})).checks.filter(({ name }) => name.startsWith('chap'));
    expect(await checks(rig)).toMatchObject([{ name: 'chap a', state: 'ok' }]);
    for (const [text, code] of [
      ['{}', 'chap-damaged'],
      ['{"version":1,"discovery":null,"exports":{"a":{"initiator":7,"target":null}}}', 'chap-damaged'],
      ['{"version":1,"discovery":null,"exports":{}}', 'chap-secret-missing'],
    ] as const) {
      await writeFile(chapFile(), text);
      const again = await restarted();
      await expect(again.serving.targets.find(closed, HOST), text).rejects.toMatchObject({ code });
      expect(await again.serving.targets.find(open, HOST)).toMatchObject({ kind: 'here' });
      expect((await again.serving.open('a')).name).toBe('a');
      expect(await checks(again.rig), text).toMatchObject([{ name: 'chap a', state: 'failed' }]);
      await again.rig.call('volume.attach', { volume: 'c' });
      await again.rig.call('volume.detach', { volume: 'c' });
      await again.serving.stop(DRAINING);
      await again.rig[Symbol.asyncDispose]();
    }
  });

  test('secrets that a kill left over are gone after the next start', async () => {
    await create('db');
    await attach('db', { iscsi: CHAP });
    const left = `{"version":1,"discovery":null,"exports":{"gone":{"initiator":"${TARGET_SECRET}","target":null},"db":{"initiator":"${SECRET}","target":null}}}`;
    await writeFile(chapFile(), left);
    const again = await restarted();
    expect(readFileSync(chapFile(), 'utf8')).not.toContain(TARGET_SECRET);
    expect(readFileSync(chapFile(), 'utf8')).toContain(SECRET);
    await again.serving.stop(DRAINING);
    await again.rig[Symbol.asyncDispose]();
  });

  test('an export whose name is that of a property of objects has no secrets that it was not given', async () => {
    await create('constructor');
    const attached = await attach('constructor', { iscsi: CHAP });
    await writeFile(chapFile(), '{"version":1,"discovery":null,"exports":{}}');
    await serving.reload();
    await expect(serving.targets.find(targetOf(attached), HOST)).rejects.toMatchObject({ code: 'chap-secret-missing' });
  });
});

describe('settings of iSCSI', () => {
  test('portals are kept, told, and listened at also while nothing is attached', async () => {
    expect(serving.targets.portals).toEqual({ listen: [], told: [] });
    const changed = await rig.call('configure', {
      iscsiListen: ['tcp:127.0.0.1:3261', 'tcp:[::1]:3261'],
      iscsiPortals: ['gateway.example.org:3260'],
    });
    expect(changed).toMatchObject({
      changed: ['iscsiListen', 'iscsiPortals'],
      serving: {
        iscsiListen: ['tcp:127.0.0.1:3261', 'tcp:[::1]:3261'],
        iscsiPortals: ['gateway.example.org:3260'],
      },
    });
    expect(serving.targets.portals).toEqual({
      listen: ['127.0.0.1:3261', '[::1]:3261'],
      told: ['gateway.example.org:3260'],
    });
    await create('db');
    expect((await attach('db')).iscsi?.portals).toEqual(['gateway.example.org:3260']);
    await rig.call('configure', { iscsiListen: ['default'], iscsiPortals: ['default'] });
    expect(serving.targets.portals).toEqual({ listen: ['127.0.0.1:3260'], told: [] });
  });

  test('discovery by CHAP has its secret in the file, and lets nobody in without it', async () => {
    expect(serving.targets.discoveryChap()).toBeUndefined();
    const wishes = { iscsiDiscoveryUser: 'finder', iscsiDiscoverySecret: SECRET };
    const changed = await rig.call('configure', wishes);
    expect(JSON.stringify(changed)).not.toContain(SECRET);
    expect(changed.serving.iscsiDiscoveryUser).toBe('finder');
    expect(serving.targets.discoveryChap()).toEqual({
      initiators: [{ user: 'finder', secret: Buffer.from(SECRET) }],
      target: undefined,
    });
    await rig.call('configure', { iscsiDiscoveryUser: null });
    expect(serving.targets.discoveryChap()).toBeUndefined();
    expect(existsSync(chapFile())).toBe(false);
    await rig.call('configure', wishes);
    await writeFile(chapFile(), '{"version":1,"discovery":null,"exports":{}}');
    await serving.reload();
    expect(serving.targets.discoveryChap()).toEqual({ initiators: [], target: undefined });
  });

  test('what can not be served is not kept, the secret of discovery neither', async () => {
    await rig.call('configure', { iscsiDiscoveryUser: 'finder', iscsiDiscoverySecret: SECRET });
    serving.listen = async () => {
      await Promise.resolve();
      throw new SgwError('unavailable', 'address-in-use', 'in use');
    };
    const wishes = {
      iscsiListen: ['tcp:127.0.0.1:1'],
      iscsiDiscoveryUser: 'other',
      iscsiDiscoverySecret: TARGET_SECRET,
    };
    await expect(rig.call('configure', wishes)).rejects.toMatchObject({ code: 'address-in-use' });
    expect((await openState(rig.path('home'))).gateway?.serving).toMatchObject({
      iscsiListen: [],
      iscsiDiscoveryUser: 'finder',
    });
    expect(readFileSync(chapFile(), 'utf8')).toContain(SECRET);
    expect(readFileSync(chapFile(), 'utf8')).not.toContain(TARGET_SECRET);
  });

  test('loopback without proof is remarked upon to who attaches it, and to who looks at it: other users reach it', async () => {
    for (const name of ['a', 'b', 'c']) await create(name);
    const { remarks } = await attach('a');
    expect(remarks).toEqual([
      'Whoever is a user of this machine uses export a over 127.0.0.1:3260: only --chap proves who it is.',
    ]);
    expect((await rig.call('volume.show', { volume: 'a' })).remarks).toEqual(remarks);
    expect((await attach('b', { iscsi: { initiators: [HOST] } })).remarks?.[0]).toMatch(/user .* gives the name/);
    expect((await attach('c', { iscsi: CHAP })).remarks).toEqual([]);
    expect((await rig.call('volume.show', { volume: 'c' })).remarks).toBeUndefined();
    // That is as it was wanted, and nothing that needs attention.
    expect((await rig.call('status', {})).remarks.join()).not.toContain('--chap');
  });

  test('an export that others can reach without proof is remarked upon, and one whose end is no whole sector', async () => {
    await rig.call('configure', { iscsiListen: ['tcp:192.0.2.1:3260'] });
    for (const name of ['a', 'b', 'c']) await create(name);
    const { remarks } = await attach('a');
    expect(remarks).toEqual(['Whoever reaches 192.0.2.1:3260 uses export a: only --chap proves who it is.']);
    expect((await attach('b', { iscsi: { initiators: [HOST] } })).remarks?.[0]).toMatch(/gives the name/);
    expect((await attach('c', { iscsi: CHAP })).remarks).toEqual([]);
    const noted = [await rig.call('status', {}), await rig.call('volume.show', { volume: 'a' })];
    for (const document of noted) expect(document.remarks).toContain(remarks?.[0]);
    expect((await rig.call('volume.show', { volume: 'c' })).remarks).toBeUndefined();
    fakes.contents.set(await create('odd', 1000), Buffer.alloc(1000));
    expect((await attach('odd', { iscsi: CHAP })).remarks).toEqual([
      'The last 488 bytes of export odd are no whole sector, and not there over iSCSI.',
    ]);
  });

  test.each([
    ['as they are', undefined],
    [
      'with those that a kill left over',
      `{"version":1,"discovery":null,"exports":{"gone":{"initiator":"${SECRET}","target":null}}}`,
    ],
    ['of a file that is damaged', `{"version":1,"discovery":"${SECRET}`],
  ])('deactivating forgets all secrets, %s', async (_what, left) => {
    await rig.call('configure', { iscsiDiscoveryUser: 'finder', iscsiDiscoverySecret: SECRET });
    await serving.stop(DRAINING);
    if (left !== undefined) await writeFile(chapFile(), left);
    const other = rig.again();
    await other.call('deactivate', {});
    expect(existsSync(chapFile())).toBe(false);
    await other[Symbol.asyncDispose]();
  });
});
