/**
 * Whether the auditor can fail: each rule is broken on purpose, by a store that lies to one kind of program or a setting
 * that breaks a promise, and the simulation has to notice within a few seeds. Without the mutation the same seeds pass.
 */
import { describe, expect, it } from 'vitest';
import { Catalog } from '../../src/core/blockstore/index.ts';
import type {
  CallOptions,
  GetOptions,
  ObjectBody,
  ObjectStore,
  PutBody,
  PutOptions,
  PutResult,
} from '../../src/core/objectstore/index.ts';
import { StoreLayer, type DeleteOptions } from '../../src/core/objectstore/layer.ts';
import { forgeDocument } from '../unit/blockstore/forging.ts';
import { ACCOUNTS } from './disk-state.ts';
import { Simulation, type SimulationOptions } from './simulation.ts';
import { Stage, outcome } from './stage.ts';
import { isSegment } from './store-reader.ts';
import { Violation } from './volume-ledger.ts';

const SEEDS = 12;
/** For what few seeds meet. */
const RARE_SEEDS = 40;
const STEPS = 800;

/** The first failure within a few seeds. */
async function firstFailure(
  options: Omit<SimulationOptions, 'seed' | 'steps'>,
  seedsMax = SEEDS,
): Promise<Error | undefined> {
  for (let seed = 1; seed <= seedsMax; seed++) {
    const { failure } = await new Simulation({ seed, steps: STEPS, sealed: false, ...options }).run();
    if (failure !== undefined) return failure;
  }
  return undefined;
}

type Put = (below: ObjectStore, key: string, body: PutBody, options: PutOptions) => Promise<PutResult>;

const withPut =
  (put: Put) =>
  (base: ObjectStore): ObjectStore =>
    new (class extends StoreLayer {
      override async put(key: string, body: PutBody, options: PutOptions = {}): Promise<PutResult> {
        return put(this.below, key, body, options);
      }
    })(base);

const isNew = ({ condition }: PutOptions): boolean => condition !== undefined && 'ifAbsent' in condition;

describe('broken on purpose, and noticed', { timeout: 120_000 }, () => {
  it('nothing, and so nothing is noticed', async () => {
    expect(await firstFailure({})).toBeUndefined();
  });

  it('C1 a store that overwrites segments', async () => {
    const sabotage = withPut(async (below, key, body, options) =>
      below.put(key, body, isSegment(key) && isNew(options) ? {} : options),
    );
    expect((await firstFailure({ sabotage }))?.message).toMatch(/a segment was replaced/);
  });

  it('C1 a store that tells a fenced writer that its segment was stored', async () => {
    const sabotage = withPut(async (below, key, body, options) => {
      const result = await below.put(key, body, options);
      return isSegment(key) && isNew(options) && result.outcome !== 'stored'
        ? { outcome: 'stored', etag: 'none' }
        : result;
    });
    expect(await firstFailure({ sabotage })).toBeInstanceOf(Violation);
  });

  it('C1 C5 a store that forgets a segment which it said it has', async () => {
    let puts = 0;
    const sabotage = withPut(async (below, key, body, options) => {
      const isLost = isSegment(key) && isNew(options) && (puts += 1) % 40 === 0;
      return isLost ? { outcome: 'stored', etag: 'none' } : below.put(key, body, options);
    });
    expect(await firstFailure({ sabotage })).toBeInstanceOf(Violation);
  });

  it('C3 a head that anybody may replace', async () => {
    const sabotage = withPut(async (below, key, body, options) =>
      below.put(key, body, key.endsWith('/head.json') && !isNew(options) ? {} : options),
    );
    expect(await firstFailure({ sabotage })).toBeInstanceOf(Error);
  });

  it('C11 a gc that waits for no grace period', async () => {
    expect((await firstFailure({ gcGraceMs: 0 }))?.message).toMatch(/^C11 .* was removed, and was condemned/);
  });

  it('C10 a gc that sees no recovery points', async () => {
    const sabotage = (base: ObjectStore, process: string): ObjectStore =>
      process.startsWith('gc')
        ? new (class extends StoreLayer {
            override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
              const object = await this.below.get(key, options);
              if (object === undefined || !key.endsWith('/head.json')) return object;
              return { ...object, bytes: forgeDocument(object.bytes, (head) => delete head['recovery']) };
            }
          })(base)
        : base;
    expect((await firstFailure({ sabotage }, RARE_SEEDS))?.message).toMatch(
      /^C10 .* was removed, and recovery point .* needs it/,
    );
  });

  it('C10 a gc that sees only some of the snapshots', async () => {
    const sabotage = (base: ObjectStore, process: string): ObjectStore =>
      process.startsWith('gc')
        ? new (class extends StoreLayer {
            override async *listFolders(prefix: string, options?: CallOptions): AsyncGenerator<string> {
              for await (const id of this.below.listFolders(prefix, options))
                if (prefix !== 'snapshots/' || id < 'snap-8') yield id;
            }
          })(base)
        : base;
    expect((await firstFailure({ sabotage }))?.message).toMatch(/^C10 .* was removed, and the snapshot .* needs it/);
  });

  it('C2 a gc that deletes log objects where it should bury them', async () => {
    const sabotage = withPut(async (below, key, body, options) => {
      if (!isSegment(key) || isNew(options)) return below.put(key, body, options);
      await below.delete(key);
      return { outcome: 'stored', etag: 'none' };
    });
    expect((await firstFailure({ sabotage }))?.message).toMatch(/^C2 .* was deleted while its volume exists/);
  });

  it('C10 a gc whose removals do nothing', async () => {
    const sabotage = (base: ObjectStore, process: string): ObjectStore =>
      process.includes('gc')
        ? new (class extends StoreLayer {
            override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
              return /\/map\/|^pins/.test(key) ? true : this.below.delete(key, options);
            }
          })(base)
        : base;
    expect((await firstFailure({ sabotage }))?.message).toMatch(/is left in the end|does not come to an end/);
  });
});

describe('broken on purpose in a scenario, and noticed', () => {
  it('C2 a log object that is deleted lets a fenced writer through, and its acknowledgement is noticed', async () => {
    const stage = await Stage.start();
    const { volumeId } = await stage.createVolume();
    const old = stage.program('old');
    // One that trusts its epoch for ever: else it asks, and is told.
    const held = await old.open(volumeId, { trustMs: Number.POSITIVE_INFINITY });
    const other = stage.program('new');
    const opened = await other.open(volumeId);
    await other.commit(opened, [0]);
    await opened.writer.checkpoint();
    await stage.collect();
    // Past the auditor, which notices this by itself.
    const key = `volumes/${volumeId}/log/0000000000000001`;
    stage.auditor.reader.apply({ deleted: key });
    await stage.raw.delete(key);
    await expect(old.commit(held, [1])).rejects.toThrow(/was acknowledged after it was fenced/);
  });

  it('C11 a clone whose creator does not look at its source again is not whole, and that is noticed', async () => {
    const stage = await Stage.start();
    const volume = await stage.createVolume();
    const writer = stage.program('writer');
    const opened = await writer.open(volume.volumeId);
    await writer.commit(opened, [0, 1]);
    const snapshot = await stage.snapshot(volume);
    const key = `snapshots/${snapshot.snapshotId}/snapshot.json`;
    const before = await stage.raw.get(key);
    const blind = new (class extends StoreLayer {
      override async get(wanted: string, options?: GetOptions): Promise<ObjectBody | undefined> {
        return wanted === key ? before : this.below.get(wanted, options);
      }
    })(stage.base);
    const cloner = stage.program('cloner', blind);
    const stalled = cloner.store.hold(/^first-head\.put\.before$/);
    const clone = outcome(
      new Catalog(cloner.options).createVolume({
        name: 'c',
        sizeBytes: snapshot.sizeBytes,
        accountId: ACCOUNTS[0],
        from: snapshot,
      }),
    );
    await stalled.reached;
    await stage.deleteSnapshot(snapshot);
    await writer.commit(opened, [0, 1]);
    await opened.writer.checkpoint();
    await stage.collect();
    stalled.release();
    await expect(clone).rejects.toThrow(/its head needs what is not there/);
  });
});
