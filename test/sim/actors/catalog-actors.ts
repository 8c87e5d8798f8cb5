/** Those who make snapshots and clones, and delete them. */
import { createSnapshot } from '../../../src/core/blockstore/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import type { SnapshotRecord } from '../auditor.ts';
import { ACCOUNTS } from '../disk-state.ts';
import { hold, type VolumeLedger } from '../volume-ledger.ts';
import { attempt, liveVolumes, pause, type Actor } from './actor.ts';
import { SIZES } from './writer.ts';

const liveSnapshots = (actor: Actor): SnapshotRecord[] =>
  [...actor.auditor.snapshots.values()].filter((record) => record.deletion === 'none');

export async function snapshotterProcess(actor: Actor): Promise<void> {
  while (!actor.closing()) {
    const volumes = liveVolumes(actor);
    if (volumes.length > 0 && liveSnapshots(actor).length < actor.settings.snapshotsMax) {
      const ledger = actor.choices.pick(volumes);
      const { volumeId } = ledger;
      const past = actor.auditor.head(volumeId)?.recovery?.points ?? [];
      if (past.length > 0 && actor.choices.chance(0.3)) {
        await snapshotOfPast(actor, ledger, actor.choices.pick(past).seq);
        continue;
      }
      await attempt(
        actor,
        'snapshot',
        async () => {
          const volume = await actor.catalog.getVolume(volumeId);
          const from = ledger.certainConsistent;
          const made = await createSnapshot(actor.options, {
            volume,
            name: `s${String(actor.stamp())}`,
            accountId: ACCOUNTS[0],
          });
          const record = actor.auditor.snapshots.get(made.snapshotId);
          hold(record !== undefined, () => `C8 ${made.snapshotId} was told as completed, and is not`);
          // Not older than what was acknowledged before it was asked for.
          actor.auditor.checkRead(volumeId, from, record.state, true);
        },
        (error) => error.kind === 'corrupt' && ledger.deletion !== 'none',
      );
    }
    await pause(actor, 2);
  }
}

async function snapshotOfPast(actor: Actor, ledger: VolumeLedger, seq: number): Promise<void> {
  const { volumeId } = ledger;
  const startedMs = actor.clock.nowMs();
  await attempt(
    actor,
    'snapshot of a recovery point',
    async () => {
      const volume = await actor.catalog.getVolume(volumeId);
      const made = await createSnapshot(actor.options, {
        volume,
        name: `s${String(actor.stamp())}`,
        accountId: ACCOUNTS[0],
        recoveryPoint: { seq },
      });
      hold(made.seq === seq, () => `C7 a snapshot of ${String(seq)} is of ${String(made.seq)}`);
      const record = actor.auditor.snapshots.get(made.snapshotId);
      hold(record !== undefined, () => `C8 ${made.snapshotId} was told as completed, and is not`);
    },
    (error) =>
      error.kind === 'corrupt' &&
      (ledger.deletion !== 'none' || actor.clock.nowMs() - startedMs >= actor.settings.graceMs),
  );
  await pause(actor, 2);
}

export async function clonerProcess(actor: Actor): Promise<void> {
  while (!actor.closing()) {
    const snapshots = liveSnapshots(actor);
    const room = liveVolumes(actor).length < actor.settings.volumesMax;
    if (room && snapshots.length > 0 && actor.choices.chance(0.8)) await clone(actor, actor.choices.pick(snapshots));
    else if (room) await createEmpty(actor);
    await pause(actor, 2);
  }
}

async function clone(actor: Actor, source: SnapshotRecord): Promise<void> {
  await attempt(actor, 'clone', async () => {
    const from = await actor.catalog.getSnapshot(source.snapshotId);
    if (from.state !== 'completed') return;
    const sizeBytes = source.state.sizeBytes + actor.choices.pick([0, 0, 4096, 100]);
    try {
      const made = await actor.catalog.createVolume({
        name: `v${String(actor.stamp())}`,
        sizeBytes,
        accountId: ACCOUNTS[1],
        from,
      });
      if (wasDeleted(source)) actor.tally.event('clones raced with deletion');
      actor.auditor.created(made.volumeId, { ...source.state, sizeBytes });
    } catch (error) {
      if (error instanceof SgwError && wasDeleted(source)) actor.tally.event('clones raced with deletion');
      throw error;
    }
  });
}

const wasDeleted = (record: SnapshotRecord): boolean => record.deletion !== 'none';

async function createEmpty(actor: Actor): Promise<void> {
  await attempt(actor, 'create', async () => {
    const sizeBytes = actor.choices.pick(SIZES);
    const made = await actor.catalog.createVolume({
      name: `v${String(actor.stamp())}`,
      sizeBytes,
      accountId: ACCOUNTS[1],
    });
    actor.auditor.created(made.volumeId, { sizeBytes, pages: new Map(), consistent: true });
  });
}
