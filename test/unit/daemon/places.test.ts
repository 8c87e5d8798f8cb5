/** Addresses that a server listens at, also those that it has to wait for. */
import { afterEach, describe, expect, it } from 'vitest';
import { Places } from '../../../src/core/daemon/run/places.ts';
import { SgwError, type Clock } from '../../../src/core/kit/index.ts';
import { tcpAddress, type ListenAddress } from '../../../src/core/sockets/index.ts';

const A = tcpAddress('127.0.0.1:1');
const B = tcpAddress('[::1]:2');
const SOCKET = { kind: 'unix', path: '/run/nbd.sock' } as const;

/** Takes every address but those that are `taken`. */
class FakeServer {
  readonly taken = new Set<ListenAddress>();
  readonly listening: ListenAddress[] = [];
  tries = 0;

  async listen(address: ListenAddress): Promise<ListenAddress> {
    this.tries += 1;
    await Promise.resolve();
    if (this.taken.has(address)) throw new SgwError('unavailable', 'address-in-use', 'it is in use');
    this.listening.push(address);
    return address;
  }

  async unlisten(address: ListenAddress): Promise<void> {
    await Promise.resolve();
    this.listening.splice(this.listening.indexOf(address), 1);
  }
}

/** Sleeps until it is woken. */
class WokenClock implements Clock {
  #wake: (() => void)[] = [];
  nowMs = (): number => 0;
  monotonicMs = (): number => 0;

  get sleepers(): number {
    return this.#wake.length;
  }

  async sleep(_durationMs: number, signal?: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#wake.push(resolve);
      signal?.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
    });
  }

  async wake(): Promise<void> {
    await expect.poll(() => this.sleepers).toBeGreaterThan(0);
    for (const wake of this.#wake.splice(0)) wake();
  }
}

describe('places', () => {
  let server: FakeServer;
  let clock: WokenClock;
  let told: string[];
  let places: Places;

  const begin = (): void => {
    [server, clock, told] = [new FakeServer(), new WokenClock(), []];
    const onChange = (place: string, failure: SgwError | undefined): void => {
      told.push(`${place} ${failure?.code ?? 'listens'}`);
    };
    places = new Places(server, { clock, onChange });
  };
  afterEach(async () => {
    await places.close();
  });

  it('one that can not be had at the start stops no other, and is had as soon as it can be', async () => {
    begin();
    server.taken.add(A);
    expect(await places.apply([SOCKET, A, B], { mayWait: true })).toBe(true);
    expect(server.listening).toEqual([SOCKET, B]);
    expect(places.tcp).toEqual(['[::1]:2']);
    expect(places.waiting).toMatchObject([{ place: '127.0.0.1:1', failure: { code: 'address-in-use' } }]);
    await clock.wake();
    await expect.poll(() => server.tries).toBe(4);
    server.taken.clear();
    await clock.wake();
    await expect.poll(() => places.waiting).toEqual([]);
    expect(places.tcp).toEqual(['[::1]:2', '127.0.0.1:1']);
    // Once each, however often it was tried.
    expect(told).toEqual(['127.0.0.1:1 address-in-use', '127.0.0.1:1 listens']);
    expect(clock.sleepers).toBe(0);
  });

  it('one that is asked for later is refused when it can not be had; one that is waited for already is none of that', async () => {
    begin();
    server.taken.add(A);
    await places.apply([A], { mayWait: true });
    server.taken.add(B);
    await expect(places.apply([A, B])).rejects.toMatchObject({ code: 'address-in-use' });
    expect(await places.apply([A, SOCKET])).toBe(true);
    expect(places.waiting).toMatchObject([{ place: '127.0.0.1:1' }]);
    expect(told).toEqual(['127.0.0.1:1 address-in-use']);
  });

  it('one that is not wanted any more is not waited for', async () => {
    begin();
    server.taken.add(A);
    await places.apply([A], { mayWait: true });
    await places.apply([B]);
    expect(places.waiting).toEqual([]);
    server.taken.clear();
    await clock.wake();
    await places.close();
    expect(server.listening).toEqual([B]);
  });

  it('a socket in a folder is not waited for: who names it has to mend it', async () => {
    begin();
    server.taken.add(SOCKET);
    await expect(places.apply([SOCKET], { mayWait: true })).rejects.toMatchObject({ code: 'address-in-use' });
  });

  it('nothing is tried any more once it is closed', async () => {
    begin();
    server.taken.add(A);
    await places.apply([A], { mayWait: true });
    server.taken.clear();
    await places.close();
    expect(server.listening).toEqual([]);
  });
});
