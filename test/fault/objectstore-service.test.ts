/** A store over the data endpoint over a way that fails: what its errors are, and what comes out of retries. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { seededRandom, systemClock, systemRandom, toSgwError, type SgwError } from '../../src/core/kit/index.ts';
import {
  memoryStore,
  withRetry,
  type Etag,
  type ObjectStore,
  type ServiceIdentity,
} from '../../src/core/objectstore/index.ts';
import { openServiceStore, ServiceStore } from '../../src/core/objectstore/service/index.ts';
import { Budget } from '../../src/core/service/dataendpoint/budget.ts';
import { addRoutes } from '../../src/core/service/dataendpoint/routes.ts';
import { TestAuthority } from '../support/certificates.ts';
import { freePort } from '../support/free-port.ts';
import { GatewayListener } from '../support/gateway-listener.ts';
import { Http2Proxy, type StreamFault } from '../support/http2-proxy.ts';

const IF_ABSENT = { condition: { ifAbsent: true } } as const;
const BODY = seededRandom(3).bytes(300_000);
const LARGE = seededRandom(4).bytes(11 << 20);
const ignore = (): void => undefined;
const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore };

describe('a store over the data endpoint over a way that fails', () => {
  let behind: ObjectStore;
  let listener: GatewayListener;
  let identity: ServiceIdentity;
  let way: Http2Proxy;
  let store: ServiceStore;
  const open = (options: Partial<ConstructorParameters<typeof ServiceStore>[0]> = {}): ServiceStore =>
    new ServiceStore({
      place: { host: '127.0.0.1', port: way.port },
      identity: async () => Promise.resolve(identity),
      clock: systemClock,
      random: systemRandom,
      ...options,
    });

  beforeAll(async () => {
    listener = await GatewayListener.start((app) => {
      addRoutes(app, {
        budget: new Budget(),
        clock: systemClock,
        log: SILENT,
        serve: async () =>
          Promise.resolve({ store: behind, asker: { gatewayId: 'sgw-00000001', accountId: '000000000001' } }),
      });
    });
    identity = await listener.authority.identity('sgw-00000001');
    way = await Http2Proxy.start(listener.authority, listener.port, identity);
  });
  afterAll(async () => {
    await way[Symbol.asyncDispose]();
    await listener[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    behind = memoryStore();
    store = open();
  });
  afterEach(async () => {
    way.fault = undefined;
    way.latencyMs = 0;
    await store.close();
  });

  /** The next request of this method meets the fault, and no other. */
  const once = (method: string, fault: StreamFault): void => {
    let isDone = false;
    way.fault = (passing) => {
      if (isDone || passing.method !== method) return undefined;
      isDone = true;
      return fault;
    };
  };
  const failure = async (promise: Promise<unknown>): Promise<SgwError> =>
    await promise.then(
      () => {
        throw new Error('it succeeded');
      },
      (error: unknown) => toSgwError(error),
    );

  it('goes to another server of the service when its own takes no connection, and stays there', async () => {
    const closed = await freePort();
    const elsewhere = [{ host: '127.0.0.1', port: way.port }];
    const other = open({
      place: { host: '127.0.0.1', port: closed },
      identity: async () => Promise.resolve({ ...identity, elsewhere }),
    });
    const retried = withRetry(other, { clock: systemClock, random: systemRandom });
    try {
      expect(await failure(other.head('k'))).toMatchObject({ kind: 'unavailable', code: 'store-unreachable' });
      expect(await other.head('k')).toBeUndefined();
      await retried.put('k', BODY, IF_ABSENT);
      expect(await other.head('k')).toMatchObject({ sizeBytes: BODY.length });
    } finally {
      await other.close();
    }
  });

  it.each([
    ['busy', 'unavailable', 'store-unreachable'],
    ['foreign', 'unavailable', 'store-unreachable'],
    ['cut', 'unavailable', 'store-unreachable'],
    ['lost', 'unavailable', 'store-unreachable'],
    ['sent-damaged', 'unavailable', 'body-damaged'],
  ] as const)('a put that meets %s fails as %s, and once repeated is stored', async (fault, kind, code) => {
    once('PUT', fault);
    expect(await failure(store.put('k', BODY, IF_ABSENT))).toMatchObject({ kind, code });
    if (fault !== 'lost') expect(await behind.head('k')).toBeUndefined();
    once('PUT', fault);
    const result = await withRetry(store).put('k2', BODY, IF_ABSENT);
    expect(result).toMatchObject(fault === 'lost' ? { ambiguous: true } : { outcome: 'stored' });
    expect((await store.get('k2'))?.bytes.equals(BODY)).toBe(true);
  });

  it.each(['ifAbsent', 'ifMatch'] as const)(
    'a conditional put (%s) whose reply was lost is told as not known, and never as a success of another',
    async (condition) => {
      const first = await store.put('k', Buffer.from('old'));
      const etag: Etag = first.outcome === 'stored' ? first.etag : '';
      const key = condition === 'ifAbsent' ? 'new' : 'k';
      const options = condition === 'ifAbsent' ? IF_ABSENT : ({ condition: { ifMatch: etag } } as const);
      once('PUT', 'lost');
      expect(await withRetry(store).put(key, BODY, options)).toEqual({
        outcome: 'preconditionFailed',
        ambiguous: true,
      });
      expect(await withRetry(store).put(key, BODY, options)).toEqual({ outcome: 'preconditionFailed' });
      expect((await store.get(key))?.bytes.equals(BODY)).toBe(true);
    },
  );

  it('a removal whose reply was lost says that there is nothing any more', async () => {
    await store.put('k', BODY);
    once('DELETE', 'lost');
    expect(await withRetry(store).delete('k')).toBe(false);
    expect(await behind.head('k')).toBeUndefined();
  });

  it.each(['busy', 'foreign', 'cut', 'lost', 'half'] as const)(
    'a get that meets %s is unavailable, and once repeated right; nothing is taken for absent',
    async (fault) => {
      await store.put('k', BODY);
      once('GET', fault);
      expect(await failure(store.get('k'))).toMatchObject({ kind: 'unavailable' });
      once('GET', fault);
      const got = await withRetry(store).get('k', { span: { offset: 1000, length: 200_000 } });
      expect(got?.bytes.equals(BODY.subarray(1000, 201_000))).toBe(true);
      once('HEAD', fault === 'half' ? 'cut' : fault);
      expect(await failure(store.head('k'))).toMatchObject({ kind: 'unavailable' });
    },
  );

  it('what was damaged on its way back is found out', async () => {
    await store.put('k', BODY);
    once('GET', 'got-damaged');
    expect(await failure(store.get('k'))).toMatchObject({ kind: 'unavailable', code: 'body-damaged' });
    once('GET', 'got-damaged');
    expect((await withRetry(store).get('k'))?.bytes.equals(BODY)).toBe(true);
  });

  it('an object of many parts is that of one version', async () => {
    await store.put('k', LARGE);
    expect((await store.get('k'))?.bytes.equals(LARGE)).toBe(true);
    expect((await store.get('k', { span: { suffix: 9 << 20 } }))?.bytes.equals(LARGE.subarray(-(9 << 20)))).toBe(true);
    let parts = 0;
    way.fault = ({ method }) => {
      // Between the first part and the others it becomes another one.
      if (method === 'GET' && ++parts === 1) void behind.put('k', Buffer.alloc(LARGE.length, 1));
      return undefined;
    };
    const got = await withRetry(store).get('k');
    expect(got?.bytes.equals(LARGE) === true || got?.bytes.every((byte) => byte === 1) === true).toBe(true);
    const random = seededRandom(9);
    way.fault = () => (random.float() < 0.2 ? 'cut' : undefined);
    expect((await withRetry(store, { triesMax: 40 }).get('k'))?.bytes.length).toBe(LARGE.length);
  });

  it.each(['half', 'lost', 'cut'] as const)(
    'a list that meets %s goes on behind what it has yielded',
    async (fault) => {
      const keys = Array.from({ length: 200 }, (_, i) => `k/${String(i).padStart(4, '0')}`);
      await Promise.all(keys.map(async (key) => behind.put(key, Buffer.from(key))));
      once('GET', fault);
      expect(await failure(Array.fromAsync(store.list('k/')))).toMatchObject({ kind: 'unavailable' });
      once('GET', fault);
      const listed = await Array.fromAsync(withRetry(store).list('k/'));
      expect(listed.map(({ key }) => key)).toEqual(keys);
    },
  );

  it.each(['silent', 'stall'] as const)('a get that meets %s ends when nothing moved for its time', async (fault) => {
    const patient = open({ idleTimeoutMs: 200 });
    await patient.put('k', BODY);
    once('GET', fault);
    expect(await failure(patient.get('k'))).toMatchObject({ kind: 'timeout', code: 'store-timeout' });
    expect((await patient.get('k'))?.bytes.equals(BODY)).toBe(true);
    await patient.close();
  });

  it('a whole request has its time, however slowly it moves', async () => {
    const hasty = open({ requestTimeoutMs: 200 });
    await hasty.head('k');
    way.latencyMs = 2000;
    expect(await failure(hasty.head('k'))).toMatchObject({ kind: 'timeout', code: 'store-timeout' });
    await hasty.close();
  });

  it('a signal ends a call that waits, with its own reason', async () => {
    await store.put('k', BODY);
    way.fault = ({ method }) => (method === 'GET' ? 'stall' : 'silent');
    for (const call of [
      async (signal: AbortSignal) => store.get('k', { signal }),
      async (signal: AbortSignal) => store.put('k', BODY, { signal }),
      async (signal: AbortSignal) => store.delete('k', { signal }),
      async (signal: AbortSignal) => Array.fromAsync(store.list('', { signal })),
    ]) {
      const stop = new AbortController();
      setTimeout(() => {
        stop.abort();
      }, 100);
      const startedMs = performance.now();
      expect(await failure(call(stop.signal))).toMatchObject({ kind: 'aborted' });
      expect(performance.now() - startedMs).toBeLessThan(10_000);
    }
  });

  it('requests under way are bounded', async () => {
    const narrow = open({ requestsMax: 3 });
    await narrow.put('k', BODY);
    let underWay = 0;
    let most = 0;
    way.latencyMs = 30;
    way.fault = () => {
      underWay += 1;
      most = Math.max(most, underWay);
      setTimeout(() => {
        underWay -= 1;
      }, 25);
      return undefined;
    };
    await Promise.all(Array.from({ length: 20 }, async () => narrow.head('k')));
    expect(most).toBeLessThanOrEqual(3);
    await narrow.close();
  });

  it('a broken session is replaced by one other, whoever asks meanwhile', async () => {
    await store.put('k', BODY);
    const before = way.seen.get('session') ?? 0;
    way.fault = ({ index }) => (index % 10 === 9 ? 'cut' : undefined);
    const retried = withRetry(store, { triesMax: 30 });
    for (let round = 0; round < 6; round++) {
      const heads = await Promise.all(Array.from({ length: 10 }, async () => retried.head('k')));
      for (const head of heads) expect(head?.sizeBytes).toBe(BODY.length);
    }
    // Not one for each request that failed with it.
    expect((way.seen.get('session') ?? 0) - before).toBeLessThan(30);
  });

  it('a server of another authority, one that is away, and a missing identity are told apart', async () => {
    const stranger = await (await TestAuthority.create()).identity('sgw-00000001');
    const place = { host: '127.0.0.1', port: listener.port };
    const distrusting = open({ place, identity: async () => Promise.resolve({ ...identity, ca: stranger.ca }) });
    expect(await failure(distrusting.head('k'))).toMatchObject({ kind: 'denied', code: 'store-certificate' });
    await distrusting.close();
    const distrusted = open({ place, identity: async () => Promise.resolve({ ...stranger, ca: identity.ca }) });
    expect(await failure(distrusted.head('k'))).toMatchObject({ kind: expect.stringMatching(/denied|unavailable/) });
    await distrusted.close();
    const away = open({ place: { host: '127.0.0.1', port: 1 } });
    expect(await failure(away.head('k'))).toMatchObject({ kind: 'unavailable', code: 'store-unreachable' });
    await away.close();
    expect(await failure(openServiceStore({ place }))).toMatchObject({ kind: 'denied', code: 'store-identity' });
  });
});
