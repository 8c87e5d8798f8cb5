/** One who deletes volumes and snapshots, and sometimes wants a volume back. */
import { openVolumeWriter } from '../../../src/core/blockstore/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import { ACCOUNTS } from '../disk-state.ts';
import type { VolumeLedger } from '../volume-ledger.ts';
import { attempt, liveVolumes, pause, type Actor } from './actor.ts';

const HOLDER = { gatewayId: 'sgw-00000009', name: 'deleter' };

export async function deleterProcess(actor: Actor): Promise<void> {
  const { choices, settings } = actor;
  while (!actor.closing()) {
    await pause(actor, 2);
    const volumes = liveVolumes(actor);
    const dice = choices.integer(0, 99);
    if (dice < 45) await deleteSnapshot(actor);
    else if (dice < 75 && volumes.length > 1) await deleteVolume(actor, choices.pick(volumes));
    else {
      const deleted = [...actor.auditor.volumes.values()].filter(
        (ledger) => ledger.deletion !== 'none' && ledger.deletedAtMs + 1.2 * settings.undeleteMs > actor.clock.nowMs(),
      );
      if (deleted.length > 0) await undeleteVolume(actor, choices.pick(deleted));
    }
  }
}

async function deleteSnapshot(actor: Actor): Promise<void> {
  const live = [...actor.auditor.snapshots.values()].filter((record) => record.deletion === 'none');
  if (live.length === 0) return;
  const record = actor.choices.pick(live);
  record.deletion = 'asked';
  await attempt(actor, 'snapshot deletion', async () => {
    await actor.catalog.updateSnapshot(record.snapshotId, (now) => ({ ...now, state: 'deleted' }));
    record.deletion = 'deleted';
  });
}

/** Takes the volume over first, so that nobody is told of a commit to it any more. */
async function deleteVolume(actor: Actor, ledger: VolumeLedger): Promise<void> {
  const { volumeId } = ledger;
  const { auditor, catalog, clock } = actor;
  await attempt(actor, 'volume deletion', async () => {
    const writer = await openVolumeWriter(actor.options, volumeId, {
      holder: HOLDER,
      accountId: ACCOUNTS[0],
      takeOver: true,
    });
    auditor.opened(volumeId, writer.epoch, { sizeBytes: writer.sizeBytes, mappedPages: writer.map.mappedPages });
    await writer.close();
    ledger.deletion = 'asked';
    ledger.deletedAtMs = clock.nowMs();
    const deletedAt = new Date(clock.nowMs()).toISOString();
    await catalog.updateVolume(volumeId, (now) =>
      now.state === 'deleted' ? now : { ...now, state: 'deleted', deletedAt },
    );
    ledger.deletion = 'deleted';
  });
}

async function undeleteVolume(actor: Actor, ledger: VolumeLedger): Promise<void> {
  const { volumeId } = ledger;
  await attempt(actor, 'undelete', async () => {
    await actor.catalog.updateVolume(volumeId, (now) => {
      if (now.state === 'available') return now;
      if (now.state === 'deleted') return { ...now, state: 'available', deletedAt: null };
      throw new SgwError('notFound', 'volume-not-found', `${volumeId} is ${now.state}`);
    });
    actor.auditor.undeleted(volumeId);
  });
}
