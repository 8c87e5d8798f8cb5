/** Volumes: create, list, show, resize, rename, delete. Import, map and verification have files of their own. */
import {
  DEFAULT_RECOVERY_POLICY,
  openVolumeView,
  openVolumeWriter,
  type Head,
  type SnapshotEntry,
  type VolumeEntry,
} from '../blockstore/index.ts';
import { formatSize, SgwError, toSgwError } from '../kit/index.ts';
import type {
  AttachmentDocument,
  CallContext,
  DeletedDocument,
  Input,
  VolumeCreated,
  VolumeDocument,
  VolumeList,
  VolumeSummary,
} from '../localapi/index.ts';
import { updateState } from '../state/index.ts';
import { readVolumeSummaries, readVolumeSummary, volumeSummary } from './documents.ts';
import { NOTHING_DELETED, orMissing } from './missing.ts';
import { findExisting, requireFreeName, sameTags } from './idempotency.ts';
import { resolveSnapshot, resolveVolume } from './references.ts';
import { exportsOf } from './serving/documents.ts';
import { attachedRemarks } from './serving/portals.ts';
import { requireFinished } from './unfinished-import.ts';
import { heldRemark, holderOf, isHeldElsewhere, requireCachedMode, type Session } from './session.ts';

/**
 * Creates an empty volume, or a clone of a snapshot. Durable in the store when it resolves.
 * @throws conflict `volume-exists`, `different-parameters`; invalid `size-missing`; unsupported `wrong-mode`
 */
export async function createVolume(
  session: Session,
  input: Input<'volume.create'>,
  call: CallContext,
): Promise<VolumeCreated> {
  requireCachedMode(session, 'volume create');
  if (input.fromVolume !== undefined) return await cloneVolume(session, input, input.fromVolume, call);
  const from =
    input.fromSnapshot === undefined ? undefined : await completedSnapshot(session, input.fromSnapshot, call);
  return await createFrom(session, input, from, call);
}

/** A clone of a volume as it is, or was at a time: by way of a snapshot that goes again. */
async function cloneVolume(
  session: Session,
  input: Input<'volume.create'>,
  fromVolume: string,
  call: CallContext,
): Promise<VolumeCreated> {
  const source = await resolveVolume(session.catalog, fromVolume, call.signal);
  const { dropHelperSnapshot, makeHelperSnapshot } = await import('./helper-snapshots.ts');
  const wish = { purpose: `cloning ${source.name}`, recoveryPoint: input.recoveryPoint };
  const from = await makeHelperSnapshot(session, source, wish, call);
  try {
    return await createFrom(session, input, from, call);
  } finally {
    // What is left of it is listed, and does no harm.
    await dropHelperSnapshot(session, from.snapshotId).catch(() => undefined);
  }
}

async function createFrom(
  session: Session,
  input: Input<'volume.create'>,
  from: SnapshotEntry | undefined,
  call: CallContext,
): Promise<VolumeCreated> {
  const { catalog, identity, locks } = session;
  const sizeBytes = input.sizeBytes ?? from?.sizeBytes;
  if (sizeBytes === undefined) {
    throw new SgwError('invalid', 'size-missing', `volume "${input.name}" needs a size or a snapshot to start from`, {
      hint: 'Add --size 10GiB, or --from-snapshot SNAPSHOT.',
    });
  }
  return await locks.withNames('volumes', call, async () => {
    const request = { name: input.name, ifNotExists: input.ifNotExists ?? false, clientToken: input.clientToken };
    const existing = findExisting('volume', request, await catalog.listVolumes({ signal: call.signal }), (entry) => [
      ['size', input.sizeBytes === undefined || entry.sizeBytes === input.sizeBytes],
      ['snapshot', input.fromVolume !== undefined || entry.parentSnapshotId === (from?.snapshotId ?? null)],
      ['tags', sameTags(input.tags, entry.tags)],
    ]);
    const entry =
      existing ??
      (await catalog.createVolume(
        {
          name: input.name,
          sizeBytes,
          accountId: identity.accountId,
          ...(input.tags === undefined ? {} : { tags: input.tags }),
          ...(input.clientToken === undefined ? {} : { clientToken: input.clientToken }),
          ...(from === undefined ? {} : { from }),
        },
        call.signal,
      ));
    return { ...(await readVolumeSummary(session, entry, call.signal)), created: existing === undefined };
  });
}

async function completedSnapshot(session: Session, ref: string, call: CallContext): Promise<SnapshotEntry> {
  const snapshot = await resolveSnapshot(session.catalog, ref, call.signal);
  if (snapshot.state === 'completed') {
    await requireClonable(session, snapshot, call);
    return snapshot;
  }
  throw new SgwError('conflict', 'snapshot-not-completed', `snapshot "${snapshot.name}" is ${snapshot.state}`, {
    hint: `\`sgw snapshot show ${snapshot.name}\` says more.`,
    details: { snapshotId: snapshot.snapshotId, state: snapshot.state },
  });
}

/** A clone of another account's snapshot is a way out of that account. @throws denied `export-denied` */
async function requireClonable(
  session: Session,
  { snapshotId, accountId: owner }: SnapshotEntry,
  call: CallContext,
): Promise<void> {
  const { accountId } = session.identity;
  if (owner === accountId) return;
  await session.service.ask('export.decide', { accountId, snapshotId, purpose: 'clone' }, call);
}

/** The volumes, by age, and behind them the damaged ones; deleted ones as well when asked. Takes no lock. */
export async function listVolumes(
  session: Session,
  input: Input<'volume.list'>,
  call: CallContext,
): Promise<VolumeList> {
  const options = { includeDeleted: input.deleted ?? false, signal: call.signal };
  const { summaries, remarks } = await readVolumeSummaries(session, options);
  return { volumes: summaries, ...(remarks.length === 0 ? {} : { remarks }) };
}

/** One volume with its holder, its newest commit and its snapshots. Takes no lock. */
export async function showVolume(
  session: Session,
  input: Input<'volume.show'>,
  call: CallContext,
): Promise<VolumeDocument> {
  const { catalog, blocks } = session;
  const entry = await resolveVolume(catalog, input.volume, call.signal);
  const [head, view, snapshots] = await Promise.all([
    catalog.headOf(entry.volumeId, call.signal),
    openVolumeView(blocks, entry.volumeId, { signal: call.signal }),
    catalog.listSnapshots({ signal: call.signal }),
  ]);
  const attachment = attachmentOf(session, entry.volumeId);
  const remarks = [
    ...(isHeldElsewhere(session, head) ? [heldRemark(entry.name, head.holder)] : []),
    ...(attachment === null ? [] : attachedRemarks(attachment)),
  ];
  return {
    ...volumeSummary(session, entry, head),
    seq: view.seq,
    epoch: head.epoch,
    holder: head.holder,
    lastCommitAt: view.seq === 0 ? null : new Date(view.lastCommitTimeMs).toISOString(),
    snapshots: snapshots
      .filter((snapshot) => snapshot.volumeId === entry.volumeId)
      .map(({ snapshotId, name }) => ({ snapshotId, name })),
    unfinishedImport: entry.unfinishedImport,
    recovery: recoveryOf(session, entry.volumeId, head),
    attachment,
    ...(remarks.length === 0 ? {} : { remarks }),
  };
}

/** As this gateway would keep them; who only reads the store shows what its writer went by last. */
function recoveryOf({ settings, isReader }: Session, volumeId: string, head: Head): VolumeDocument['recovery'] {
  const known = isReader === true ? head.recovery?.policy : settings.volumeSettings[volumeId]?.recovery;
  const { allForMs, allMax, tiers } = known ?? DEFAULT_RECOVERY_POLICY;
  return { allForMs, allMax, tiers: tiers.map((tier) => ({ ...tier })) };
}

/** How a volume is served here; null when it is not attached. */
function attachmentOf({ home, settings, serving }: Session, volumeId: string): VolumeDocument['attachment'] {
  const exports = exportsOf(home, settings, serving);
  const isOfVolume = (one: AttachmentDocument): boolean =>
    one.scratchVolumeId === volumeId || (one.volumeId === volumeId && one.recoveryPointSeq === null);
  return exports.find(isOfVolume) ?? null;
}

/**
 * Grows or, with `shrink`, cuts a volume. Durable when it resolves.
 * @throws invalid `would-shrink`; conflict `import-unfinished`, `volume-held`; unavailable when another process works on it
 */
export async function resizeVolume(
  session: Session,
  input: Input<'volume.resize'>,
  call: CallContext,
): Promise<VolumeSummary> {
  const { catalog, blocks, identity, locks } = session;
  const found = await resolveVolume(catalog, input.volume, call.signal);
  const { volumeId } = found;
  const { liveResize, servedVolume } = await import('./live.ts');
  const served = servedVolume(session, volumeId);
  if (served !== undefined) {
    const { sizeBytes } = served.volume;
    if (input.sizeBytes < sizeBytes && input.shrink !== true) throw wouldShrink(found, sizeBytes, input.sizeBytes);
    return await liveResize(session, served, input.sizeBytes, call);
  }
  const { settleLog } = await import('./serving/local-log.ts');
  return await locks.withVolume(volumeId, `resizing ${input.volume}`, call, async () => {
    const entry = await resolveVolume(catalog, volumeId, call.signal);
    requireFinished(entry);
    await settleLog(session, volumeId, call);
    const writer = await openVolumeWriter(blocks, volumeId, {
      holder: holderOf(session),
      accountId: identity.accountId,
      signal: call.signal,
    });
    try {
      if (input.sizeBytes < writer.sizeBytes && input.shrink !== true)
        throw wouldShrink(entry, writer.sizeBytes, input.sizeBytes);
      if (input.sizeBytes !== writer.sizeBytes) await writer.resize(input.sizeBytes);
    } finally {
      await writer.close();
    }
    const resized = await catalog.updateVolume(
      volumeId,
      (now) => ({ ...now, sizeBytes: input.sizeBytes }),
      call.signal,
    );
    return await readVolumeSummary(session, resized, call.signal);
  });
}

function wouldShrink(entry: VolumeEntry, nowBytes: number, sizeBytes: number): SgwError {
  return new SgwError(
    'invalid',
    'would-shrink',
    `volume "${entry.name}" has ${formatSize(nowBytes)}; ${formatSize(sizeBytes)} would cut off its end`,
    {
      hint: 'Add --shrink if what lies beyond the new size may be lost.',
      details: { volumeId: entry.volumeId, sizeBytes: nowBytes, wantedBytes: sizeBytes },
    },
  );
}

/** Gives a volume another name, which must be free. */
export async function renameVolume(
  session: Session,
  input: Input<'volume.rename'>,
  call: CallContext,
): Promise<VolumeSummary> {
  const { catalog, locks } = session;
  return await locks.withNames('volumes', call, async () => {
    const entry = await resolveVolume(catalog, input.volume, call.signal);
    const others = await catalog.listVolumes({ signal: call.signal });
    requireFreeName(
      'volume',
      input.name,
      others.filter((other) => other.volumeId !== entry.volumeId),
    );
    const renamed = await catalog.updateVolume(entry.volumeId, (now) => ({ ...now, name: input.name }), call.signal);
    return await readVolumeSummary(session, renamed, call.signal);
  });
}

/**
 * Marks a volume as deleted; its data stays until gc, and its snapshots stay usable. With `preview`, only tells what that
 * would free.
 * @throws conflict `volume-held` when another gateway has it open; unavailable when another process works on it
 */
export async function deleteVolume(
  session: Session,
  input: Input<'volume.delete'>,
  call: CallContext,
): Promise<DeletedDocument> {
  const { catalog, locks } = session;
  const entry = await orMissing(input.ifExists, () => resolveVolume(catalog, input.volume, call.signal));
  if (entry === undefined) return NOTHING_DELETED;
  const { volumeId, name } = entry;
  const { requireUngrouped } = await import('./groups/ungrouped.ts');
  await requireUngrouped(session, entry, call);
  const { markDeleted, previewDeletion } = await import('./garbage.ts');
  if (input.preview === true) return await previewDeletion(session, { kind: 'volume', id: volumeId, name }, call);
  const { requireDetached } = await import('./live.ts');
  requireDetached(session, entry, 'deleting');
  const { settleLog } = await import('./serving/local-log.ts');
  return await locks.withVolume(volumeId, `deleting ${name}`, call, async () => {
    // So that an undelete brings everything back. What is damaged is deleted all the same.
    await settleLog(session, volumeId, call).catch(unlessDamaged);
    const deleted = await markDeleted(session, entry, input.takeOver ?? false, call);
    await forgetAttachment(session, volumeId, call);
    return deleted;
  });
}

function unlessDamaged(error: unknown): void {
  if (toSgwError(error).kind !== 'corrupt') throw error;
}

/** A volume that is gone is not attached at the next start. */
async function forgetAttachment({ home }: Session, volumeId: string, call: CallContext): Promise<void> {
  const { lockTimeoutMs, signal } = call;
  await updateState(
    home,
    ({ gateway }) => {
      if (gateway === null) return;
      gateway.attachments = gateway.attachments.filter((row) => row.volumeId !== volumeId);
      Reflect.deleteProperty(gateway.volumeSettings, volumeId);
    },
    { lockTimeoutMs, signal },
  );
}
