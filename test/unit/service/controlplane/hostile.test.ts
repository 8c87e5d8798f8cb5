/** A gateway that does not keep to the protocol of the control plane, and connections that are not what they seem. */
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { CONTROL_CLOSE, type HelloFrame } from '../../../../src/core/protocol/index.ts';
import { backOffMs, chooseServer, hasStood } from '../../../../src/core/gateway/remote/back-off.ts';
import {
  ANNA,
  codeOf,
  ControlNetwork,
  openLink,
  startServer,
  until,
  type GatewayOnNet,
  type ListeningServer,
} from '../../../support/control/network.ts';

const ID = 'sgw-00000001';
const signal = new AbortController().signal;
let network: ControlNetwork;
let server: ListeningServer;
let gateway: GatewayOnNet;

beforeAll(async () => {
  network = await ControlNetwork.make();
  server = await startServer(network, { parts: { pingMs: 200 } });
  gateway = await network.gateway(ID);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const HELLO: HelloFrame = {
  ...{ kind: 'hello', versions: [1], gatewayId: ID, software: '1.0.0', configurationVersion: 1 },
  remoteManagement: true,
};

/** A connection that this test speaks on. */
async function dial(options: { readonly autoPong?: boolean } = {}): Promise<WebSocket> {
  const { ca, certificate: cert, privateKey: key } = gateway.identity;
  const socket = new WebSocket(`${server.url.replace('https', 'wss')}/control`, { ca, cert, key, ...options });
  socket.on('error', () => undefined);
  await once(socket, 'open');
  return socket;
}

/** Sends a frame, and gives what comes back. */
async function answered(socket: WebSocket, frame: unknown): Promise<Record<string, unknown>> {
  const answer = once(socket, 'message');
  socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  const [data] = (await answer) as [Buffer];
  return JSON.parse(data.toString()) as Record<string, unknown>;
}

async function closeCode(socket: WebSocket): Promise<number> {
  const [code] = (await once(socket, 'close')) as [number];
  return code;
}

describe('a connection of the control plane', () => {
  it('needs a certificate of the service', async () => {
    const socket = new WebSocket(`${server.url.replace('https', 'wss')}/control`, { ca: gateway.identity.ca });
    const [error] = (await once(socket, 'error')) as [Error];
    expect(error).toBeInstanceOf(Error);
  });

  it('that does not begin with hello, or says that it is another gateway, is refused by name', async () => {
    for (const [frame, code] of [
      ['no json', 'bad-control-frame'],
      [{ kind: 'result', id: 'x' }, 'bad-control-frame'],
      [{ ...HELLO, gatewayId: 'sgw-00000002' }, 'gateway-differs'],
      [{ ...HELLO, versions: [99] }, 'gateway-outdated'],
    ] as const) {
      const socket = await dial();
      expect(await answered(socket, frame)).toMatchObject({ kind: 'refused', error: { code } });
      expect(await closeCode(socket)).toBe(CONTROL_CLOSE.refused);
    }
  });

  it('is cut off when something comes that nobody asked for', async () => {
    for (const frame of [HELLO, { kind: 'result', id: 'never-asked', result: 1 }, { kind: 'dance' }, 'no json']) {
      const socket = await dial();
      expect(await answered(socket, HELLO)).toMatchObject({ kind: 'welcome' });
      socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
      expect(await closeCode(socket)).toBe(CONTROL_CLOSE.badFrame);
    }
  });

  it('is cut off by a frame that is larger than any may be', async () => {
    const socket = await dial();
    await answered(socket, HELLO);
    socket.send('x'.repeat((1 << 20) + 1));
    expect([1006, 1009]).toContain(await closeCode(socket));
    await until(() => server.plane.connections === 0, 'gone');
  });

  it('that answers no ping counts as gone', async () => {
    const socket = await dial({ autoPong: false });
    await answered(socket, HELLO);
    await closeCode(socket);
    await until(() => server.plane.connections === 0, 'gone');
  });

  it('costs the service a bounded answer, however much comes', async () => {
    const socket = await dial();
    await answered(socket, HELLO);
    socket.on('message', (data: Buffer) => {
      const { id, kind } = JSON.parse(data.toString()) as { id: string; kind: string };
      if (kind !== 'call') return;
      for (let part = 0; part < 80; part++)
        socket.send(JSON.stringify({ kind: 'part', id, text: 'x'.repeat(512 << 10) }));
    });
    const call = server.plane.call(ID, 'status', {}, { accountId: ANNA, deadlineMs: 20_000, signal });
    expect(await codeOf(call)).toBe('answer-too-long');
    socket.terminate();
  });

  it('costs the service no more by parts without text', async () => {
    const socket = await dial();
    await answered(socket, HELLO);
    const options = { accountId: ANNA, deadlineMs: 60_000, signal };
    socket.on('message', (data: Buffer) => {
      const { id, kind } = JSON.parse(data.toString()) as { id: string; kind: string };
      if (kind !== 'call') return;
      const frame = JSON.stringify({ kind: 'part', id, text: '' });
      for (let part = 0; part < 33_000; part++) socket.send(frame);
    });
    expect(await codeOf(server.plane.call(ID, 'status', {}, options))).toBe('answer-too-long');
    socket.terminate();
    await until(() => server.plane.connections === 0, 'gone');
  });

  it('is cut off by what is nested so deep that nothing could write it down again, and so is a long result', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const nested: readonly ((id: string) => string[])[] = [
      (id) => [`{"kind":"progress","id":"${id}","progress":{"label":"","doneBytes":0,"totalBytes":0,"more":${deep}}}`],
      (id) => [`{"kind":"result","id":"${id}","result":${deep}}`],
      (id) => [
        `{"kind":"error","id":"${id}","error":{"code":"x","kind":"x","message":"","hint":null,"details":{"x":${deep}}}}`,
      ],
      (id) => [JSON.stringify({ kind: 'part', id, text: deep }), JSON.stringify({ kind: 'result', id })],
    ];
    const codes: string[] = [];
    for (const frames of nested) {
      const socket = await dial();
      await answered(socket, HELLO);
      socket.on('message', (data: Buffer) => {
        const { id, kind } = JSON.parse(data.toString()) as { id: string; kind: string };
        if (kind === 'call') for (const frame of frames(id)) socket.send(frame);
      });
      const told: unknown[] = [];
      const options = { accountId: ANNA, deadlineMs: 20_000, signal, onProgress: (one: unknown) => told.push(one) };
      codes.push(await codeOf(server.plane.call(ID, 'status', {}, options)));
      expect(told).toEqual([]);
      socket.terminate();
      await until(() => server.plane.connections === 0, 'gone');
    }
    expect(codes).toEqual([...Array<string>(3).fill('gateway-connection-lost'), 'internal']);
  });

  it('tells of progress what progress has, and nothing that it adds', async () => {
    const socket = await dial();
    await answered(socket, HELLO);
    const progress = { label: 'copying', doneBytes: 1, totalBytes: 2 };
    socket.on('message', (data: Buffer) => {
      const { id, kind } = JSON.parse(data.toString()) as { id: string; kind: string };
      if (kind !== 'call') return;
      socket.send(JSON.stringify({ kind: 'progress', id, progress: { ...progress, more: 'x'.repeat(500_000) } }));
      socket.send(JSON.stringify({ kind: 'result', id, result: {} }));
    });
    const told: unknown[] = [];
    const options = { accountId: ANNA, deadlineMs: 20_000, signal, onProgress: (one: unknown) => told.push(one) };
    await server.plane.call(ID, 'status', {}, options);
    expect(told).toEqual([progress]);
    socket.terminate();
    await until(() => server.plane.connections === 0, 'gone');
  });

  it('that answers no JSON in parts fails the call alone', async () => {
    const socket = await dial();
    await answered(socket, HELLO);
    socket.on('message', (data: Buffer) => {
      const { id, kind } = JSON.parse(data.toString()) as { id: string; kind: string };
      if (kind !== 'call') return;
      socket.send(JSON.stringify({ kind: 'part', id, text: '{"half":' }));
      socket.send(JSON.stringify({ kind: 'result', id }));
    });
    const options = { accountId: ANNA, deadlineMs: 5000, signal };
    expect(await codeOf(server.plane.call(ID, 'status', {}, options))).toBe('internal');
    expect(server.plane.connections).toBe(1);
    socket.terminate();
    await until(() => server.plane.connections === 0, 'gone');
  });
});

describe('a gateway', () => {
  it('runs a call of the same id once', async () => {
    let ran = 0;
    const link = openLink(gateway, [server.url], async () => {
      ran += 1;
      return Promise.resolve({});
    });
    link.start();
    await until(() => server.plane.connections === 1, 'connected');
    const routed = {
      ...{ id: 'the-same', gatewayId: ID, accountId: ANNA, deadlineMs: 5000 },
      request: { kind: 'call', operation: 'status', input: {}, lockTimeoutMs: 1, deadlineMs: 5000 },
    };
    const ask = async (): Promise<unknown> =>
      server.bus.request(server.bus.serverId, routed, { deadlineMs: 5000, signal, onPart: () => undefined });
    expect(await ask()).toEqual({});
    expect(await codeOf(ask())).toBe('call-repeated');
    expect(ran).toBe(1);
    await link.close();
  });

  it('gives a server up that is silent, or is not one of its service', async () => {
    const other = await ControlNetwork.make();
    await using stranger = await startServer(other);
    const link = openLink(gateway, [stranger.url], async () => Promise.resolve({}));
    link.start();
    await until(() => link.status.lastFailure !== null, 'refused');
    expect(link.status.lastFailure?.error.code).toBe('service-unreachable');
    expect(stranger.plane.connections).toBe(0);
    await link.close();
    const lost = openLink(gateway, ['https://127.0.0.1:1'], async () => Promise.resolve({}));
    lost.start();
    await until(() => lost.status.state === 'waiting', 'waits');
    expect(lost.status).toMatchObject({ server: 'https://127.0.0.1:1', connections: 0 });
    await lost.close();
    expect(lost.status.state).toBe('closed');
  });

  it('spreads its tries over a time that grows to a bound, and tries another server than the one that failed', () => {
    const at = (float: number) => ({ float: () => float, bytes: () => Buffer.alloc(4) });
    expect(backOffMs('failed', 0, at(0.5))).toBe(2000);
    expect(backOffMs('failed', 1, at(1))).toBe(8000);
    expect(backOffMs('failed', 50, at(1))).toBe(60_000);
    expect(backOffMs('draining', 0, at(1))).toBe(1500);
    expect(backOffMs('refused', 0, at(1))).toBe(60_000);
    expect(backOffMs('refused', 50, at(1))).toBe(120_000);
    expect(backOffMs('failed', 9, at(0))).toBe(0);
    for (const float of [0, 0.5, 0.99]) {
      expect(chooseServer(['a', 'b'], 'a', at(float))).toBe('b');
      expect(chooseServer(['a'], 'a', at(float))).toBe('a');
    }
    expect(chooseServer([], undefined, at(0))).toBeUndefined();
  });

  it('forgets the tries before a connection that was of use, and not before one that a server died of', () => {
    const short = { lastedMs: 900, isWelcomed: true, callsTaken: 0, ending: 'failed' } as const;
    expect(hasStood(short)).toBe(false);
    expect(hasStood({ ...short, lastedMs: 10_000 })).toBe(true);
    expect(hasStood({ ...short, callsTaken: 1 })).toBe(true);
    expect(hasStood({ ...short, ending: 'draining' })).toBe(true);
    // One that leaves is asked again and again by who does not hear it, unless that counts.
    expect(hasStood({ ...short, ending: 'draining', isWelcomed: false })).toBe(false);
    expect(hasStood({ ...short, ending: 'refused' })).toBe(false);
  });
});
