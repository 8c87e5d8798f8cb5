/** Those who read volumes and snapshots, quickly or over days. */
import {
  openConsistentView,
  openSnapshotView,
  openVolumeView,
  type VolumeView,
} from '../../../src/core/blockstore/index.ts';
import { withPinnedSnapshot, withPinnedVolume } from '../../../src/core/blockstore/gc/index.ts';
import type { SgwError } from '../../../src/core/kit/index.ts';
import type { SnapshotRecord } from '../auditor.ts';
import type { DiskState } from '../disk-state.ts';
import { hold, type VolumeLedger } from '../volume-ledger.ts';
import { attempt, liveVolumes, pause, type Actor } from './actor.ts';
import { readPages } from './read-view.ts';

export async function readerProcess(actor: Actor): Promise<void> {
  while (!actor.closing()) {
    const volumes = liveVolumes(actor);
    if (volumes.length > 0 && actor.choices.chance(0.6)) await readVolume(actor, actor.choices.pick(volumes));
    else await readSnapshot(actor);
    await pause(actor);
  }
}

/** Sleeps now and then between two runs. */
function slowly(actor: Actor): () => Promise<void> {
  const lazy = actor.choices.chance(0.2);
  return async () => {
    if (lazy && actor.choices.chance(0.3)) await pause(actor, 0.2);
  };
}

async function readVolume(actor: Actor, ledger: VolumeLedger): Promise<void> {
  const { volumeId } = ledger;
  const consistent = actor.choices.chance(0.4);
  const from = consistent ? ledger.certainConsistent : ledger.certain;
  const startedMs = actor.clock.nowMs();
  await attempt(
    actor,
    'read of a volume',
    async () => {
      const view: VolumeView = consistent
        ? await openConsistentView(actor.options, volumeId)
        : await openVolumeView(actor.options, volumeId);
      const pages = await readPages(view, slowly(actor));
      actor.auditor.checkRead(volumeId, from, { sizeBytes: view.sizeBytes, pages, consistent }, consistent);
    },
    // One without a pin may lose what it reads once the grace period is over, but never reads anything else.
    (error) =>
      isLoss(error) && (ledger.deletion !== 'none' || actor.clock.nowMs() - startedMs >= actor.settings.graceMs),
  );
}

async function readSnapshot(actor: Actor): Promise<void> {
  const known = [...actor.auditor.snapshots.values()].filter((record) => record.deletion !== 'deleted');
  if (known.length === 0) return;
  const record = actor.choices.pick(known);
  await attempt(
    actor,
    'read of a snapshot',
    async () => {
      const entry = await actor.catalog.getSnapshot(record.snapshotId);
      hold(entry.state === 'completed' || isGone(record), () => `C8 ${record.snapshotId} became ${entry.state} again`);
      if (entry.state !== 'completed') return;
      const view = openSnapshotView(actor.options, entry);
      const pages = await readPages(view, slowly(actor));
      actor.auditor.checkSnapshotRead(record.snapshotId, { sizeBytes: view.sizeBytes, pages });
    },
    (error) => isLoss(error) && isGone(record),
  );
}

/** Reads a snapshot or a volume over hours, pinned, whatever happens to it meanwhile. */
export async function exporterProcess(actor: Actor): Promise<void> {
  while (!actor.closing()) {
    await exportOne(actor);
    await pause(actor);
  }
}

async function exportOne(actor: Actor): Promise<void> {
  const snapshots = [...actor.auditor.snapshots.values()].filter((record) => record.deletion === 'none');
  const volumes = liveVolumes(actor);
  if (snapshots.length > 0 && actor.choices.chance(0.6)) await exportSnapshot(actor, actor.choices.pick(snapshots));
  else if (volumes.length > 0) await exportVolume(actor, actor.choices.pick(volumes));
}

/** Reads everything while it is pinned, over some grace periods. */
async function readPinned(actor: Actor, purpose: string, view: VolumeView, signal: AbortSignal): Promise<DiskState> {
  actor.auditor.pinned(purpose);
  const pages = await readPages(view, async () => {
    signal.throwIfAborted();
    if (actor.choices.chance(0.3)) await pause(actor, 0.3);
  });
  return { sizeBytes: view.sizeBytes, pages, consistent: true };
}

async function exportSnapshot(actor: Actor, record: SnapshotRecord): Promise<void> {
  const { snapshotId } = record;
  const { auditor, options, catalog, tally } = actor;
  const reading = { purpose: `export ${String(actor.stamp())}`, holder: actor.process.name };
  await attempt(
    actor,
    'export',
    async () => {
      const entry = await catalog.getSnapshot(snapshotId);
      if (entry.state !== 'completed') return;
      await withPinnedSnapshot(options, entry, reading, async (signal) => {
        const state = await readPinned(actor, reading.purpose, openSnapshotView(options, entry), signal);
        auditor.checkSnapshotRead(snapshotId, state);
        if (isGone(record)) tally.event('exports of what was deleted meanwhile');
      });
    },
    // A pin that ended, since its holder was stalled, promises nothing.
    (error) => isLoss(error) && isGone(record) && !auditor.holds(reading.purpose),
  );
  auditor.unpinned(reading.purpose);
}

async function exportVolume(actor: Actor, ledger: VolumeLedger): Promise<void> {
  const { volumeId, certain } = ledger;
  const { auditor, options, tally } = actor;
  const reading = { purpose: `export ${String(actor.stamp())}`, holder: actor.process.name };
  await attempt(
    actor,
    'export of a volume',
    async () => {
      await withPinnedVolume(options, volumeId, reading, async (view, signal) => {
        const state = await readPinned(actor, reading.purpose, view, signal);
        auditor.checkRead(volumeId, certain, state);
        if (ledger.deletion !== 'none') tally.event('exports of what was deleted meanwhile');
      });
    },
    (error) => isLoss(error) && (ledger.deletion !== 'none' || !auditor.holds(reading.purpose)),
  );
  auditor.unpinned(reading.purpose);
}

const isGone = (record: { readonly deletion: string }): boolean => record.deletion !== 'none';

const isLoss = (error: SgwError): boolean => error.kind === 'corrupt';
