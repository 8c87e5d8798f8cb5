/** What is done at the end of a run, alone and without faults. */
import {
  listRecoveryPoints,
  openConsistentView,
  openRecoveryPoint,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
} from '../../../src/core/blockstore/index.ts';
import { contentName, describeState } from '../disk-state.ts';
import { hold } from '../volume-ledger.ts';
import { liveVolumes, type Actor } from './actor.ts';
import { readPages } from './read-view.ts';

/** Opens every volume, whoever held it, and closes it, so that everything is below a checkpoint. */
export async function closeAll(actor: Actor): Promise<void> {
  const { auditor, options } = actor;
  for (const volumeId of auditor.reader.volumeIds()) {
    const state = auditor.entry(volumeId)?.state;
    if (state !== 'available' && state !== 'importing') continue;
    const writer = await openVolumeWriter(options, volumeId, {
      holder: { gatewayId: 'sgw-0000000f', name: 'last' },
      accountId: '000000000001',
      takeOver: true,
    });
    // One whose creation was not acknowledged is there all the same: nobody knows it.
    if (auditor.volumes.has(volumeId)) {
      auditor.opened(volumeId, writer.epoch, { sizeBytes: writer.sizeBytes, mappedPages: writer.map.mappedPages });
    }
    await writer.close();
  }
}

/** Reads every volume and every snapshot that is promised. */
export async function readAll(actor: Actor): Promise<void> {
  const { auditor, options, catalog, tally } = actor;
  for (const ledger of liveVolumes(actor)) {
    const { volumeId, now } = ledger;
    const view = await openVolumeView(options, volumeId);
    const found = { sizeBytes: view.sizeBytes, pages: await readPages(view) };
    hold(
      contentName(found) === contentName(now),
      () => `C1 in the end ${volumeId} reads ${describeState(found)}, and should ${describeState(now)}`,
    );
    tally.check('in the end a volume reads as what was acknowledged');
    for (const { seq } of await listRecoveryPoints(options, volumeId)) {
      const point = await openRecoveryPoint(options, volumeId, { seq });
      const state = { sizeBytes: point.sizeBytes, pages: await readPages(point), consistent: true };
      auditor.checkRead(volumeId, 0, state, true);
      tally.check('in the end a recovery point reads as a state of its volume');
    }
    if (ledger.certainConsistent < 0) continue;
    const consistent = await openConsistentView(options, volumeId);
    const pages = await readPages(consistent);
    auditor.checkRead(
      volumeId,
      ledger.certainConsistent,
      { sizeBytes: consistent.sizeBytes, pages, consistent: true },
      true,
    );
  }
  for (const record of auditor.snapshots.values()) {
    if (record.deletion !== 'none') continue;
    const view = openSnapshotView(options, await catalog.getSnapshot(record.snapshotId));
    auditor.checkSnapshotRead(record.snapshotId, { sizeBytes: view.sizeBytes, pages: await readPages(view) });
    tally.check('in the end a snapshot reads as it was completed');
  }
}
