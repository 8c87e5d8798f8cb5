import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect } from 'vitest';
import { SgwError, systemClock, systemRandom } from '../../src/core/kit/index.ts';
import type { BusNotice } from '../../src/core/service/controlplane/control-bus.ts';
import { NatsBus, newServerId } from '../../src/core/service/controlplane/nats-bus.ts';
import { requireTool } from '../requirements.ts';
import { codeOf, SILENT, until } from '../support/control/network.ts';
import { NatsServer } from '../support/control/nats-server.ts';
import { describeControlBus } from './control-bus.ts';

const nats = requireTool('nats-server');
const ID = 'sgw-00000001';
const signal = new AbortController().signal;
const HOW = { deadlineMs: 5000, signal, onPart: (): void => undefined };
let server: NatsServer;
let spaces = 0;
let servers = 0;

function busOf(space: string, key: Uint8Array): NatsBus {
  const address = `https://127.0.0.1:${String(++servers)}`;
  return new NatsBus({
    ...{ url: server.url, serverId: newServerId(), address, space, key },
    ...{ clock: systemClock, log: SILENT },
  });
}

if (nats.met) {
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });
  describeControlBus('NATS', async () => {
    const space = `store-${String(++spaces)}`;
    const key = systemRandom.bytes(32);
    return Promise.resolve({
      make: async () => Promise.resolve(busOf(space, key)),
      [Symbol.asyncDispose]: async () => Promise.resolve(),
    });
  });
}

nats.describe('the bus over NATS', () => {
  const peer = {
    onRequest: async (body: unknown) => Promise.resolve(body),
    onNotice: (): void => undefined,
    held: () => [],
  };

  nats.it(
    'is cut off by name while NATS is gone, and registers again what is held when it is back with nothing',
    async () => {
      await using own = await NatsServer.start();
      const saved = server;
      server = own;
      const key = systemRandom.bytes(32);
      const held: { gatewayId: string; serverId: string; epoch: number }[] = [];
      const notices: BusNotice[] = [];
      const a = busOf('lost', key);
      const b = busOf('lost', key);
      server = saved;
      await a.join({ ...peer, held: () => held, onNotice: (notice) => notices.push(notice) });
      await b.join(peer);
      held.push(await a.register(ID, signal));
      await own.down({ loses: true });
      await until(() => !a.isUp && !b.isUp, 'both know that it is gone');
      for (const work of [
        b.lookup(ID, signal),
        b.find(ID, signal),
        b.request(a.serverId, {}, HOW),
        b.register(ID, signal),
      ])
        expect(await codeOf(work)).toBe('control-bus-unavailable');
      await own.up();
      await until(() => a.isUp && b.isUp, 'both know that it is back', 30_000);
      let found = await b.lookup(ID, signal).catch(() => undefined);
      for (let tries = 0; tries < 200 && found === undefined; tries++) {
        await systemClock.sleep(50);
        found = await b.lookup(ID, signal).catch(() => undefined);
      }
      expect(found).toEqual(held[0]);
      expect(await b.request(a.serverId, { say: 1 }, HOW)).toEqual({ say: 1 });
      await Promise.all([a.close(), b.close()]);
    },
  );

  nats.it('goes on when what a gateway says grows beyond what NATS takes as it is written again', async () => {
    const key = systemRandom.bytes(32);
    const bus = busOf('long', key);
    const long = JSON.parse(`[${'1e20,'.repeat(100_000)}1]`) as unknown;
    await bus.join({
      ...peer,
      onRequest: async (body, { onPart }) => {
        onPart(long);
        onPart('short');
        if (body === 'fail') throw new SgwError('invalid', 'long', 'long', { details: { long: JSON.stringify(long) } });
        return Promise.resolve(body);
      },
    });
    const caller = busOf('long', key);
    await caller.join(peer);
    const parts: unknown[] = [];
    expect(await caller.request(bus.serverId, 'go', { ...HOW, onPart: (part) => parts.push(part) })).toBe('go');
    expect(parts).toEqual(['short']);
    expect(await codeOf(caller.request(bus.serverId, 'fail', HOW))).toBe('answer-too-long');
    await Promise.all([bus.close(), caller.close()]);
  });

  nats.it('takes nothing from who has not the key, nothing twice, and nothing that is old', async () => {
    const taken: unknown[] = [];
    const key = systemRandom.bytes(32);
    const bus = busOf('sealed', key);
    await bus.join({ ...peer, onRequest: async (body) => Promise.resolve(taken.push(body)) });
    const stranger = busOf('sealed', systemRandom.bytes(32));
    await stranger.join(peer);
    const caller = new AbortController();
    const unanswered = codeOf(stranger.request(bus.serverId, { from: 'stranger' }, { ...HOW, signal: caller.signal }));
    const friend = busOf('sealed', key);
    await friend.join(peer);
    const watcher = await connect({ servers: server.url });
    const seen: { subject: string; data: Uint8Array; reply?: string }[] = [];
    watcher.subscribe(`sgw.sealed.server.${bus.serverId}`, {
      callback: (_error, { subject, data, reply }) => {
        seen.push({ subject, data, ...(reply === undefined ? {} : { reply }) });
      },
    });
    await watcher.flush();
    await friend.request(bus.serverId, { password: 'swordfish' }, HOW);
    await until(() => seen.length > 0, 'the watcher saw it');
    expect(Buffer.from(seen[0]!.data).toString('latin1')).not.toContain('swordfish');
    const { subject, data, reply } = seen[0]!;
    watcher.publish(subject, data, reply === undefined ? {} : { reply });
    await watcher.flush();
    await friend.request(bus.serverId, { last: true }, HOW);
    expect(taken).toEqual([{ password: 'swordfish' }, { last: true }]);
    caller.abort();
    expect(await unanswered).toBe('aborted');
    const { bytes, late } = await sealedLate(key, subject);
    watcher.publish(subject, bytes, { reply: late });
    await watcher.flush();
    await friend.request(bus.serverId, { after: true }, HOW);
    expect(taken).toHaveLength(3);
    await watcher.close();
    await Promise.all([bus.close(), stranger.close(), friend.close()]);
  });

  nats.it('without JetStream, or without a NATS, fails to join by name', async () => {
    const bus = new NatsBus({
      ...{ url: 'nats://127.0.0.1:1', serverId: newServerId(), address: 'https://127.0.0.1:1', space: 'x' },
      ...{ key: systemRandom.bytes(32), clock: systemClock, log: SILENT },
    });
    expect(await codeOf(bus.join(peer))).toBe('control-bus-unavailable');
    await bus.close();
  });
});

/** A request that was sealed two minutes ago. */
async function sealedLate(key: Uint8Array, subject: string): Promise<{ bytes: Uint8Array; late: string }> {
  const { BusSeal } = await import('../../src/core/service/controlplane/nats-wire.ts');
  const sentAtMs = Date.now() - 120_000;
  const sent = { t: 'request', id: 'old', body: { old: true }, deadlineMs: 1000, sentAtMs } as const;
  return { bytes: new BusSeal(key).seal('sent', subject, sent), late: '_INBOX.late' };
}
