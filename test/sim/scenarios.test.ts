/**
 * Bugs that others had, replayed: SlateDB keeps a write-ahead log of numbered objects, fences an old writer by creating the
 * next number first, and had to learn three times what becomes of that when writers stall and gc runs meanwhile.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { Catalog, openVolumeView, type VolumeEntry } from '../../src/core/blockstore/index.ts';
import { withFaults } from '../../src/core/objectstore/index.ts';
import { readPages } from './actors/read-view.ts';
import { ACCOUNTS, contentName } from './disk-state.ts';
import { Stage, outcome, type Opened, type Program } from './stage.ts';

let stage: Stage;
let volume: VolumeEntry;
let old: Program;
let held: Opened;

beforeEach(async () => {
  stage = await Stage.start();
  volume = await stage.createVolume();
  old = stage.program('old');
  held = await old.open(volume.volumeId);
  await old.commit(held, [0, 1, 2]);
});

/** Another writer takes over, overwrites everything, stores a checkpoint, and gc runs to its end. */
async function moveOn(name: string): Promise<void> {
  const next = stage.program(name);
  const opened = await next.open(volume.volumeId);
  await next.commit(opened, [0, 1, 2]);
  await next.commit(opened, [0, 1, 2]);
  await opened.writer.checkpoint();
  await stage.collect();
}

async function expectNewest(): Promise<void> {
  const { now } = stage.auditor.volumes.get(volume.volumeId) ?? {};
  const view = await openVolumeView(stage.program('reader').options, volume.volumeId);
  expect(contentName({ sizeBytes: view.sizeBytes, pages: await readPages(view) })).toBe(now && contentName(now));
}

const kindAt = (seq: number): string | undefined =>
  stage.auditor.reader.segmentAt(volume.volumeId, seq)?.segment.footer.kind;

/**
 * slatedb/slatedb#352 "fencing protocol should take into account writers that are stalled during intervals where other
 * writers/gc runs": writer W is about to create log object 6 and stalls; W' fences it by creating 6, goes on to 9 and
 * compacts; gc deletes all up to 8; W wakes, creates 6, which is free again, and acknowledges a write that nobody will
 * ever read. Here: the fence in W's place becomes a tombstone, which still refuses it (C2).
 */
describe('SlateDB #352', () => {
  it('C2 a PUT that stalls while another writer takes over and gc runs is refused, and not acknowledged', async () => {
    const stalled = old.store.hold(/^segment\.put\.before$/);
    const commit = outcome(old.commit(held, [3]));
    await stalled.reached;
    await moveOn('new');
    expect(kindAt(2)).toBe('tombstone');
    stage.nowMs += 365 * 24 * 3_600_000;
    stalled.release();
    expect(await commit).toMatchObject({ kind: 'fenced' });
    await expectNewest();
  });

  it('C1 a PUT that stalled, and arrived before the fence, is adopted; its writer, after so long, is fenced', async () => {
    const stalled = old.store.hold(/^segment\.put\.after$/);
    const commit = outcome(old.commit(held, [3]));
    await stalled.reached;
    await moveOn('new');
    stalled.release();
    expect(await commit).toMatchObject({ kind: 'fenced' });
    await expectNewest();
  });

  it('C1 a PUT that arrived before the fence, and whose writer learns of it soon, is adopted and acknowledged', async () => {
    const stalled = old.store.hold(/^segment\.put\.after$/);
    const commit = outcome(old.commit(held, [3]));
    await stalled.reached;
    await stage.program('new').open(volume.volumeId);
    stalled.release();
    expect(await commit).toBeUndefined();
    await expectNewest();
  });
});

/**
 * slatedb/slatedb#1622 "slatedb can lose flushed writes": writer A1 is idle and does not look at the manifest; A2 opens,
 * fences, flushes past A1's next number; gc deletes the fence; a client writes through A1, which creates its stale number
 * with success; recovery starts above it, and the flushed write is lost. Here: whatever the idle writer begins, commit,
 * checkpoint, resize or close, ends `fenced`.
 */
describe('SlateDB #1622', () => {
  it('C2 a writer that was idle while another took over and gc ran is fenced at whatever it does next', async () => {
    await moveOn('new');
    expect(await outcome(old.commit(held, [3]))).toMatchObject({ kind: 'fenced' });
    expect(await outcome(held.writer.checkpoint())).toMatchObject({ kind: 'fenced' });
    expect(await outcome(held.writer.resize(4096))).toMatchObject({ kind: 'fenced' });
    expect(await outcome(held.writer.close())).toMatchObject({ kind: 'fenced' });
    await expectNewest();
  });

  it.each(['checkpoint', 'close'] as const)('C3 its %s alone changes nothing', async (what) => {
    await moveOn('new');
    const before = stage.auditor.head(volume.volumeId);
    expect(await outcome(held.writer[what]())).toMatchObject({ kind: 'fenced' });
    expect(stage.auditor.head(volume.volumeId)).toEqual(before);
    await stage.collect();
    await expectNewest();
  });
});

/**
 * slatedb/slatedb#1682 "Verify fence writes are > replay_after_wal_id": an opening W2 looks for the next free number, 4,
 * and stalls; W1 writes 4 to 6, flushes, gc deletes 4 and 5; W2 creates 4, believes that it has fenced everybody, and is
 * ready, while W1 goes on at 7. Here an epoch is taken before anything is looked for, so W1 can store no checkpoint past
 * an opening that has begun; what is left is an opening that a yet newer one overtakes: wherever it stalls, it must not
 * come out of it as a writer whose commits are void.
 */
describe('SlateDB #1682', () => {
  it('C1 an opening that stalls anywhere while others write, take over and gc runs is fenced, or newest', async () => {
    const ends = new Set<string>();
    for (let call = 0; ; call++) {
      const opener = stage.program(`opener${String(call)}`);
      const stalled = opener.store.hold(/^.*$/, call);
      const opening = opener.open(volume.volumeId);
      const ended = outcome(opening);
      const isHeld = await Promise.race([stalled.reached.then(() => true), ended.then(() => false)]);
      if (isHeld) await moveOn(`overtaking${String(call)}`);
      stalled.release();
      const failure = await ended;
      if (failure === undefined) {
        // One that was past its last fence ends well, and learns at its first commit.
        const refusal = await outcome(opener.commit(await opening, [5]));
        if (refusal !== undefined) expect(refusal).toMatchObject({ kind: 'fenced' });
        ends.add(refusal !== undefined ? 'fenced' : isHeld ? 'newest' : 'undisturbed');
      } else {
        expect(failure).toMatchObject({ kind: 'fenced' });
        ends.add('fenced');
      }
      await expectNewest();
      if (!isHeld) break;
    }
    expect([...ends].sort()).toEqual(['fenced', 'newest', 'undisturbed']);
  });

  it('C1 an opening over a volume that was closed, overtaken before it read the log, is fenced', async () => {
    await held.writer.close();
    const opener = stage.program('opener');
    const stalled = opener.store.hold(/^head\.put\.after$/);
    const opening = outcome(opener.open(volume.volumeId));
    await stalled.reached;
    const other = stage.program('other');
    const newest = await other.open(volume.volumeId);
    await other.commit(newest, [4]);
    stalled.release();
    expect(await opening).toMatchObject({ kind: 'fenced' });
    await other.commit(newest, [5]);
    await expectNewest();
  });
});

describe('closing', () => {
  it('C3 a close whose reply is lost stays failed, since the next opening may put no fences', async () => {
    const faulty = withFaults(stage.base, { rules: [] });
    const program = stage.program('faulty', faulty.store);
    const opened = await program.open(volume.volumeId);
    await program.commit(opened, [3]);
    await opened.writer.checkpoint();
    faulty.setRules([{ fault: 'lostReply', operation: 'put', key: /head\.json$/, times: 1 }]);
    const failure = await outcome(opened.writer.close());
    expect(failure).toMatchObject({ kind: 'unavailable' });
    expect(stage.auditor.head(volume.volumeId)?.holder).toBeNull();
    const next = stage.program('next');
    await next.commit(await next.open(volume.volumeId), [4]);
    expect(await outcome(program.commit(opened, [5]))).toBe(failure);
    expect(await outcome(opened.writer.close())).toBe(failure);
    await expectNewest();
  });
});

describe('clones', () => {
  it('C11 a clone whose source is deleted and collected before its head is there is refused', async () => {
    const snapshot = await stage.snapshot(volume);
    const cloner = stage.program('cloner');
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
    await moveOn('new');
    stalled.release();
    expect(await clone).toMatchObject({ kind: 'conflict', code: 'snapshot-deleted' });
    await stage.collect();
    await stage.collect();
    await expectNewest();
  });

  it.each(['first-head.put.after', 'snapshot.get.after', 'volume-entry.put.before', 'volume-entry.put.after'])(
    'C11 a clone that stalls at %s while its source is deleted and collected is whole, or is refused',
    async (point) => {
      const snapshot = await stage.snapshot(volume);
      const { state } = stage.auditor.snapshots.get(snapshot.snapshotId) ?? {};
      const cloner = stage.program('cloner');
      const stalled = cloner.store.hold(new RegExp(`^${point}$`));
      const clone = new Catalog(cloner.options).createVolume({
        name: 'c',
        sizeBytes: snapshot.sizeBytes,
        accountId: ACCOUNTS[0],
        from: snapshot,
      });
      const ended = outcome(clone);
      await stalled.reached;
      await stage.deleteSnapshot(snapshot);
      await moveOn('new');
      stalled.release();
      const failure = await ended;
      if (failure === undefined && state !== undefined) stage.auditor.created((await clone).volumeId, state);
      else expect(failure).toMatchObject({ kind: 'conflict' });
      await stage.collect();
      await stage.collect();
      await expectNewest();
    },
  );
});
