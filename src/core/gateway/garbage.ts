/** gc of the store, and how volumes come to be deleted and undeleted. */
import { openVolumeWriter, type VolumeEntry, type VolumeWriter } from '../blockstore/index.ts';
import { collectGarbage, previewFree, rewriteVolume, undeleteUntil, type GcReport } from '../blockstore/gc/index.ts';
import { SgwError, toSgwError, type VolumeId } from '../kit/index.ts';
import type { CallContext, DeletedDocument, GcDocument, Input, VolumeSummary } from '../localapi/index.ts';
import { readVolumeSummary } from './documents.ts';
import { requireFreeName } from './idempotency.ts';
import { resolveDeletedVolume } from './references.ts';
import { settleLog } from './serving/local-log.ts';
import { requireWholeStore } from './store-place.ts';
import { holderOf, millisecondsSince, timestamp, type Session } from './session.ts';

const GRACE_MS = 24 * 60 * 60_000;
/** Somebody else works on the volume. */
const LEFT_CODES: ReadonlySet<string> = new Set(['locked', 'volume-held']);

/**
 * Removes what nothing has needed for a grace period, and rewrites poor segments of volumes that no other gateway holds.
 * Durable when it resolves.
 * @throws corrupt `gc-stopped`, `entry-missing`: then nothing was removed; unavailable `gc-contended`, `locked`
 */
export async function collectStoreGarbage(
  session: Session,
  input: Input<'store.gc'>,
  call: CallContext,
): Promise<GcDocument> {
  const startedMs = session.blocks.clock.monotonicMs();
  const { graceMs = GRACE_MS, preview = false } = input;
  return await session.locks.withGc(call, async () => {
    const collect = async (): Promise<GcReport> =>
      uncontended(() => collectGarbage(session.blocks, { graceMs, preview, signal: call.signal }));
    const first = await collect();
    const rewriting = preview ? { segments: 0, bytes: 0, remarks: [] } : await rewriteOwn(session, first, call);
    // Without a grace period, what was rewritten can go at once.
    const last = graceMs === 0 && rewriting.segments > 0 ? await collect() : undefined;
    const { roots, live, waiting, removableAtMs, remarks } = last ?? first;
    return {
      store: session.blocks.objects.description,
      preview,
      graceMs,
      roots,
      live,
      removed: {
        objects: first.removed.objects + (last?.removed.objects ?? 0),
        bytes: first.removed.bytes + (last?.removed.bytes ?? 0),
      },
      tombstones: first.tombstones + (last?.tombstones ?? 0),
      waiting,
      removableAt: removableAtMs === null ? null : new Date(removableAtMs).toISOString(),
      rewritten: { segments: rewriting.segments, bytes: rewriting.bytes },
      purgedVolumes: [...first.purgedVolumes, ...(last?.purgedVolumes ?? [])],
      remarks: [...remarks, ...rewriting.remarks],
      durationMs: millisecondsSince(session, startedMs),
    };
  });
}

const TRIES_MAX = 4;

/**
 * Begins again when another gc marked meanwhile: one of another gateway, or one of this home that was killed, whose list a
 * directory store may bring to light with the next write to it.
 */
async function uncontended<T>(collect: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await collect();
    } catch (error) {
      if (toSgwError(error).code !== 'gc-contended' || attempt === TRIES_MAX) throw error;
    }
  }
}

interface Rewriting {
  readonly segments: number;
  readonly bytes: number;
  readonly remarks: readonly string[];
}

/** A volume that is in use is left to a later run. */
async function rewriteOwn(session: Session, report: GcReport, call: CallContext): Promise<Rewriting> {
  let segments = 0;
  let bytes = 0;
  const remarks: string[] = [];
  for (const [volumeId, candidates] of report.ownSegments) {
    try {
      const done = await session.locks.withVolume(volumeId, 'gc', { ...call, lockTimeoutMs: 0 }, async () => {
        await settleLog(session, volumeId, call);
        return await rewriteVolume(session.blocks, volumeId, {
          candidates,
          snapshotIds: report.snapshotIds,
          holder: holderOf(session),
          accountId: session.identity.accountId,
          signal: call.signal,
        });
      });
      segments += done.segments;
      bytes += done.bytes;
    } catch (error) {
      const failure = toSgwError(error);
      if (LEFT_CODES.has(failure.code) || failure.kind === 'notFound' || failure.kind === 'fenced') continue;
      // What can't be read can't be rewritten; that is no reason not to free the rest.
      if (failure.kind !== 'corrupt') throw error;
      remarks.push(`Volume ${volumeId} was not rewritten: ${failure.message}.`);
    }
  }
  return { segments, bytes, remarks };
}

/** What deleting would free. Costs a mark of the store. */
export async function previewDeletion(
  session: Session,
  of: { readonly kind: 'volume' | 'snapshot'; readonly id: string; readonly name: string },
  call: CallContext,
): Promise<DeletedDocument> {
  const { kind, id, name } = of;
  requireWholeStore(session.blocks.objects.description, 'telling what a deletion frees');
  const root = kind === 'volume' ? { kind, id: id as VolumeId } : { kind, id };
  const freesBytes = await previewFree(session.blocks, root, { signal: call.signal });
  return { id, name, deleted: false, preview: true, freesBytes, undeleteUntil: null };
}

/**
 * Marks a volume as deleted while this gateway holds it under an epoch of its own: a writer of before gets no commit
 * acknowledged any more, and one after sees that it is deleted. To be called with the volume's lock.
 * @throws conflict `volume-held`; fenced when another gateway took it over at the same moment
 */
export async function markDeleted(
  session: Session,
  { volumeId }: VolumeEntry,
  takeOver: boolean,
  call: CallContext,
): Promise<DeletedDocument> {
  const writer = await openToDelete(session, volumeId, takeOver, call);
  try {
    const deletedAt = timestamp(session);
    const entry = await session.catalog.updateVolume(volumeId, (now) => deleted(now, deletedAt), call.signal);
    await giveBack(session, writer, volumeId);
    return {
      id: volumeId,
      name: entry.name,
      deleted: true,
      preview: false,
      freesBytes: null,
      undeleteUntil: undeleteUntil(entry.deletedAt ?? deletedAt).toISOString(),
    };
  } catch (error) {
    // Whether it is deleted or not, others must not find it held. After `giveBack` this does nothing.
    await writer?.close().catch(() => undefined);
    throw error;
  } finally {
    await writer?.abandon();
  }
}

/** Undefined for a volume that is damaged: nobody can open that for writing, and it can be deleted all the same. */
async function openToDelete(
  session: Session,
  volumeId: VolumeId,
  takeOver: boolean,
  call: CallContext,
): Promise<VolumeWriter | undefined> {
  try {
    return await openVolumeWriter(session.blocks, volumeId, {
      holder: holderOf(session),
      accountId: session.identity.accountId,
      takeOver,
      signal: call.signal,
    });
  } catch (error) {
    if (toSgwError(error).kind !== 'corrupt') throw error;
    return undefined;
  }
}

/** When another gateway took the volume over after all, it is not deleted under its hands. */
async function giveBack(session: Session, writer: VolumeWriter | undefined, volumeId: VolumeId): Promise<void> {
  try {
    await writer?.close();
  } catch (error) {
    // The volume is deleted; that its head still names this gateway is of no account.
    if (toSgwError(error).kind !== 'fenced') return;
    await session.catalog.updateVolume(volumeId, (now) => (now.state === 'deleted' ? undeleted(now) : now));
    throw error;
  }
}

function deleted(now: VolumeEntry, deletedAt: string): VolumeEntry {
  if (now.state !== 'available' && now.state !== 'importing') return now;
  return { ...now, state: 'deleted', stateBefore: now.state, deletedAt };
}

function undeleted({ stateBefore, ...now }: VolumeEntry): VolumeEntry {
  return { ...now, state: stateBefore ?? 'available', deletedAt: null };
}

/**
 * Brings a deleted volume back, unless gc has begun to purge it. Durable when it resolves.
 * @throws notFound `volume-not-found`; conflict `volume-exists` when its name was taken, `volume-not-deleted`
 */
export async function undeleteVolume(
  session: Session,
  input: Input<'volume.undelete'>,
  call: CallContext,
): Promise<VolumeSummary> {
  const { catalog, locks } = session;
  return await locks.withNames('volumes', call, async () => {
    const found = await resolveDeletedVolume(catalog, input.volume, call.signal);
    if (found.state !== 'deleted') throw notDeleted(found);
    const { volumeId, name } = found;
    const hint = 'Give that one another name with `sgw volume rename`, and this one comes back under its own.';
    requireFreeName('volume', name, await catalog.listVolumes({ signal: call.signal }), hint);
    const bringBack = (now: VolumeEntry): VolumeEntry => {
      if (now.state === 'deleted') return undeleted(now);
      throw notDeleted(now);
    };
    const entry = await catalog.updateVolume(volumeId, bringBack, call.signal);
    return await readVolumeSummary(session, entry, call.signal);
  });
}

function notDeleted({ name, volumeId, state }: VolumeEntry): SgwError {
  if (state === 'purging') {
    return new SgwError('notFound', 'volume-not-found', `volume "${name}" was purged: it can not be brought back`, {
      hint: 'Its snapshots and clones, if there are any, are whole: `sgw snapshot list`.',
      details: { volumeId },
    });
  }
  return new SgwError('conflict', 'volume-not-deleted', `volume "${name}" is not deleted`, {
    hint: '`sgw volume list --deleted` shows what can be brought back.',
    details: { volumeId },
  });
}
