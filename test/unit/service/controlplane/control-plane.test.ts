import { describe, expect, it } from 'vitest';
import { SgwError, systemClock } from '../../../../src/core/kit/index.ts';
import type { LinkOptions } from '../../../../src/core/gateway/remote/index.ts';
import { MemoryHub } from '../../../../src/core/service/controlplane/memory-bus.ts';
import { ANNA, BERT, codeOf, ControlNetwork, openLink, startServer, until } from '../../../support/control/network.ts';

const ID = 'sgw-00000001';
const signal = new AbortController().signal;
const OPTIONS = { accountId: ANNA, deadlineMs: 10_000, signal };

/** Answers each call with its operation and input. */
const echo: LinkOptions['handler'] = async (request) =>
  Promise.resolve(request.kind === 'call' ? { operation: request.operation, input: request.input } : {});
/** Never answers, until it is told to stop. */
const hang: LinkOptions['handler'] = async (_request, how) => {
  await systemClock.sleep(60_000, how.signal);
};
/** No waiting between tries. */
const eager = { random: { bytes: () => Buffer.alloc(4), float: () => 0 } };

describe('a gateway that is connected', () => {
  it('answers a call through the server that holds its connection', async () => {
    const network = await ControlNetwork.make();
    await using server = await startServer(network);
    const link = openLink(await network.gateway(ID), [server.url], echo);
    link.start();
    await until(() => server.plane.connections === 1, 'connected');
    const result = await server.plane.call(ID, 'volume.show', { volume: 'db' }, OPTIONS);
    expect(result).toEqual({ operation: 'volume.show', input: { volume: 'db' } });
    expect(await server.plane.isConnected(ID, signal)).toBe(true);
    expect(link.status).toMatchObject({ state: 'connected', server: server.url, lastFailure: null });
    await link.close();
    await until(() => server.plane.connections === 0, 'gone');
    expect(await codeOf(server.plane.call(ID, 'status', {}, OPTIONS))).toBe('gateway-not-connected');
  });

  it('tells progress before the answer, and fails as the gateway does', async () => {
    const network = await ControlNetwork.make();
    await using server = await startServer(network);
    const link = openLink(await network.gateway(ID), [server.url], async (_request, { onProgress }) => {
      onProgress({ label: 'importing', doneBytes: 1, totalBytes: 2 });
      await systemClock.sleep(1);
      throw new SgwError('notFound', 'volume-not-found', 'no such volume', { hint: 'look', details: { ref: 'x' } });
    });
    link.start();
    await until(() => server.plane.connections === 1, 'connected');
    const told: unknown[] = [];
    const call = server.plane.call(ID, 'volume.show', { volume: 'x' }, { ...OPTIONS, onProgress: (p) => told.push(p) });
    await expect(call).rejects.toMatchObject({
      kind: 'notFound',
      code: 'volume-not-found',
      hint: 'look',
      details: { ref: 'x' },
    });
    expect(told).toEqual([{ label: 'importing', doneBytes: 1, totalBytes: 2 }]);
    await link.close();
  });

  it('answers with megabytes in parts, and refuses what is longer than the service takes', async () => {
    const network = await ControlNetwork.make();
    await using server = await startServer(network);
    const link = openLink(await network.gateway(ID), [server.url], async (request) => {
      const mebibytes = request.kind === 'call' && request.operation === 'status' ? 5 : 40;
      return Promise.resolve({ text: 'ä"'.repeat((mebibytes << 20) / 2) });
    });
    link.start();
    await until(() => server.plane.connections === 1, 'connected');
    const { text } = (await server.plane.call(ID, 'status', {}, OPTIONS)) as unknown as { text: string };
    expect(text).toBe('ä"'.repeat((5 << 20) / 2));
    expect(await codeOf(server.plane.call(ID, 'doctor', {}, OPTIONS))).toBe('answer-too-long');
    await link.close();
  });

  it('has a bounded number of calls under way, and the rest are refused by name', async () => {
    const network = await ControlNetwork.make();
    await using server = await startServer(network);
    const link = openLink(await network.gateway(ID), [server.url], hang);
    link.start();
    await until(() => server.plane.connections === 1, 'connected');
    const stop = new AbortController();
    const calls = Array.from({ length: 17 }, async () =>
      codeOf(server.plane.call(ID, 'status', {}, { ...OPTIONS, signal: stop.signal })),
    );
    expect(await calls[16]).toBe('gateway-busy');
    stop.abort();
    expect(new Set(await Promise.all(calls.slice(0, 16)))).toEqual(new Set(['aborted']));
    // What was stopped frees its place at the gateway as well.
    const again = async (): Promise<string> =>
      codeOf(server.plane.call(ID, 'status', {}, { ...OPTIONS, deadlineMs: 300 }));
    let code = await again();
    for (let tries = 0; tries < 100 && code === 'gateway-busy'; tries++) {
      await systemClock.sleep(10);
      code = await again();
    }
    expect(code).toBe('gateway-timed-out');
    await link.close(0);
  });

  it('fails within the deadline when the gateway does not answer, and the gateway is told to stop', async () => {
    const network = await ControlNetwork.make();
    await using server = await startServer(network);
    let reason: unknown;
    const link = openLink(await network.gateway(ID), [server.url], async (request, how) => {
      how.signal.addEventListener('abort', () => {
        reason = how.signal.reason;
      });
      return hang(request, how);
    });
    link.start();
    await until(() => server.plane.connections === 1, 'connected');
    const startedMs = performance.now();
    expect(await codeOf(server.plane.call(ID, 'status', {}, { ...OPTIONS, deadlineMs: 200 }))).toBe(
      'gateway-timed-out',
    );
    expect(performance.now() - startedMs).toBeLessThan(2000);
    await until(() => reason !== undefined, 'told to stop');
    expect(reason).toMatchObject({ code: 'caller-gone' });
    await link.close(0);
  });

  it('is not to be called for another account, in the words for one that is not there', async () => {
    const network = await ControlNetwork.make();
    await using server = await startServer(network);
    const link = openLink(await network.gateway(ID), [server.url], echo);
    link.start();
    await until(() => server.plane.connections === 1, 'connected');
    expect(await codeOf(server.plane.call(ID, 'status', {}, { ...OPTIONS, accountId: BERT }))).toBe(
      'gateway-not-found',
    );
    await link.close();
  });

  it('of an older version says that it is outdated', async () => {
    const network = await ControlNetwork.make();
    await using server = await startServer(network);
    const link = openLink(await network.gateway(ID), [server.url], async () =>
      Promise.reject(new SgwError('unsupported', 'unknown-operation', 'the daemon knows no such operation')),
    );
    link.start();
    await until(() => server.plane.connections === 1, 'connected');
    await expect(server.plane.call(ID, 'status', {}, OPTIONS)).rejects.toMatchObject({
      code: 'gateway-outdated',
      details: { software: '1.0.0' },
    });
    await link.close();
  });

  it('gets a newer configuration, and a new certificate once half of the time of its own is over', async () => {
    const network = await ControlNetwork.make();
    const { clock } = { clock: { ...systemClock, nowMs: () => Date.now() + 4 * 24 * 3600 * 1000 } };
    const receipts: unknown[] = [];
    const onReceipt = async (...args: readonly unknown[]): Promise<void> => {
      receipts.push(args.slice(0, 2));
      return Promise.resolve();
    };
    await using server = await startServer(network, { parts: { clock, onReceipt } });
    const gateway = await network.gateway(ID);
    network.records.set(ID, { ...gateway.record, gatewayName: 'renamed', configurationVersion: 2 });
    const asked: string[] = [];
    const { certificateRequest } = await import('../../../../src/core/protocol/index.ts');
    const link = openLink(gateway, [server.url], async (request) => {
      asked.push(request.kind);
      if (request.kind === 'configuration')
        expect(request.configuration).toMatchObject({ name: 'renamed', version: 2 });
      if (request.kind === 'certificate') expect(request.certificate).toContain('BEGIN CERTIFICATE');
      if (request.kind === 'configuration') return { version: 2, appliedVersion: 2, failure: null };
      return request.kind === 'renew' ? { csr: await certificateRequest(gateway.key, ID) } : {};
    });
    link.start();
    await until(() => asked.length === 3, 'configured and renewed');
    expect(asked).toEqual(['configuration', 'renew', 'certificate']);
    expect(receipts).toEqual([[ID, { version: 2, appliedVersion: 2, failure: null }]]);
    await link.close();
  });
});

describe('several servers', () => {
  it('pass a request on to the one that holds the connection, with progress', async () => {
    const network = await ControlNetwork.make();
    const hub = new MemoryHub();
    await using a = await startServer(network, { hub });
    await using b = await startServer(network, { hub });
    const link = openLink(await network.gateway(ID), [a.url], async (request, how) => {
      how.onProgress({ label: 'working', doneBytes: 1, totalBytes: 2 });
      await systemClock.sleep(1);
      return echo(request, how);
    });
    link.start();
    await until(() => a.plane.connections === 1, 'connected');
    const told: unknown[] = [];
    const result = await b.plane.call(ID, 'status', {}, { ...OPTIONS, onProgress: (progress) => told.push(progress) });
    expect(result).toEqual({ operation: 'status', input: {} });
    expect(told).toHaveLength(1);
    expect(await b.plane.isConnected(ID, signal)).toBe(true);
    await link.close();
  });

  it('find the holder by asking all when the registration is stale', async () => {
    const network = await ControlNetwork.make();
    const hub = new MemoryHub();
    await using a = await startServer(network, { hub });
    await using b = await startServer(network, { hub });
    const link = openLink(await network.gateway(ID), [a.url], echo);
    link.start();
    await until(() => a.plane.connections === 1, 'connected');
    hub.registrations.set(ID, { gatewayId: ID, serverId: 'dead', epoch: Date.now() + 1e6 });
    expect(await codeOf(b.plane.call(ID, 'status', {}, OPTIONS))).toBe('ok');
    hub.registrations.set(ID, { gatewayId: ID, serverId: b.bus.serverId, epoch: 1 });
    expect(await codeOf(b.plane.call(ID, 'status', {}, OPTIONS))).toBe('ok');
    hub.registrations.delete(ID);
    expect(await codeOf(b.plane.call(ID, 'status', {}, OPTIONS))).toBe('ok');
    await link.close();
  });

  it('fail by name when the holder dies with a call under way, and the gateway goes to another one', async () => {
    const network = await ControlNetwork.make();
    const hub = new MemoryHub();
    const a = await startServer(network, { hub });
    await using b = await startServer(network, { hub });
    let isSlow = true;
    const link = openLink(
      await network.gateway(ID),
      [a.url, b.url],
      async (request, how) => (isSlow ? hang(request, how) : echo(request, how)),
      eager,
    );
    link.start();
    await until(() => a.plane.connections === 1, 'connected to the first');
    const call = codeOf(b.plane.call(ID, 'status', {}, OPTIONS));
    await systemClock.sleep(50);
    await a.kill();
    expect(await call).toBe('gateway-connection-lost');
    isSlow = false;
    await until(() => b.plane.connections === 1, 'connected to the second');
    expect(await codeOf(b.plane.call(ID, 'status', {}, OPTIONS))).toBe('ok');
    await link.close();
  });

  it('end the older of two connections of a gateway, wherever it is held', async () => {
    const network = await ControlNetwork.make();
    const hub = new MemoryHub();
    await using a = await startServer(network, { hub });
    await using b = await startServer(network, { hub });
    const gateway = await network.gateway(ID);
    const older = openLink(gateway, [a.url], echo);
    older.start();
    await until(() => a.plane.connections === 1, 'the first is connected');
    const newer = openLink(gateway, [b.url], echo);
    newer.start();
    await until(() => b.plane.connections === 1 && a.plane.connections === 0, 'the first is ended');
    await until(() => older.status.state === 'waiting', 'the first waits');
    expect(older.status.lastFailure?.error.code).toBe('connection-replaced');
    expect(newer.status.state).toBe('connected');
    expect(await codeOf(a.plane.call(ID, 'status', {}, OPTIONS))).toBe('ok');
    await Promise.all([older.close(), newer.close()]);
  });

  it('send their gateways elsewhere when they leave, after what is under way is answered', async () => {
    const network = await ControlNetwork.make();
    const hub = new MemoryHub();
    const a = await startServer(network, { hub });
    await using b = await startServer(network, { hub });
    const link = openLink(
      await network.gateway(ID),
      [a.url, b.url],
      async (request, how) => {
        await systemClock.sleep(200);
        return echo(request, how);
      },
      eager,
    );
    link.start();
    await until(() => a.plane.connections === 1, 'connected');
    const call = codeOf(b.plane.call(ID, 'status', {}, OPTIONS));
    await systemClock.sleep(50);
    await a.plane.close();
    expect(await call).toBe('ok');
    await until(() => b.plane.connections === 1, 'connected elsewhere');
    expect(link.status.lastFailure?.error.code).toBe('service-draining');
    await link.close();
    await a[Symbol.asyncDispose]();
  });

  it('cut off a gateway that was deregistered at another one', async () => {
    const network = await ControlNetwork.make();
    const hub = new MemoryHub();
    await using a = await startServer(network, { hub });
    await using b = await startServer(network, { hub });
    const link = openLink(await network.gateway(ID), [a.url], echo);
    link.start();
    await until(() => a.plane.connections === 1, 'connected');
    b.plane.gatewayDeregistered(ID);
    await until(() => a.plane.connections === 0, 'cut off');
    await until(() => link.status.state === 'waiting', 'the gateway knows');
    expect(link.status.lastFailure?.error).toMatchObject({ kind: 'denied', code: 'connection-refused' });
    await link.close();
  });

  it('tell the old holder of a volume that another gateway has taken it over', async () => {
    const network = await ControlNetwork.make();
    const hub = new MemoryHub();
    await using a = await startServer(network, { hub });
    await using b = await startServer(network, { hub });
    const told: unknown[] = [];
    const link = openLink(await network.gateway(ID), [a.url], async (request) => {
      told.push(request);
      return Promise.resolve({});
    });
    link.start();
    await until(() => a.plane.connections === 1, 'connected');
    await b.plane.tellFenced({ volumeId: 'vol-1', oldHolder: ID, newHolder: 'sgw-00000002', epoch: 3 });
    expect(told).toMatchObject([{ kind: 'fenced', volumeId: 'vol-1', byGatewayId: 'sgw-00000002', epoch: 3 }]);
    await link.close();
  });
});
