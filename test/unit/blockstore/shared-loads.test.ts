/** Loads that several callers wait for, each with a signal of its own. */
import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { BoundedCache } from '../../../src/core/blockstore/bounded-cache.ts';
import { Catalog, createStore, openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import { SharedLoads } from '../../../src/core/blockstore/shared-loads.ts';
import { SgwError, throwIfAborted } from '../../../src/core/kit/index.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, readAll, stamp } from './volume-model.ts';

interface Gate {
  readonly load: (signal: AbortSignal) => Promise<string>;
  readonly open: () => void;
  readonly signals: AbortSignal[];
}

/** A load that waits for `open`, and then fails if it was told to stop. */
function gated(): Gate {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const signals: AbortSignal[] = [];
  return {
    load: async (signal) => {
      signals.push(signal);
      await opened;
      throwIfAborted(signal);
      return 'loaded';
    },
    open: () => {
      open();
    },
    signals,
  };
}

const aborted = { kind: 'aborted' };

describe('a shared load', () => {
  it('goes on for the others when the one who began it leaves', async () => {
    const loads = new SharedLoads<string>();
    const gate = gated();
    const leaver = new AbortController();
    const first = loads.get('key', gate.load, leaver.signal);
    const second = loads.get('key', gate.load);
    leaver.abort();
    await expect(first).rejects.toMatchObject(aborted);
    gate.open();
    await expect(second).resolves.toBe('loaded');
    expect(gate.signals.length).toBe(1);
  });

  it('stops when the last one has left, and the next one begins anew', async () => {
    const loads = new SharedLoads<string>();
    const gate = gated();
    const leavers = [new AbortController(), new AbortController()];
    const waiting = leavers.map((leaver) => loads.get('key', gate.load, leaver.signal));
    for (const leaver of leavers) leaver.abort();
    for (const waiter of waiting) await expect(waiter).rejects.toMatchObject(aborted);
    expect(gate.signals.map((signal) => signal.aborted)).toEqual([true]);
    const later = loads.get('key', gate.load);
    gate.open();
    await expect(later).resolves.toBe('loaded');
    expect(gate.signals.length).toBe(2);
  });

  it('leaves no listener behind on a signal that lives on', async () => {
    const loads = new SharedLoads<string>();
    const { signal } = new AbortController();
    for (let i = 0; i < 100; i++) await loads.get('key', () => Promise.resolve('loaded'), signal);
    expect(getEventListeners(signal, 'abort').length).toBe(0);
  });

  it('fails for all who wait, and is tried again by the next', async () => {
    const cache = new BoundedCache<string>(100, () => 1);
    const fail = (): Promise<string> => Promise.reject(new SgwError('unavailable', 'away', 'the store is away'));
    const both = await Promise.allSettled([cache.get('key', fail), cache.get('key', fail)]);
    expect(both.map((outcome) => outcome.status)).toEqual(['rejected', 'rejected']);
    await expect(cache.get('key', () => Promise.resolve('loaded'))).resolves.toBe('loaded');
  });

  it('of a map node does not fail a commit because a reader of the same node was stopped', async () => {
    const options = optionsOver();
    await createStore(options);
    const volume = await new Catalog(options).createVolume({ name: 'golden', sizeBytes: 1 << 20, accountId: ACCOUNT });
    const image = Buffer.alloc(1 << 20);
    stamp(1).copy(image);
    const how = { holder, accountId: ACCOUNT };
    const first = await openVolumeWriter(options, volume.volumeId, how);
    await first.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
    await first.close();
    const writer = await openVolumeWriter(options, volume.volumeId, how);
    const reader = new AbortController();
    const read = Array.fromAsync(writer.map.leaves({ signal: reader.signal }));
    stamp(2).copy(image, 65536);
    const commit = writer.commit({ encoded: [encodeBlocks(image, [1])], consistent: true });
    reader.abort();
    await expect(read).rejects.toMatchObject(aborted);
    await commit;
    await writer.close();
    expect((await readAll(writer)).equals(image)).toBe(true);
  });
});
