/** Snapshots: create, list, show, rename, delete. Diff, export, import and verification have files of their own. */
import { createSnapshot, type ScheduleMark, type SnapshotEntry, type VolumeEntry } from '../blockstore/index.ts';
import type {
  CallContext,
  DeletedDocument,
  Input,
  SnapshotCreated,
  SnapshotDocument,
  SnapshotList,
  SnapshotSummary,
} from '../localapi/index.ts';
import { damagedSnapshot, damageRemark, snapshotSummary } from './documents.ts';
import { findExisting, requireFreeName, sameTags } from './idempotency.ts';
import { hasName, resolveSnapshot, resolveVolume } from './references.ts';
import { recoverySeq, recoveryTime } from './recovery-points.ts';
import { timestamp, type Session } from './session.ts';
import { NOTHING_DELETED, orMissing } from './missing.ts';
import { requireFinished } from './unfinished-import.ts';

/**
 * Creates a snapshot of a volume. Of one that is served, it holds all that was acknowledged, and is pending until its commit is
 * in the store. Of another, or of a recovery point, it is that of a consistent commit, and completed and durable in the store
 * when it resolves.
 * @throws notFound `recovery-point-not-found`; invalid `bad-time`; conflict `snapshot-exists`, `different-parameters`, `import-unfinished`
 */
export async function takeSnapshot(
  session: Session,
  input: Input<'snapshot.create'>,
  call: CallContext,
): Promise<SnapshotCreated> {
  const volume = await resolveVolume(session.catalog, input.volume, call.signal);
  if (volume.state === 'importing') requireFinished(volume);
  // What was not uploaded is no part of the past.
  if (input.recoveryPoint === undefined) await settleUnserved(session, volume, call);
  return await makeSnapshot(session, volume, input, call);
}

/**
 * As `takeSnapshot`, for a run of a schedule, under a name made of the volume and the time. It is the one that this run has made
 * already, should there be one, or one of the same schedule that is pending still.
 */
export async function takeScheduled(
  session: Session,
  volume: VolumeEntry,
  schedule: ScheduleMark,
  call: CallContext,
): Promise<SnapshotEntry> {
  if (volume.state === 'importing') requireFinished(volume);
  await settleUnserved(session, volume, call);
  return await session.locks.withNames('snapshots', call, async () => {
    const listed = (await session.catalog.listSnapshots({ signal: call.signal })).filter(hasName);
    const present = await withoutInterrupted(session, volume, undefined, listed, call.signal);
    const isServed = session.serving?.ofVolume(volume.volumeId) !== undefined;
    const made = present.find((entry) => isOfRun(entry, schedule, isServed));
    return made ?? (await create(session, volume, { name: freeName(session, volume, present, 'utc'), schedule }, call));
  });
}

/** Nobody completes what is pending of a volume that is not served any more. */
function isOfRun(entry: SnapshotEntry, { scheduleId, run, dueAt }: ScheduleMark, isServed: boolean): boolean {
  const { state, schedule } = entry;
  if (schedule?.scheduleId !== scheduleId) return false;
  return state === 'pending' ? isServed : schedule.run === run && schedule.dueAt === dueAt;
}

/** What was acknowledged belongs into a snapshot, also where it is only in a write log that nobody serves now. */
async function settleUnserved(session: Session, { volumeId, name }: VolumeEntry, call: CallContext): Promise<void> {
  if (session.serving?.ofVolume(volumeId) !== undefined) return;
  const { hasLocalLog, settleLog } = await import('./serving/local-log.ts');
  if (!(await hasLocalLog(session.home, volumeId))) return;
  await session.locks.withVolume(volumeId, `settling the write log of ${name}`, call, async () =>
    settleLog(session, volumeId, call),
  );
}

/** As `takeSnapshot`, of a volume at hand. */
export async function makeSnapshot(
  session: Session,
  volume: VolumeEntry,
  input: Omit<Input<'snapshot.create'>, 'volume'>,
  call: CallContext,
): Promise<SnapshotCreated> {
  const { catalog, locks } = session;
  const at = input.recoveryPoint === undefined ? undefined : recoveryTime(input.recoveryPoint);
  return await locks.withNames('snapshots', call, async () => {
    const listed = (await catalog.listSnapshots({ signal: call.signal })).filter(hasName);
    const present = await withoutInterrupted(session, volume, input.name, listed, call.signal);
    const name = input.name ?? freeName(session, volume, present);
    const request = { name, ifNotExists: input.ifNotExists ?? false, clientToken: input.clientToken };
    const seq = at === undefined ? undefined : await recoverySeq(session, volume.volumeId, at, call);
    const existing = findExisting('snapshot', request, present, (entry) => [
      ['volume', entry.volumeId === volume.volumeId],
      ['recovery point', seq === undefined || entry.seq === seq],
      ['description', input.description === undefined || entry.description === input.description],
      ['tags', sameTags(input.tags, entry.tags)],
    ]);
    const wish = {
      name,
      ...(at === undefined ? {} : { recoveryPoint: at }),
      ...(input.description === undefined ? {} : { description: input.description }),
      ...(input.tags === undefined ? {} : { tags: input.tags }),
      ...(input.clientToken === undefined ? {} : { clientToken: input.clientToken }),
    };
    const entry = existing ?? (await create(session, volume, wish, call));
    return { ...snapshotSummary(entry), created: existing === undefined };
  });
}

type Wish = Omit<Parameters<typeof createSnapshot>[1], 'volume' | 'accountId' | 'maker' | 'signal'>;

/** Of what is served, as it is served; of anything else as the store has it. Needs the names' lock. */
async function create(
  session: Session,
  volume: VolumeEntry,
  wish: Wish,
  { signal }: CallContext,
): Promise<SnapshotEntry> {
  const { accountId, gatewayId: maker } = session.identity;
  const snapshot = { ...wish, volume, accountId, maker, signal };
  const { liveSnapshot, servedVolume } = await import('./live.ts');
  const served = wish.recoveryPoint === undefined ? servedVolume(session, volume.volumeId)?.volume : undefined;
  return served === undefined
    ? await createSnapshot(session.blocks, snapshot)
    : await liveSnapshot(session, served, snapshot);
}

/**
 * Whoever makes a snapshot holds the names' lock of its home until it is completed, so one of this gateway that is still
 * pending was left by a process that was killed, and so was one of the same volume and name. It is marked as failed, and
 * its name is free again. Should another gateway be at it at this moment, its completion is refused; if that, or what the
 * killed process had sent, came first, the snapshot is completed. One with a barrier in a write log is not left: whoever has
 * that log completes it.
 */
async function withoutInterrupted(
  session: Session,
  volume: VolumeEntry,
  name: string | undefined,
  listed: readonly SnapshotEntry[],
  signal: AbortSignal,
): Promise<SnapshotEntry[]> {
  const { gatewayId } = session.identity;
  const left = listed.filter(
    (entry) =>
      entry.state === 'pending' &&
      // One with a barrier, or that waits for one, is completed or given up by who has the volume's write log.
      entry.barrier === undefined &&
      entry.reason === null &&
      (entry.maker === gatewayId || (entry.name === name && entry.volumeId === volume.volumeId)),
  );
  const fail = (now: SnapshotEntry): SnapshotEntry =>
    now.state === 'pending' ? { ...now, state: 'failed', reason: 'the process that made it was stopped' } : now;
  const settled: SnapshotEntry[] = [];
  for (const entry of left) settled.push(await session.catalog.updateSnapshot(entry.snapshotId, fail, signal));
  return [...listed.filter((entry) => !left.includes(entry)), ...settled.filter(hasName)];
}

/** The longest name, less a time and a number. */
const BASE_CHARACTERS_MAX = 100;

/** `golden-20261122-101500`, of a schedule `golden-20261122T101500Z`, with a number behind it when that is taken. */
function freeName(
  session: Session,
  volume: VolumeEntry,
  present: readonly SnapshotEntry[],
  style: 'plain' | 'utc' = 'plain',
): string {
  const utc = `${timestamp(session).slice(0, 19).replaceAll(/[-:]/g, '')}Z`;
  const stamp = style === 'utc' ? utc : utc.slice(0, -1).replace('T', '-');
  const base = `${volume.name.slice(0, BASE_CHARACTERS_MAX)}-${stamp}`;
  const taken = new Set(present.map((snapshot) => snapshot.name));
  let name = base;
  for (let number = 2; taken.has(name); number++) name = `${base}-${String(number)}`;
  return name;
}

/**
 * The snapshots, by age, and behind them the damaged ones; those of one volume when asked, and then the damaged ones too,
 * whose volume is not known. Takes no lock.
 */
export async function listSnapshots(
  session: Session,
  input: Input<'snapshot.list'>,
  call: CallContext,
): Promise<SnapshotList> {
  const { catalog } = session;
  const { entries, damaged } = await catalog.surveySnapshots({ signal: call.signal });
  const volume = input.volume === undefined ? undefined : await resolveVolume(catalog, input.volume, call.signal);
  const asked = entries.filter((entry) => volume === undefined || entry.volumeId === volume.volumeId);
  const remarks = damaged.map(({ id, error }) => damageRemark('Snapshot', id, error));
  if (input.exportable === true) return { snapshots: (await exportableOf(session, asked, call)).map(snapshotSummary) };
  return {
    snapshots: [...asked.map(snapshotSummary), ...damaged.map(damagedSnapshot)],
    ...(remarks.length === 0 ? {} : { remarks }),
  };
}

/** Those that the service lets the account export. A damaged one is not among them: whose blocks it holds is not known. */
async function exportableOf(
  session: Session,
  entries: readonly SnapshotEntry[],
  call: CallContext,
): Promise<SnapshotEntry[]> {
  const { identity, service } = session;
  const snapshotIds = entries.map((entry) => entry.snapshotId);
  const { exportable } = await service.ask('export.list', { accountId: identity.accountId, snapshotIds }, call);
  const may = new Set(exportable);
  return entries.filter((entry) => may.has(entry.snapshotId));
}

/** One snapshot with its creators and clones. Takes no lock. */
export async function showSnapshot(
  session: Session,
  input: Input<'snapshot.show'>,
  call: CallContext,
): Promise<SnapshotDocument> {
  const { catalog, identity, service } = session;
  const entry = await resolveSnapshot(catalog, input.snapshot, call.signal);
  const { accountId } = identity;
  const rights = await service.ask('export.assess', { accountId, snapshotId: entry.snapshotId }, call);
  const volumes = await catalog.listVolumes({ signal: call.signal });
  const clones = volumes.filter((volume) => volume.parentSnapshotId === entry.snapshotId);
  return {
    ...snapshotSummary(entry),
    creators: [...entry.creators],
    clones: clones.map(({ volumeId, name }) => ({ volumeId, name })),
    exportable: rights.exportable,
    grants: [...rights.grants],
  };
}

/** Gives a snapshot another name, which must be free. One that a schedule made belongs to who named it from then on. */
export async function renameSnapshot(
  session: Session,
  input: Input<'snapshot.rename'>,
  call: CallContext,
): Promise<SnapshotSummary> {
  const { catalog, locks } = session;
  return await locks.withNames('snapshots', call, async () => {
    const entry = await resolveSnapshot(catalog, input.snapshot, call.signal);
    const others = (await catalog.listSnapshots({ signal: call.signal })).filter(hasName);
    requireFreeName(
      'snapshot',
      input.name,
      others.filter((other) => other.snapshotId !== entry.snapshotId),
    );
    const rename = ({ schedule: _, ...now }: SnapshotEntry): SnapshotEntry => ({ ...now, name: input.name });
    return snapshotSummary(await catalog.updateSnapshot(entry.snapshotId, rename, call.signal));
  });
}

/**
 * Marks a snapshot as deleted. Its clones stay usable: they have heads of their own. With `preview`, only tells what that would
 * free.
 */
export async function deleteSnapshot(
  session: Session,
  input: Input<'snapshot.delete'>,
  call: CallContext,
): Promise<DeletedDocument> {
  const { catalog } = session;
  const entry = await orMissing(input.ifExists, () => resolveSnapshot(catalog, input.snapshot, call.signal));
  if (entry === undefined) return NOTHING_DELETED;
  const { snapshotId, name } = catalog.requireOwn('snapshot', entry);
  if (input.preview === true) {
    const { previewDeletion } = await import('./garbage.ts');
    return await previewDeletion(session, { kind: 'snapshot', id: snapshotId, name }, call);
  }
  const deletedAt = timestamp(session);
  await catalog.updateSnapshot(snapshotId, (now) => ({ ...now, state: 'deleted', deletedAt }), call.signal);
  return { ...NOTHING_DELETED, id: snapshotId, name, deleted: true };
}
