/** S3: a real daemon, activated over the network, and operated from afar by signed requests to the service. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openState } from '../../src/core/state/index.ts';
import type { ControlPlane } from '../../src/core/service/controlplane/index.ts';
import type { LiveService } from '../support/live-service.ts';
import { ManagedHome, remoteCalls, startManagedService, type Customer } from '../support/control/managed-home.ts';
import { codeOf, until } from '../support/control/network.ts';

const MIB = 1 << 20;
const { signal } = new AbortController();
let live: LiveService;
let plane: ControlPlane;
let anna: Customer;
let bert: Customer;
let managed: ManagedHome;
let gatewayId: string;

beforeAll(async () => {
  ({ live, plane } = await startManagedService());
  anna = await live.account('anna');
  bert = await live.account('bert');
  managed = await ManagedHome.activate(live, anna, 'lab');
  await managed.start();
  gatewayId = (await openState(managed.home)).gateway?.gatewayId ?? '';
  await until(() => plane.connections === 1, 'the daemon has connected');
});
afterAll(async () => {
  await managed[Symbol.asyncDispose]();
  await plane.close(0);
  await live[Symbol.asyncDispose]();
});

describe('a gateway that is managed from afar', () => {
  it('does through the service what its commands do on the spot', async () => {
    const { call } = remoteCalls(live, anna, gatewayId);
    expect(await call('volume.create', { name: 'db', sizeBytes: MIB })).toMatchObject({ name: 'db' });
    expect(await call('volume.attach', { volume: 'db' })).toMatchObject({ exportName: 'db' });
    expect(await call('snapshot.create', { volume: 'db', name: 'v1' })).toMatchObject({ name: 'v1' });
    expect((await call('volume.list', {})).volumes.map(({ name }) => name)).toEqual(['db']);
    expect(await call('schedule.set', { volume: 'db', everyMs: 3_600_000 })).toMatchObject({ name: 'db' });
    const limit = { uploadBytesPerSecond: MIB };
    expect(await call('bandwidth.set', limit)).toMatchObject(limit);
    expect(await call('configure', {})).toMatchObject({ name: 'lab', remoteManagement: true });
    await managed.withHandlers(async (handlers) => {
      const local = await handlers['snapshot.list']({}, { signal, onProgress: () => undefined, lockTimeoutMs: 5000 });
      expect(local.snapshots.map(({ name }) => name)).toEqual(['v1']);
    });
    await call('bandwidth.remove', {});
    await call('schedule.remove', { volume: 'db' });
    expect(await codeOf(call('volume.show', { volume: 'nothing' }))).toBe('volume-not-found');
  });

  it('tells to whom it is connected, its log, and its metrics', async () => {
    const { call } = remoteCalls(live, anna, gatewayId);
    const server = `https://127.0.0.1:${String(live.ports.gateways)}`;
    const connection = { state: 'connected', server, remoteManagement: true, lastFailure: null };
    expect((await call('gateway.show', {})).connection).toMatchObject(connection);
    expect((await call('status', {})).service?.connection).toMatchObject(connection);
    const first = await call('gateway.logs', { lines: 1000 });
    expect(first.lines.map(({ message }) => message)).toContain('connected to the service');
    await call('volume.resize', { volume: 'db', sizeBytes: 2 * MIB });
    const next = await call('gateway.logs', { after: first.next });
    expect(next.lines.some(({ details }) => details['operation'] === 'volume.resize')).toBe(true);
    expect(next.lines.length).toBeLessThan(first.lines.length);
    expect(await call('gateway.logs', { lines: 0 })).toMatchObject({ lines: [] });
    expect((await call('gateway.metrics', {})).text).toContain('sgw_volume_size_bytes{');
    expect(await plane.metrics.text()).toMatch(/sgw_control_calls_total\{outcome="ok"\} [1-9]/);
  });

  it('tells progress on the way', async () => {
    const { call } = remoteCalls(live, anna, gatewayId);
    const file = path.join(managed.folder, 'image.raw');
    await writeFile(file, Buffer.alloc(8 * MIB, 7));
    const labels: string[] = [];
    const onProgress = ({ label }: { label: string }): void => {
      labels.push(label);
    };
    expect(await call('volume.import', { file, name: 'imported' }, { onProgress })).toMatchObject({ name: 'imported' });
    expect(labels.length).toBeGreaterThan(0);
  });

  it('is another account’s as if it were not there, and root looks after it without taking anything out', async () => {
    expect(await codeOf(remoteCalls(live, bert, gatewayId).call('status', {}))).toBe('gateway-not-found');
    expect(await codeOf(remoteCalls(live, bert, 'sgw-0badf00d').call('status', {}))).toBe('gateway-not-found');
    const { rootKey } = live;
    if (rootKey === null) throw new Error('the first start makes a root key');
    const root = remoteCalls(live, { accessKey: rootKey }, gatewayId);
    expect((await root.call('volume.list', {})).volumes).not.toHaveLength(0);
    for (const work of [
      root.call('snapshot.export', { snapshot: 'v1', path: path.join(managed.folder, 'out.img') }),
      root.call('snapshot.share', { snapshot: 'v1', accountId: bert.accountId }),
      root.call('volume.attach', { volume: 'imported' }),
      root.call('store.copy', { from: managed.store, to: path.join(managed.folder, 'copy') }),
    ])
      expect(await codeOf(work)).toBe('root-may-not');
    const audit: unknown[] = [];
    for await (const { key } of live.objects.list('service/audit/'))
      audit.push(JSON.parse(((await live.objects.get(key))?.bytes ?? Buffer.alloc(0)).toString()));
    const { accessKeyId } = rootKey;
    const operate = (operation: string, granted: boolean): object => ({
      kind: 'operate',
      gatewayId,
      operation,
      granted,
    });
    expect(audit).toContainEqual(expect.objectContaining({ ...operate('volume.list', true), accessKeyId }));
    expect(audit).toContainEqual(expect.objectContaining({ ...operate('snapshot.export', false), accessKeyId }));
    // Of another account's users nothing.
    expect(JSON.stringify(audit)).not.toContain(bert.accessKey.accessKeyId);
  });

  it('is not to be taken from its machine from afar, and asks nobody for a secret there', async () => {
    const { call } = remoteCalls(live, anna, gatewayId);
    expect(await codeOf(call('deactivate', {}))).toBe('not-from-afar');
    expect(await codeOf(call('activate', {}))).toBe('not-from-afar');
    expect(await codeOf(call('configure', { remoteManagement: false }))).toBe('not-from-afar');
    expect(await codeOf(call('store.rekey', {}))).not.toBe('ok');
    expect(await codeOf(call('no.such' as 'status', {}))).toBe('gateway-outdated');
  });

  it('refuses calls while its operator says so, and takes the configuration of its provider all the same', async () => {
    const remote = remoteCalls(live, anna, gatewayId);
    await managed.withHandlers(async (handlers) => {
      const call = { signal, onProgress: () => undefined, lockTimeoutMs: 5000 };
      expect(await handlers.configure({ remoteManagement: false }, call)).toMatchObject({
        remoteManagement: false,
        changed: ['remoteManagement'],
      });
      expect(await codeOf(remote.call('status', {}))).toBe('remote-management-off');
      const changes = { name: 'renamed', region: 'lab-2', serving: { readAheadBytes: 0 } };
      const outcome = await live.service.configurations.change(
        gatewayId,
        { changes, answer: null, expectedVersion: null },
        signal,
      );
      expect(outcome).toMatchObject({ undelivered: null, standing: { receipt: { version: 2, appliedVersion: 2 } } });
      const now = (await openState(managed.home)).gateway;
      expect(now).toMatchObject({ name: 'renamed', region: 'lab-2', serving: { readAheadBytes: 0 } });
      await handlers.configure({ remoteManagement: true }, call);
    });
    expect((await remote.call('status', {})).gateway).toMatchObject({ name: 'renamed' });
  });

  it('stops acknowledging at once when the service says that a volume was taken over, and only if it was', async () => {
    const { call } = remoteCalls(live, anna, gatewayId);
    const stateOf = async (): Promise<string | undefined> =>
      (await call('gateway.show', {})).volumes.find(({ name }) => name === 'db')?.state;
    const { volumeId } = await call('volume.show', { volume: 'db' });
    const told = { volumeId, oldHolder: gatewayId, newHolder: 'sgw-0badf00d', epoch: 99 };
    await plane.tellFenced(told);
    expect(await stateOf()).toBe('available');
    const other = path.join(managed.folder, 'other');
    const image = path.join(managed.folder, 'image.raw');
    await managed.withHandlers(async (handlers) => {
      const context = { signal, onProgress: () => undefined, lockTimeoutMs: 5000 };
      const { accountId } = anna;
      await using gateway = await accountGateway(other, accountId);
      await gateway.activate({ store: managed.store, name: 'other' }, context);
      await gateway.importVolume({ file: image, into: 'db', takeOver: true }, context);
      expect(handlers).toBeDefined();
    }, other);
    expect(await stateOf()).toBe('available');
    await plane.tellFenced(told);
    expect(await stateOf()).toBe('fenced');
  });

  it('answers that it stops before it is gone, and is cut off when it is deregistered', async () => {
    const { call } = remoteCalls(live, anna, gatewayId);
    expect(await call('gateway.stop', { drain: false })).toMatchObject({ stopped: true });
    await managed.ended();
    await until(() => plane.connections === 0, 'gone');
    expect(await codeOf(call('status', {}))).toBe('gateway-not-connected');
    await managed.start();
    await until(() => plane.connections === 1, 'back');
    await live.service.gateways.deregister(gatewayId, signal);
    await until(() => plane.connections === 0, 'cut off');
    expect(await codeOf(call('status', {}))).toBe('gateway-not-found');
  });
});

async function accountGateway(
  home: string,
  accountId: string,
): Promise<import('../../src/core/gateway/index.ts').Gateway> {
  const { Gateway } = await import('../../src/core/gateway/index.ts');
  const { partsOf } = await import('../../src/core/daemon/parts.ts');
  return new Gateway(await partsOf(home, accountId));
}
