/** What a call is told of a store that could not be opened: never what was before the call. */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { LateStore } from '../../../src/core/gateway/late-store.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { ManualClock } from '../objectstore/manual-clock.ts';
import { GatewayRig } from './rig.ts';

const away = (): SgwError => new SgwError('unavailable', 'store-unreachable', 'the store could not be asked');

interface Try {
  readonly signal: AbortSignal;
  readonly succeed: (store: ObjectStore) => void;
  readonly fail: (error: Error) => void;
}

/** Each try ends as the test says. */
class Tries {
  readonly all: Try[] = [];

  readonly open = async (signal: AbortSignal): Promise<ObjectStore> => {
    const { promise, resolve, reject } = Promise.withResolvers<ObjectStore>();
    this.all.push({ signal, succeed: resolve, fail: reject });
    return await promise;
  };

  async begun(index: number): Promise<Try> {
    for (;;) {
      const found = this.all[index];
      if (found !== undefined) return found;
      await turn();
    }
  }
}

describe('a store that could not be opened yet', () => {
  it('a call at once after a failed try asks again, and finds the store that is back', async () => {
    const [tries, clock] = [new Tries(), new ManualClock()];
    const store = new LateStore('s3://b', tries.open, clock);
    const head = store.head('k');
    (await tries.begun(0)).succeed(memoryStore());
    expect(await head).toBeUndefined();
    // Not sooner than is good for a store that is away still.
    expect(clock.sleeps).toEqual([500]);
  });

  it('a call that comes during a try of before is not told what that found', async () => {
    const tries = new Tries();
    const store = new LateStore('s3://b', tries.open, new ManualClock());
    const early = store.head('k');
    const first = await tries.begun(0);
    const late = [store.head('k'), store.get('k')];
    await turn();
    first.fail(away());
    await expect(early).rejects.toMatchObject({ kind: 'unavailable', code: 'store-unreachable' });
    (await tries.begun(1)).succeed(memoryStore());
    expect(await Promise.all(late)).toEqual([undefined, undefined]);
    expect(tries.all).toHaveLength(2);
  });

  it('a call fails with the first try that began after it', async () => {
    const tries = new Tries();
    const store = new LateStore('s3://b', tries.open, new ManualClock());
    const early = store.head('k');
    const first = await tries.begun(0);
    const late = store.head('k');
    first.fail(away());
    await expect(early).rejects.toMatchObject({ code: 'store-unreachable' });
    (await tries.begun(1)).fail(new SgwError('notFound', 'store-missing', 'there is no store'));
    // It may be there later, whatever it looks like now.
    await expect(late).rejects.toMatchObject({ kind: 'unavailable', code: 'store-missing' });
  });

  it('a call that is stopped leaves, and the try goes on for the others', async () => {
    const tries = new Tries();
    const store = new LateStore('s3://b', tries.open, new ManualClock());
    const stop = new AbortController();
    const stopped = store.head('k', { signal: stop.signal });
    const other = store.head('k');
    const first = await tries.begun(0);
    stop.abort();
    await expect(stopped).rejects.toMatchObject({ kind: 'aborted' });
    expect(first.signal.aborted).toBe(false);
    first.succeed(memoryStore());
    expect(await other).toBeUndefined();
  });

  it('closing it stops the try, and closes what was opened', async () => {
    const tries = new Tries();
    const store = new LateStore('s3://b', tries.open, new ManualClock());
    const head = store.head('k');
    const { signal, fail } = await tries.begun(0);
    signal.addEventListener('abort', () => {
      fail(new Error('stopped'));
    });
    const closed = store.close();
    await expect(head).rejects.toMatchObject({ kind: 'aborted' });
    await closed;
    await expect(store.head('k')).rejects.toMatchObject({ kind: 'aborted' });
    expect(tries.all).toHaveLength(1);
  });
});

describe('the store of a home', () => {
  it('a call that comes while another one fails to open it tries itself', async () => {
    const tries = new Tries();
    await using activated = await GatewayRig.start();
    let calls = 0;
    await using rig = activated.again({
      storeAt: async () => await tries.open(new AbortController().signal),
      limitStores: () => (calls += 1),
    });
    const early = rig.call('volume.list', {});
    const first = await tries.begun(0);
    const late = rig.call('volume.list', {});
    while (calls < 2) await turn();
    first.fail(away());
    await expect(early).rejects.toMatchObject({ code: 'store-unreachable' });
    (await tries.begun(1)).succeed(activated.objects);
    expect(await late).toMatchObject({ volumes: [] });
  });
});
