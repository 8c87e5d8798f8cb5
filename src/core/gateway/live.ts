/** What verbs on volumes have to know of what is attached: whether they may work on it at all, and how they do it live. */
import { createPendingSnapshot, type SnapshotEntry, type VolumeEntry } from '../blockstore/index.ts';
import { SgwError, type VolumeId } from '../kit/index.ts';
import type { CallContext, VolumeSummary } from '../localapi/index.ts';
import type { ServedVolume } from '../volume/index.ts';
import { readVolumeSummary } from './documents.ts';
import type { Session } from './session.ts';
import { endHint } from './serving/refusals.ts';
import type { Attached } from './serving/served.ts';

/** @throws conflict `volume-attached` while this process serves the volume */
export function requireDetached({ serving }: Session, { volumeId, name }: VolumeEntry, what: string): void {
  const attached = serving?.ofVolume(volumeId);
  if (attached === undefined) return;
  throw new SgwError(
    'conflict',
    'volume-attached',
    `${what} needs volume "${name}" detached; it is attached as export ${attached.name}`,
    {
      hint: endHint(attached.report.record),
      details: { volumeId, exportName: attached.name },
    },
  );
}

/** The volume as it is served now; undefined when it is not attached. @throws unavailable `export-not-ready` when it is, and is not open */
export function servedVolume(
  { serving }: Session,
  volumeId: VolumeId,
): (Attached & { readonly volume: ServedVolume }) | undefined {
  const attached = serving?.ofVolume(volumeId);
  if (attached === undefined) return undefined;
  if (isOpen(attached)) return attached;
  const { reason, hint } = attached.report;
  throw new SgwError(
    'unavailable',
    'export-not-ready',
    `export ${attached.name} is not open: ${reason ?? attached.phase}`,
    {
      ...(hint === null ? {} : { hint }),
      details: { exportName: attached.name },
    },
  );
}

const isOpen = (attached: Attached): attached is Attached & { readonly volume: ServedVolume } =>
  attached.volume !== undefined && attached.phase === 'serving';

/**
 * Takes a snapshot of a volume that is served: what was acknowledged is in it, what comes after is not. `pending` and durable
 * when it resolves; the volume completes it once its commit is in the store (C8).
 */
export async function liveSnapshot(
  session: Session,
  volume: ServedVolume,
  request: Omit<Parameters<typeof createPendingSnapshot>[1], 'barrier' | 'reason'>,
): Promise<SnapshotEntry> {
  const { entry, completed } = await volume.snapshot(async (place) =>
    createPendingSnapshot(session.blocks, { ...request, ...place }),
  );
  // Who waits for it looks at the snapshot; a volume that fails shows that itself.
  completed.catch(() => undefined);
  return entry;
}

/** Resizes a volume that is served. Durable when it resolves. */
export async function liveResize(
  session: Session,
  attached: Attached & { readonly volume: ServedVolume },
  sizeBytes: number,
  call: CallContext,
): Promise<VolumeSummary> {
  const { volume } = attached;
  const before = volume.sizeBytes;
  attached.noteChange(Math.min(before, sizeBytes), Math.abs(before - sizeBytes));
  await volume.resize(sizeBytes);
  const entry = await session.catalog.updateVolume(volume.volumeId, (now) => ({ ...now, sizeBytes }), call.signal);
  return { ...(await readVolumeSummary(session, entry, call.signal)), sizeBytes };
}
