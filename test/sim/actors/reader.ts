/** Those who read volumes and snapshots, quickly or over days. */
import {
  openConsistentView,
  openSnapshotView,
  openVolumeView,
  withPin,
  type VolumeView,
} from '../../../src/core/blockstore/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import type { HeldPin } from '../auditor.ts';
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

/** Reads one snapshot over hours, pinned, whatever happens to the snapshot meanwhile. */
export async function exporterProcess(actor: Actor): Promise<void> {
  while (!actor.closing()) {
    await exportOne(actor);
    await pause(actor);
  }
}

async function exportOne(actor: Actor): Promise<void> {
  const known = [...actor.auditor.snapshots.values()].filter((record) => record.deletion === 'none');
  if (known.length === 0) return;
  const record = actor.choices.pick(known);
  const { snapshotId } = record;
  const purpose = `export ${String(actor.stamp())}`;
  const { auditor, options, catalog } = actor;
  let pin: HeldPin | undefined;
  await attempt(
    actor,
    'export',
    async () => {
      const entry = await catalog.getSnapshot(snapshotId);
      if (entry.state !== 'completed') return;
      const check = async (): Promise<void> => {
        const now = await catalog.getSnapshot(snapshotId);
        if (now.state !== 'completed')
          throw new SgwError('conflict', 'snapshot-deleted', `${snapshotId} is ${now.state}`);
      };
      const request = { purpose, holder: actor.process.name, roots: [entry.root], check };
      await withPin(options, request, async (signal) => {
        pin = { purpose, root: entry.root, lapsed: false };
        auditor.pins.add(pin);
        const view = openSnapshotView(options, entry);
        const pages = await readPages(view, async () => {
          signal.throwIfAborted();
          if (actor.choices.chance(0.3)) await pause(actor, 0.3);
        });
        auditor.checkSnapshotRead(snapshotId, { sizeBytes: view.sizeBytes, pages });
        if (isGone(record)) actor.tally.event('exports of what was deleted meanwhile');
      });
    },
    // A pin that ended, since its holder was stalled, promises nothing.
    (error) => isLoss(error) && isGone(record) && pin !== undefined && !auditor.holds(pin),
  );
  if (pin !== undefined) auditor.pins.delete(pin);
}

const isGone = (record: { readonly deletion: string }): boolean => record.deletion !== 'none';

const isLoss = (error: SgwError): boolean => error.kind === 'corrupt';
