/** A store in a bucket over a way that fails: what its errors are, and what comes out of retries. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { seededRandom, toSgwError, type SgwError } from '../../src/core/kit/index.ts';
import { parseS3Place, withRetry, type Etag } from '../../src/core/objectstore/index.ts';
import { S3Store, type S3StoreOptions } from '../../src/core/objectstore/s3/index.ts';
import { requireRadosgw, S3_ENVIRONMENT, type Radosgw } from '../support/radosgw.ts';
import { S3Proxy, type WayFault } from '../support/s3-proxy.ts';
import { sharedRadosgw } from '../support/shared-radosgw.ts';

const IF_ABSENT = { condition: { ifAbsent: true } } as const;
const BODY = seededRandom(3).bytes(300_000);

requireRadosgw().describe('a store in a bucket over a way that fails', () => {
  let server: Radosgw;
  let way: S3Proxy;
  let store: S3Store;
  let stores = 0;
  const open = (options: Partial<S3StoreOptions> = {}): S3Store =>
    new S3Store({ place: parseS3Place(server.storeUrl(`fault-${String(stores++)}`, way.port)), ...options });

  beforeAll(async () => {
    server = await sharedRadosgw();
    way = await S3Proxy.start({ port: server.port });
  });
  afterAll(async () => {
    await way[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    store = open();
  });
  afterEach(async () => {
    way.fault = undefined;
    way.latencyMs = 0;
    await store.close();
  });

  /** The next request of this method meets the fault, and no other. */
  const once = (method: string, fault: WayFault): void => {
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

  it.each([
    ['busy', 'unavailable', 'store-busy'],
    ['conflict', 'unavailable', 'store-conflict'],
    ['cut', 'unavailable', 'store-unreachable'],
    ['lost', 'unavailable', 'store-unreachable'],
    ['sent-damaged', 'unavailable', 'body-damaged'],
  ] as const)('a put that meets %s fails as %s, and once repeated is stored', async (fault, kind, code) => {
    once('PUT', fault);
    expect(await failure(store.put('k', BODY, IF_ABSENT))).toMatchObject({ kind, code });
    once('PUT', fault);
    const result = await withRetry(store).put('k2', BODY, IF_ABSENT);
    expect(result.outcome).toBe('stored');
    expect((await store.get('k2'))?.bytes.equals(BODY)).toBe(true);
  });

  it.each(['ifAbsent', 'ifMatch'] as const)(
    'a conditional put (%s) whose reply was lost is told from the success of another',
    async (condition) => {
      // The first replacement finds out how this server takes etags: the next one is a single request.
      let etag: Etag = '';
      for (const body of ['older', 'old']) {
        const put = await store.put('k', Buffer.from(body), etag === '' ? {} : { condition: { ifMatch: etag } });
        etag = put.outcome === 'stored' ? put.etag : '';
      }
      const key = condition === 'ifAbsent' ? 'new' : 'k';
      const options = condition === 'ifAbsent' ? IF_ABSENT : ({ condition: { ifMatch: etag } } as const);
      once('PUT', 'lost');
      const mine = await withRetry(store).put(key, BODY, options);
      expect(mine).toEqual({ outcome: 'stored', etag: (await store.head(key))?.etag });
      // The same bytes by another caller are no success of this one.
      expect(await withRetry(store).put(key, BODY, options)).toEqual({ outcome: 'preconditionFailed' });
    },
  );

  it('a reply that was lost before another writer came is told as not known', async () => {
    const other = open();
    let puts = 0;
    way.fault = ({ method }) => (method === 'PUT' && puts++ === 0 ? 'lost' : undefined);
    const retried = withRetry(store, {
      onRetry: () => undefined,
      clock: {
        nowMs: () => Date.now(),
        monotonicMs: () => performance.now(),
        // Between the tries of the first, the other one replaces what it stored.
        sleep: async () => {
          await new S3Store({ place: parseS3Place(store.description) }).put('k', Buffer.from('other'));
        },
      },
    });
    expect(await retried.put('k', BODY, IF_ABSENT)).toEqual({ outcome: 'preconditionFailed', ambiguous: true });
    await other.close();
  });

  it.each(['busy', 'cut', 'lost', 'half'] as const)(
    'a get that meets %s is unavailable, and once repeated right',
    async (fault) => {
      await store.put('k', BODY);
      once('GET', fault);
      expect(await failure(store.get('k'))).toMatchObject({ kind: 'unavailable' });
      once('GET', fault);
      const got = await withRetry(store).get('k', { span: { offset: 1000, length: 200_000 } });
      expect(got?.bytes.equals(BODY.subarray(1000, 201_000))).toBe(true);
    },
  );

  it('what was damaged on its way back is read again', async () => {
    await store.put('k', BODY);
    once('GET', 'got-damaged');
    expect((await store.get('k'))?.bytes.equals(BODY)).toBe(true);
    expect(way.seen.get('got-damaged')).toBe(1);
  });

  it.each(['silent', 'stall'] as const)('a get that meets %s ends when nothing moved for its time', async (fault) => {
    const patient = open({ idleTimeoutMs: 300 });
    await patient.put('k', BODY);
    once('GET', fault);
    expect(await failure(patient.get('k'))).toMatchObject({ kind: 'timeout', code: 'store-timeout' });
    await patient.close();
  });

  it('a whole request has its time, however slowly it moves', async () => {
    const hasty = open({ requestTimeoutMs: 200 });
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
      // Without its signal it would wait for the 15 s in which nothing moves.
      expect(performance.now() - startedMs).toBeLessThan(12_000);
    }
  });

  it('a read that gets no answer is tried a second time, and wins', async () => {
    const hasty = open({ idleTimeoutMs: 1000 });
    await hasty.put('k', BODY);
    const span = { offset: 0, length: 1000 };
    for (let i = 0; i < 80; i++) await hasty.get('k', { span });
    // The budget may be spent on what was slow by itself; then the read before the next one has to be repeated.
    for (let round = 0; round < 8 && hasty.hedges.won === 0; round++) {
      for (let i = 0; i < 20; i++) await hasty.get('k', { span });
      once('GET', 'silent');
      expect((await withRetry(hasty).get('k', { span }))?.bytes.length).toBe(1000);
    }
    expect(hasty.hedges.won).toBeGreaterThanOrEqual(1);
    await hasty.close();
  });

  it('requests under way are bounded', async () => {
    const narrow = open({ requestsMax: 3, hedges: false });
    await narrow.put('k', BODY);
    let underWay = 0;
    let most = 0;
    way.latencyMs = 30;
    const counted = async (): Promise<void> => {
      await narrow.head('k');
    };
    way.fault = () => {
      underWay += 1;
      most = Math.max(most, underWay);
      setTimeout(() => {
        underWay -= 1;
      }, 25);
      return undefined;
    };
    await Promise.all(Array.from({ length: 20 }, counted));
    expect(most).toBeLessThanOrEqual(3);
    await narrow.close();
  });

  it('wrong credentials, a missing bucket and a server that is away are told apart, and no secret is told', async () => {
    process.env['AWS_SECRET_ACCESS_KEY'] = 'not-the-right-secret';
    const denied = await failure(open().head('k'));
    const wrong = await failure(open().put('k', BODY));
    process.env['AWS_ACCESS_KEY_ID'] = 'nobody-knows-me';
    const unknown = await failure(open().put('k', BODY));
    Object.assign(process.env, S3_ENVIRONMENT);
    expect(denied).toMatchObject({ kind: 'denied' });
    expect(wrong).toMatchObject({ kind: 'denied', code: 'store-denied' });
    expect(unknown).toMatchObject({ kind: 'denied', code: 'store-denied' });
    for (const error of [denied, wrong, unknown]) {
      const told = JSON.stringify([error.toDocument(), String(error.cause), error.stack]);
      expect(told).not.toMatch(/not-the-right-secret|nobody-knows-me|Signature=/);
    }
    const place = parseS3Place(server.storeUrl('x').replace('s3://store/', 's3://absent/'));
    expect(await failure(new S3Store({ place }).get('k'))).toMatchObject({ kind: 'unavailable', code: 'store-gone' });
    const away = parseS3Place('s3://store/x?endpoint=http://127.0.0.1:1&region=default');
    expect(await failure(new S3Store({ place: away }).get('k'))).toMatchObject({
      kind: 'unavailable',
      code: 'store-unreachable',
    });
  });
});
