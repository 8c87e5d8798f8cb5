/** Restoring a snapshot to a local image: at once and to the end, or served while it goes on. */
import { resolve } from 'node:path';
import { openSnapshotView, type SnapshotEntry } from '../../blockstore/index.ts';
import { assert, isSnapshotId, SgwError, shellWord, withAdvice, type SnapshotId } from '../../kit/index.ts';
import type { CallContext, Input, RestoreDocument } from '../../localapi/index.ts';
import type { AttachmentState } from '../../state/index.ts';
import { dropHelperSnapshot, makeHelperSnapshot } from '../helper-snapshots.ts';
import { resolveSnapshot, resolveVolume } from '../references.ts';
import { attachmentDocument, configuredListening } from '../serving/documents.ts';
import { noCache } from '../serving/no-cache.ts';
import type { ServingParts } from '../serving/parts.ts';
import { exportExists } from '../serving/refusals.ts';
import type { Serving } from '../serving/serving.ts';
import { advisoryRemark, millisecondsSince, progressOf, timestamp, type Session } from '../session.ts';
import { beginRestore, findRestore, type BegunRestore } from './begin.ts';
import { keepPrevious, type KeptPrevious } from './keep-previous.ts';
import { requireFreeVolumeName, shadowOf } from './shadow-clone.ts';
import { openRunning } from './running.ts';

type Wish = Input<'snapshot.restore'>;

/**
 * Makes a local image of a snapshot, or with `resume` goes on with one that was interrupted. Without `serving` the image is
 * complete and on the disk when it resolves; with it, it is served, and restored meanwhile.
 * @throws denied `export-denied`; conflict `file-exists`, `image-in-use`, `restore-unfinished`, `export-exists`; notFound
 * `restore-not-found`; conflict `restore-completed`; invalid `image-too-small`, `restore-options`; unavailable; exhausted
 */
export async function restoreSnapshot(
  session: Session,
  serving: Serving | undefined,
  input: Wish,
  call: CallContext,
): Promise<RestoreDocument> {
  const startedMs = session.blocks.clock.monotonicMs();
  const path = resolve(input.image);
  const isShadowed = serving !== undefined && session.identity.mode === 'shadowing';
  const from = input.resume === true ? undefined : await snapshotOf(session, input, call);
  const { openServing } = session;
  assert(openServing !== undefined, 'whoever restores can open snapshots');
  const parts = await openServing();
  try {
    const begun =
      from === undefined
        ? { ...(await resume(session, input, call)), remarks: [], previous: null }
        : await beginOf(session, { parts, serving, isShadowed, snapshot: from }, input, call);
    const { entry, remarks, previous } = begun;
    const { restoreId, snapshotId, snapshot, sizeBytes } = entry;
    const resumed = input.resume === true;
    const about = { restoreId, snapshotId, name: snapshot.name, path, sizeBytes, resumed, previous, remarks };
    try {
      const outcome =
        serving === undefined
          ? await restoreToEnd(session, parts, begun, input, call)
          : await attach(session, serving, begun, { input, isShadowed, resumed }, call);
      return { ...about, ...outcome, durationMs: millisecondsSince(session, startedMs) };
    } catch (error) {
      // It is resumed with what the restore keeps; a volume that is to follow the image is made of the snapshot, though.
      if (!isShadowed) await dropHelperSnapshot(session, snapshotId).catch(() => undefined);
      throw resumable(error, begun);
    }
  } finally {
    await parts.close();
  }
}

interface Begun extends BegunRestore {
  readonly remarks: string[];
  /** What the image held before. */
  readonly previous: RestoreDocument['previous'];
}

interface BeginParts {
  readonly parts: ServingParts;
  readonly serving: Serving | undefined;
  /** A volume is to follow the image. */
  readonly isShadowed: boolean;
  readonly snapshot: SnapshotEntry;
}

async function beginOf(
  session: Session,
  { parts, serving, isShadowed, snapshot }: BeginParts,
  input: Wish,
  call: CallContext,
): Promise<Begun> {
  try {
    // Before anything is overwritten.
    const taken = input.exportName === undefined ? undefined : serving?.named(input.exportName);
    if (taken !== undefined) throw exportExists(taken);
    if (isShadowed) await requireFreeVolumeName(session, input.exportName ?? snapshot.name, call.signal);
    return await begin(session, parts, snapshot, input, call);
  } catch (error) {
    if (input.recoveryPoint !== undefined)
      await dropHelperSnapshot(session, snapshot.snapshotId).catch(() => undefined);
    throw error;
  }
}

async function begin(
  session: Session,
  parts: ServingParts,
  snapshot: SnapshotEntry,
  input: Wish,
  call: CallContext,
): Promise<Begun> {
  const { snapshotId } = snapshot;
  const view = openSnapshotView(session.blocks, snapshot);
  const asked = { accountId: session.identity.accountId, snapshotId, purpose: 'export' } as const;
  const { binding } = await session.service.ask('export.decide', asked, call);
  const source = await parts.openView({ blocks: session.blocks, view, cache: noCache(), readAheadBytes: 0 });
  const kept: { previous: KeptPrevious } = { previous: null };
  const beforeOverwriting = async (path: string): Promise<void> => {
    if (input.snapshotFirst !== false) kept.previous = await keepPrevious(session, path, snapshot, call);
  };
  try {
    const request = { snapshot, source, path: input.image, force: input.force ?? false, beforeOverwriting };
    const begun = await beginRestore(session, request, call.signal);
    return { ...begun, ...kept, remarks: binding ? [] : [advisoryRemark(session)] };
  } catch (error) {
    throw kept.previous === null ? error : withPrevious(error, kept.previous);
  } finally {
    await source.close();
  }
}

/** The image may be overwritten already. */
const withPrevious = (error: unknown, { snapshotName, snapshotId }: NonNullable<KeptPrevious>): SgwError =>
  withAdvice(error, `What the image held is kept in snapshot ${snapshotName}.`, { previousSnapshotId: snapshotId });

async function snapshotOf(session: Session, input: Wish, call: CallContext): Promise<SnapshotEntry> {
  const { snapshot, recoveryPoint } = input;
  if (recoveryPoint === undefined) return await resolveSnapshot(session.catalog, snapshot, call.signal);
  const volume = await resolveVolume(session.catalog, snapshot, call.signal);
  return await makeHelperSnapshot(session, volume, { purpose: `restore of ${volume.name}`, recoveryPoint }, call);
}

/** The snapshot may be gone: what is restored is kept by the restore. */
async function resume(session: Session, input: Wish, call: CallContext): Promise<BegunRestore> {
  if (input.force === true || input.recoveryPoint !== undefined)
    throw new SgwError('invalid', 'restore-options', '--resume goes on with what was begun, as it was begun', {
      hint: 'Leave out --force and --recovery-point, or leave out --resume to begin anew.',
    });
  const ref = input.snapshot.toLowerCase();
  const snapshotId: SnapshotId = isSnapshotId(ref)
    ? ref
    : (await resolveSnapshot(session.catalog, input.snapshot, call.signal)).snapshotId;
  const begun = await findRestore(session, snapshotId, input.image, call.signal);
  const { accountId } = session.identity;
  if (begun.entry.accountId === accountId) return begun;
  await begun.image.close();
  throw new SgwError('notFound', 'restore-not-found', `account ${accountId} began no restore of ${snapshotId}`, {
    hint: 'Act for the account that began it, with --account.',
    details: { snapshotId },
  });
}

type Outcome = Pick<RestoreDocument, 'state' | 'doneBytes' | 'export'>;

async function restoreToEnd(
  session: Session,
  parts: ServingParts,
  { entry, image }: Begun,
  { rateBytes }: Wish,
  call: CallContext,
): Promise<Outcome> {
  const onProgress = progressOf(call, `restoring ${entry.snapshot.name}`);
  const how = { cache: noCache(), readAheadBytes: 0, rateBytes: rateBytes ?? null, isServed: false, onProgress };
  const running = await openRunning({ session, parts, entry, image, ...how }, call.signal);
  try {
    await running.restore.run(call.signal);
  } finally {
    await running.close();
  }
  return { state: 'completed', doneBytes: entry.sizeBytes, export: null };
}

function resumable(error: unknown, { entry, image: { path }, previous }: Begun): SgwError {
  const { snapshotId, restoreId } = entry;
  const goOn = `What is restored is kept; go on with: sgw snapshot restore ${snapshotId} --image ${shellWord(path)} --resume`;
  const before = previous === null ? '' : ` (What the image held before is in snapshot ${previous.snapshotName}.)`;
  const kept = previous === null ? {} : { previousSnapshotId: previous.snapshotId };
  return withAdvice(error, `${goOn}${before}`, { restoreId, path, ...kept });
}

/** Over NBD, or as an iSCSI target when one is named. */
function reachedBy({ targetName }: Wish): Pick<AttachmentState, 'protocols' | 'iscsi'> {
  if (targetName === undefined) return { protocols: ['nbd'], iscsi: null };
  const open = { chapUser: null, chapTargetUser: null, initiators: [] };
  return { protocols: ['iscsi'], iscsi: { targetName: targetName.toLowerCase(), ...open } };
}

interface AttachWish {
  readonly input: Wish;
  /** A volume follows the image. */
  readonly isShadowed: boolean;
  readonly resumed: boolean;
}

async function attach(
  session: Session,
  serving: Serving,
  begun: Begun,
  { input, isShadowed, resumed }: AttachWish,
  call: CallContext,
): Promise<Outcome> {
  const { entry, image } = begun;
  const exportName = input.exportName ?? entry.snapshot.name;
  try {
    const served = isShadowed
      ? {
          volumeId: await shadowOf(session, begun, { name: exportName, isBegun: !resumed }, call),
          snapshotId: null,
          imagePath: image.path,
        }
      : { volumeId: null, snapshotId: entry.snapshotId };
    const row: AttachmentState = {
      exportName,
      ...served,
      recoveryPointSeq: null,
      readOnly: false,
      ...reachedBy(input),
      scratchToken: null,
      scratchVolumeId: null,
      accountId: session.identity.accountId,
      attachedAt: timestamp(session),
      restore: { restoreId: entry.restoreId, path: image.path, rateBytes: input.rateBytes ?? null },
    };
    // Whoever has the image, and no other gateway that served it from a home that is lost, goes on with its volume.
    const takeOver = resumed && entry.gatewayId !== session.identity.gatewayId;
    const { report } = await serving.attach(row, { takeOver, image }, call);
    // The clone has what the snapshot of a recovery point was made for, and the restore keeps it as well.
    if (isShadowed) await dropHelperSnapshot(session, entry.snapshotId).catch(() => undefined);
    const listening = serving.listening ?? configuredListening(session.home, session.settings);
    const { restore } = report;
    return {
      state: restore?.state ?? 'restoring',
      doneBytes: restore?.doneBytes ?? 0,
      export: attachmentDocument(report, listening),
    };
  } catch (error) {
    await image.close();
    throw error;
  }
}
