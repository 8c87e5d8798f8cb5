/**
 * What others do while gc runs, each stopped at every call of the store in turn, with gc and its opponent running wholly
 * meanwhile (C2, C10, C11). Whoever is stopped goes on afterwards.
 */
import { describe, expect, it } from 'vitest';
import {
  Catalog,
  createSnapshot,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
} from '../../../src/core/blockstore/index.ts';
import { collectGarbage } from '../../../src/core/blockstore/gc/index.ts';
import { MIB, SgwError } from '../../../src/core/kit/index.ts';
import { Crowd } from './gc-crowd.ts';
import { DAY, Gate, GcRig, HOUR, HookedStore, fillBlock } from './gc-rig.ts';
import { ACCOUNT, encodeBlocks, holder, otherHolder, readAll } from './volume-model.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261122);
/** Of two gcs every third call is tried, another third with each seed: all of them take a minute. */
const STRIDE = 3;

type Outcome<T> = { readonly value: T } | { readonly error: SgwError };

/** Runs `work`, stopped before its call number `at` while `meanwhile` runs. Undefined when it makes no such call. */
async function stalledAt<T>(
  rig: GcRig,
  at: number,
  work: (options: BlockStoreOptions) => Promise<T>,
  meanwhile: () => Promise<void>,
): Promise<Outcome<T> | undefined> {
  const gate = new Gate();
  let calls = 0;
  const store = new HookedStore(rig.below, async () => {
    calls += 1;
    if (calls === at + 1) await gate.pass();
  });
  const ended: Promise<Outcome<T>> = work(rig.over(store)).then(
    (value) => ({ value }),
    (error: unknown) => {
      if (error instanceof SgwError) return { error };
      throw error;
    },
  );
  const first = await Promise.race([gate.reached.then(() => 'stalled' as const), ended.then(() => 'ended' as const)]);
  if (first === 'ended') return undefined;
  await meanwhile();
  gate.open();
  return await ended;
}

/** Two phases, and the time between them. */
async function gcThrice(rig: GcRig): Promise<void> {
  for (let run = 0; run < 3; run++) {
    await rig.gc(HOUR);
    rig.clock.move(HOUR);
  }
}

async function expectClean(rig: GcRig): Promise<void> {
  rig.clock.move(DAY);
  await rig.gc();
  expect(await rig.garbage()).toEqual([]);
}

describe('C11 a clone is made', () => {
  it('of a snapshot that is deleted and collected meanwhile: it is whole, or its maker is told', async () => {
    let told = 0;
    let whole = 0;
    for (let at = 0; ; at++) {
      const rig = await GcRig.start();
      const golden = await rig.volume('golden');
      await rig.write(golden, 1, [0, 1]);
      const from = await rig.snapshot(golden, 's');
      const then = Buffer.from(golden.image);
      await rig.write(golden, 2, [0, 1]);
      const make = async (options: BlockStoreOptions): Promise<unknown> =>
        new Catalog(options).createVolume({ name: 'clone', sizeBytes: MIB, accountId: ACCOUNT, from });
      const outcome = await stalledAt(rig, at, make, async () => {
        await rig.deleteSnapshot(from);
        await gcThrice(rig);
      });
      if (outcome === undefined) break;
      const clone = (await rig.catalog.listVolumes()).find(({ name }) => name === 'clone');
      if ('error' in outcome) {
        expect(['snapshot-deleted', 'creation-interrupted']).toContain(outcome.error.code);
        expect(clone).toBeUndefined();
        told += 1;
      } else if (clone !== undefined) {
        expect(await rig.readsAs({ entry: clone, image: then })).toBe(true);
        whole += 1;
      }
      await expectClean(rig);
      expect(await rig.readsAs(golden)).toBe(true);
    }
    expect(told).toBeGreaterThan(1);
    expect(whole).toBeGreaterThan(0);
  });

  it('between the two phases, and the snapshot deleted after it: it is whole', async () => {
    const rig = await GcRig.start();
    const golden = await rig.volume('golden');
    await rig.write(golden, 1, [0, 1]);
    const from = await rig.snapshot(golden, 's');
    const then = Buffer.from(golden.image);
    await rig.write(golden, 2, [0, 1]);
    await rig.gc(HOUR);
    const clone = await rig.volume('clone', from, then);
    await rig.deleteSnapshot(from);
    rig.clock.move(HOUR);
    await gcThrice(rig);
    expect(await rig.readsAs(clone)).toBe(true);
    await expectClean(rig);
  });
});

describe('C11 a snapshot is made', () => {
  it('of a volume that is overwritten and collected meanwhile: it is whole, or its maker is told', async () => {
    let told = 0;
    for (let at = 0; ; at++) {
      const rig = await GcRig.start();
      const golden = await rig.volume('golden');
      await rig.write(golden, 1, [0, 1]);
      const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
      fillBlock(golden.image, 2, 1);
      await writer.commit({ encoded: [encodeBlocks(golden.image, [2])], consistent: true });
      const before = Buffer.from(golden.image);
      const make = async (options: BlockStoreOptions): Promise<unknown> =>
        createSnapshot(options, { volume: golden.entry, name: 's', accountId: ACCOUNT });
      const outcome = await stalledAt(rig, at, make, async () => {
        await writer.close();
        await rig.write(golden, 2, [0, 1, 2]);
        await gcThrice(rig);
      });
      if (outcome === undefined) break;
      if ('error' in outcome) {
        expect(['snapshot-not-pending', 'document-not-found', 'object-missing', 'object-damaged']).toContain(
          outcome.error.code,
        );
        told += 1;
      }
      for (const snapshot of await rig.catalog.listSnapshots()) {
        if (snapshot.state !== 'completed') continue;
        const reads = await readAll(openSnapshotView(rig.options, snapshot));
        expect(reads.equals(before) || reads.equals(golden.image)).toBe(true);
      }
      await expectClean(rig);
    }
    expect(told).toBeGreaterThan(1);
  });

  it('of a volume that is deleted, purged and collected meanwhile: it is whole, or its maker is told', async () => {
    for (let at = 0; ; at++) {
      const rig = await GcRig.start();
      const golden = await rig.volume('golden');
      await rig.write(golden, 1, [0, 1]);
      const make = async (options: BlockStoreOptions): Promise<unknown> =>
        createSnapshot(options, { volume: golden.entry, name: 's', accountId: ACCOUNT });
      const outcome = await stalledAt(rig, at, make, async () => {
        await rig.deleteVolume(golden);
        rig.clock.move(7 * DAY);
        await gcThrice(rig);
      });
      if (outcome === undefined) break;
      for (const snapshot of await rig.catalog.listSnapshots()) {
        if (snapshot.state === 'completed') expect(await rig.snapshotReadsAs(snapshot, golden.image)).toBe(true);
      }
      await expectClean(rig);
    }
  });
});

describe('C11 data that goes from root to root between the phases', () => {
  it('is kept when a snapshot that the first mark saw pending has handed it on to one that the second sees pending', async () => {
    const rig = await GcRig.start();
    const golden = await rig.volume('golden');
    await rig.write(golden, 1, [0, 1]);
    const then = Buffer.from(golden.image);
    const [first, second] = [new Gate(), new Gate()];
    const stalling = (gate: Gate): BlockStoreOptions =>
      rig.over(
        new HookedStore(rig.below, async ({ operation, key, replaces }) => {
          if (operation === 'put' && key.endsWith('snapshot.json') && replaces) await gate.pass();
        }),
        gate === first ? 5 : 6,
      );
    const making = createSnapshot(stalling(first), { volume: golden.entry, name: 'first', accountId: ACCOUNT });
    await first.reached;
    await rig.write(golden, 2, [0, 1]);
    await rig.gc(HOUR);
    first.open();
    const clone = await rig.volume('clone', await making, then);
    await rig.deleteSnapshot(await making);
    const again = createSnapshot(stalling(second), { volume: clone.entry, name: 'second', accountId: ACCOUNT });
    await second.reached;
    await rig.write(clone, 3, [0, 1]);
    rig.clock.move(HOUR);
    await rig.gc(HOUR);
    second.open();
    expect(await rig.snapshotReadsAs(await again, then)).toBe(true);
    await gcThrice(rig);
    expect(await rig.snapshotReadsAs(await again, then)).toBe(true);
    await expectClean(rig);
  });
});

describe('C2 a writer stalls', () => {
  it('at any call, is taken over and collected after: it is fenced, or has written', async () => {
    let fenced = 0;
    for (let at = 0; ; at++) {
      const rig = await GcRig.start();
      const golden = await rig.volume('golden');
      await rig.write(golden, 1, [0, 1]);
      const before = Buffer.from(golden.image);
      const own = Buffer.from(golden.image);
      fillBlock(own, 5, 5);
      const write = async (options: BlockStoreOptions): Promise<void> => {
        const writer = await openVolumeWriter(options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
        await writer.commit({ encoded: [encodeBlocks(own, [5])], consistent: true });
        await writer.close();
      };
      const outcome = await stalledAt(rig, at, write, async () => {
        const how = { holder: otherHolder, accountId: ACCOUNT, takeOver: true };
        for (const value of [2, 3]) {
          const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, how);
          for (const block of [0, 1]) fillBlock(before, block, value);
          await writer.commit({ encoded: [encodeBlocks(before, [0, 1])], consistent: true });
          await writer.close();
        }
        rig.clock.move(365 * DAY);
        await gcThrice(rig);
      });
      if (outcome === undefined) break;
      if ('error' in outcome) {
        expect(outcome.error.kind).toBe('fenced');
        fenced += 1;
      }
      const now = await readAll(await openVolumeView(rig.options, golden.entry.volumeId));
      expect(now.subarray(0, MIB / 8).equals(before.subarray(0, MIB / 8))).toBe(true);
      const block5 = now.subarray(5 * 65536, 6 * 65536);
      const written = block5.equals(own.subarray(5 * 65536, 6 * 65536));
      expect(written || block5.equals(before.subarray(5 * 65536, 6 * 65536))).toBe(true);
      if ('value' in outcome) expect(written).toBe(true);
      await expectClean(rig);
    }
    expect(fenced).toBeGreaterThan(3);
  });
});

describe(`C11 two gcs (SGW_SEED=${String(seed)})`, () => {
  it(
    'one stalled at any third call while another runs and everything changes: every root reads as before',
    { timeout: 120_000 },
    async () => {
      let contended = 0;
      for (let at = seed % STRIDE; ; at += STRIDE) {
        const crowd = await Crowd.gather();
        const { rig } = crowd;
        const [golden] = crowd.volumes.filter(({ entry }) => entry.name === 'golden');
        if (golden === undefined) throw new Error('the crowd has a golden volume');
        const collect = async (options: BlockStoreOptions): Promise<unknown> => collectGarbage(options, { graceMs: 0 });
        const outcome = await stalledAt(rig, at, collect, async () => {
          await rig.write(golden, 8, [0, 4]);
          const entry = await rig.snapshot(golden, 'made meanwhile');
          const image = Buffer.from(golden.image);
          crowd.volumes.push(await rig.volume('cloned meanwhile', entry, image));
          const other = await rig.snapshot(golden, 'another');
          crowd.snapshots.push({ entry: other, image });
          await rig.deleteSnapshot(entry);
          await rig.write(golden, 9, [0, 1, 4]);
          await rig.gc();
        });
        if (outcome === undefined) break;
        if ('error' in outcome) {
          expect(outcome.error.code).toBe('gc-contended');
          contended += 1;
        }
        expect(await crowd.broken(), `gc stalled at call ${String(at)}`).toEqual([]);
        await rig.gc();
        expect(await crowd.broken()).toEqual([]);
        expect(await rig.garbage()).toEqual([]);
      }
      expect(contended).toBeGreaterThan(10);
    },
  );
});

describe('C11 undelete and purge', () => {
  const undelete = async (
    options: BlockStoreOptions,
    id: Crowd['volumes'][number]['entry']['volumeId'],
  ): Promise<void> => {
    await new Catalog(options).updateVolume(id, (now) => {
      if (now.state !== 'deleted') throw new SgwError('notFound', 'volume-not-found', 'purged');
      return { ...now, state: 'available', deletedAt: null };
    });
  };

  it('an undelete stalled at any call while gc purges: the volume is whole, or gone', async () => {
    for (let at = 0; ; at++) {
      const rig = await GcRig.start();
      const golden = await rig.volume('golden');
      await rig.write(golden, 1, [0, 1]);
      await rig.deleteVolume(golden);
      rig.clock.move(7 * DAY);
      const outcome = await stalledAt(
        rig,
        at,
        (options) => undelete(options, golden.entry.volumeId),
        () => gcThrice(rig),
      );
      if (outcome === undefined) break;
      expect('error' in outcome && outcome.error.kind).toBe('notFound');
      await expectClean(rig);
      expect(await rig.keys('volumes/')).toEqual([]);
    }
  });

  it('a gc stalled at any call while the volume is undeleted: the volume is whole, or the undelete was refused', async () => {
    let undeleted = 0;
    for (let at = 0; ; at++) {
      const rig = await GcRig.start();
      const golden = await rig.volume('golden');
      await rig.write(golden, 1, [0, 1]);
      await rig.deleteVolume(golden);
      rig.clock.move(7 * DAY);
      const undeleting = { refused: false };
      const collect = async (options: BlockStoreOptions): Promise<unknown> => collectGarbage(options, { graceMs: 0 });
      const outcome = await stalledAt(rig, at, collect, async () => {
        await undelete(rig.options, golden.entry.volumeId).catch(() => {
          undeleting.refused = true;
        });
      });
      if (outcome === undefined) break;
      if (!undeleting.refused) {
        expect(await rig.readsAs(golden)).toBe(true);
        undeleted += 1;
      }
      await expectClean(rig);
      if (!undeleting.refused) expect(await rig.readsAs(golden)).toBe(true);
    }
    expect(undeleted).toBeGreaterThan(0);
  });
});
