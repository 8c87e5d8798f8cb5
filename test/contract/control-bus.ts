/** What every `ControlBus` promises. */
import { describe, expect, it } from 'vitest';
import { SgwError, systemClock } from '../../src/core/kit/index.ts';
import type { BusNotice, BusPeer, ControlBus, Registration } from '../../src/core/service/controlplane/control-bus.ts';
import { codeOf, until } from '../support/control/network.ts';

/** Buses that reach each other. */
export interface BusWorld extends AsyncDisposable {
  /** A bus of a new server. */
  make(): Promise<ControlBus>;
}

const ID = 'sgw-00000001';
const signal = new AbortController().signal;
const HOW = { deadlineMs: 5000, signal, onPart: (): void => undefined };

class Peer implements BusPeer {
  readonly notices: BusNotice[] = [];
  readonly registrations: Registration[] = [];
  readonly onRequest: BusPeer['onRequest'];

  constructor(onRequest: BusPeer['onRequest'] = async (body) => Promise.resolve({ echo: body })) {
    this.onRequest = onRequest;
  }

  readonly onNotice = (notice: BusNotice): void => {
    this.notices.push(notice);
  };

  readonly held = (): readonly Registration[] => this.registrations;
}

export function describeControlBus(name: string, open: () => Promise<BusWorld>): void {
  describe(`${name}: the contract of the control bus`, () => {
    const inWorld = (title: string, body: (world: BusWorld) => Promise<void>): void => {
      it(title, async () => {
        await using world = await open();
        await body(world);
      });
    };
    const joined = async (world: BusWorld, peer = new Peer()): Promise<{ bus: ControlBus; peer: Peer }> => {
      const bus = await world.make();
      await bus.join(peer, signal);
      return { bus, peer };
    };

    inWorld('registers with growing epochs, and tells every server of it', async (world) => {
      const a = await joined(world);
      const b = await joined(world);
      expect(await b.bus.lookup(ID, signal)).toBeUndefined();
      const first = await a.bus.register(ID, signal);
      expect(first).toMatchObject({ gatewayId: ID, serverId: a.bus.serverId });
      const second = await b.bus.register(ID, signal);
      expect(second.epoch).toBeGreaterThan(first.epoch);
      expect(await a.bus.lookup(ID, signal)).toEqual(second);
      const isTold = (peer: Peer): boolean =>
        peer.notices.some((notice) => notice.kind === 'registered' && notice.registration.epoch === second.epoch);
      await until(() => isTold(a.peer) && isTold(b.peer), 'both are told');
      await Promise.all([a.bus.close(), b.bus.close()]);
    });

    inWorld('gives each of many that register at once an epoch of its own', async (world) => {
      const buses = await Promise.all([1, 2, 3].map(async () => joined(world)));
      const made = await Promise.all(buses.flatMap(({ bus }) => [1, 2, 3].map(async () => bus.register(ID, signal))));
      const epochs = made.map(({ epoch }) => epoch);
      expect(new Set(epochs).size).toBe(9);
      expect((await buses[0]!.bus.lookup(ID, signal))?.epoch).toBe(Math.max(...epochs));
      await Promise.all(buses.map(async ({ bus }) => bus.close()));
    });

    inWorld('takes away a registration only while it is the newest', async (world) => {
      const a = await joined(world);
      const b = await joined(world);
      const old = await a.bus.register(ID, signal);
      const now = await b.bus.register(ID, signal);
      await a.bus.deregister(old);
      expect(await a.bus.lookup(ID, signal)).toEqual(now);
      await b.bus.deregister(now);
      expect(await a.bus.lookup(ID, signal)).toBeUndefined();
      const again = await a.bus.register(ID, signal);
      expect(again.epoch).toBeGreaterThan(0);
      await Promise.all([a.bus.close(), b.bus.close()]);
    });

    inWorld('carries a request to a server, what it sends before the answer, and the answer', async (world) => {
      const a = await joined(world);
      const b = await joined(
        world,
        new Peer(async (body, { onPart }) => {
          onPart({ done: 1 });
          onPart({ done: 2 });
          await systemClock.sleep(5);
          return { echo: body };
        }),
      );
      const parts: unknown[] = [];
      const onPart = (part: unknown): void => {
        parts.push(part);
      };
      expect(await a.bus.request(b.bus.serverId, { say: 'hä' }, { ...HOW, onPart })).toEqual({ echo: { say: 'hä' } });
      expect(parts).toEqual([{ done: 1 }, { done: 2 }]);
      await Promise.all([a.bus.close(), b.bus.close()]);
    });

    inWorld('carries an answer of many megabytes', async (world) => {
      const a = await joined(world);
      const long = 'Zeichen"'.repeat(1 << 20);
      const b = await joined(world, new Peer(async () => Promise.resolve({ long })));
      expect(await a.bus.request(b.bus.serverId, {}, { ...HOW, deadlineMs: 30_000 })).toEqual({ long });
      await Promise.all([a.bus.close(), b.bus.close()]);
    });

    inWorld('carries a failure whole', async (world) => {
      const a = await joined(world);
      const failure = new SgwError('conflict', 'volume-held', 'it is held', { hint: 'wait', details: { by: 'x' } });
      const b = await joined(world, new Peer(async () => Promise.reject(failure)));
      await expect(a.bus.request(b.bus.serverId, {}, HOW)).rejects.toMatchObject({
        kind: 'conflict',
        code: 'volume-held',
        message: 'it is held',
        hint: 'wait',
        details: { by: 'x' },
      });
      await Promise.all([a.bus.close(), b.bus.close()]);
    });

    inWorld('says at once that a server is not there, and that it took nothing', async (world) => {
      const a = await joined(world);
      const startedMs = performance.now();
      await expect(a.bus.request('srv-nobody', {}, HOW)).rejects.toMatchObject({
        code: 'control-server-gone',
        details: { taken: false },
      });
      expect(performance.now() - startedMs).toBeLessThan(2000);
      await a.bus.close();
    });

    inWorld(
      'ends a request at its deadline, and with its caller, and the other server is told to stop',
      async (world) => {
        const a = await joined(world);
        const stopped: string[] = [];
        const b = await joined(
          world,
          new Peer(async (_body, how) => {
            await systemClock.sleep(60_000, how.signal).catch(() => undefined);
            stopped.push('stopped');
            return {};
          }),
        );
        expect(await codeOf(a.bus.request(b.bus.serverId, {}, { ...HOW, deadlineMs: 200 }))).toBe('gateway-timed-out');
        await until(() => stopped.length === 1, 'stopped at the deadline');
        const caller = new AbortController();
        const request = codeOf(a.bus.request(b.bus.serverId, {}, { ...HOW, signal: caller.signal }));
        await systemClock.sleep(100);
        caller.abort(new SgwError('aborted', 'caller-gone', 'gone'));
        expect(await request).toBe('caller-gone');
        await until(() => stopped.length === 2, 'stopped with the caller');
        await Promise.all([a.bus.close(), b.bus.close()]);
      },
    );

    inWorld('finds the server that holds a gateway by asking all', async (world) => {
      const a = await joined(world);
      const b = await joined(world);
      const held = { gatewayId: ID, serverId: b.bus.serverId, epoch: 5 };
      expect(await a.bus.find(ID, signal)).toBeUndefined();
      b.peer.registrations.push(held);
      expect(await a.bus.find(ID, signal)).toEqual(held);
      await Promise.all([a.bus.close(), b.bus.close()]);
    });

    inWorld('tells all servers what is to be known, the teller too', async (world) => {
      const a = await joined(world);
      const b = await joined(world);
      a.bus.notify({ kind: 'deregistered', gatewayId: ID });
      const isTold = (peer: Peer): boolean => peer.notices.some((notice) => notice.kind === 'deregistered');
      await until(() => isTold(a.peer) && isTold(b.peer), 'both are told');
      await Promise.all([a.bus.close(), b.bus.close()]);
    });

    inWorld('knows the addresses of the servers, and forgets one that leaves', async (world) => {
      const a = await joined(world);
      expect(await a.bus.servers(signal)).toHaveLength(1);
      const b = await joined(world);
      expect(await b.bus.servers(signal)).toHaveLength(2);
      await a.bus.close();
      const c = await joined(world);
      expect(await c.bus.servers(signal)).toHaveLength(2);
      await Promise.all([b.bus.close(), c.bus.close()]);
    });

    inWorld('takes what it holds away when it closes', async (world) => {
      const a = await joined(world);
      const b = await joined(world);
      a.peer.registrations.push(await a.bus.register(ID, signal));
      await a.bus.close();
      await a.bus.close();
      expect(await b.bus.lookup(ID, signal)).toBeUndefined();
      expect(await codeOf(b.bus.request(a.bus.serverId, {}, HOW))).toBe('control-server-gone');
      await b.bus.close();
    });
  });
}
