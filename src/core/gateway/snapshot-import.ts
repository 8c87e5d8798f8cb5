/**
 * Importing an image as a new volume and a snapshot of it. The volume stays `importing` until the snapshot is completed, so
 * that the same command, run again after a failure or a kill at any moment, goes on with both.
 */
import { resolve } from 'node:path';
import type { SnapshotEntry, VolumeEntry } from '../blockstore/index.ts';
import { assert, SgwError } from '../kit/index.ts';
import type { CallContext, Input, SnapshotCreated } from '../localapi/index.ts';
import type { ImportReport } from '../transfer/index.ts';
import { snapshotSummary } from './documents.ts';
import { requireFreeName, type CreateRequest } from './idempotency.ts';
import { hasName } from './references.ts';
import { requireCachedMode, type Session } from './session.ts';
import { makeSnapshot } from './snapshots.ts';
import { importVolume } from './volume-import.ts';
import { orMissing } from './missing.ts';

/**
 * Makes a volume and a completed snapshot of the image. Durable in the store when it resolves.
 * @throws conflict `snapshot-exists` before any work; what `importVolume` and `makeSnapshot` throw
 */
export async function importSnapshot(
  session: Session,
  input: Input<'snapshot.import'>,
  call: CallContext,
): Promise<SnapshotCreated> {
  requireCachedMode(session, 'snapshot import');
  const { catalog } = session;
  const present = (await catalog.listSnapshots({ signal: call.signal })).filter(hasName);
  const volumeName = input.volumeName ?? input.name;
  const request = { name: input.name, ifNotExists: input.ifNotExists ?? false, clientToken: input.clientToken };
  const done = findDone(request, volumeName, present);
  if (done !== undefined) return { ...snapshotSummary(done), created: false };
  const earlier = await findEarlier(session, resolve(input.file), input.name, present, call.signal);
  requireFreeName(
    'snapshot',
    input.name,
    earlier === undefined ? present : present.filter((entry) => entry !== earlier),
  );
  let made: SnapshotCreated | undefined;
  const beforeAvailable = async (volume: VolumeEntry, report: ImportReport): Promise<void> => {
    if (earlier?.state === 'completed') requireUnchanged(earlier, report);
    made = await makeSnapshot(session, volume, snapshotRequest(input), call);
  };
  await importVolume(session, { ...volumeRequest(input), name: volumeName }, call, { beforeAvailable });
  assert(made !== undefined, 'an import that ended made its snapshot');
  return { ...made, created: true };
}

/** A snapshot that answers the request without any work. */
function findDone(
  request: CreateRequest,
  volumeName: string,
  present: readonly SnapshotEntry[],
): SnapshotEntry | undefined {
  const { name, clientToken } = request;
  const byToken = clientToken !== undefined;
  if (!byToken && !request.ifNotExists) return undefined;
  const known = present.find((entry) => (byToken ? entry.clientToken === clientToken : entry.name === name));
  if (known?.state !== 'completed') return undefined;
  const differing = [...(known.name === name ? [] : ['name']), ...(known.volumeName === volumeName ? [] : ['volume'])];
  if (differing.length === 0) return known;
  throw new SgwError(
    'conflict',
    'different-parameters',
    `snapshot "${known.name}" exists with another ${differing.join(', ')}`,
    {
      hint: 'Choose another name, or ask for what exists.',
      details: { snapshotId: known.snapshotId, differing },
    },
  );
}

/** The snapshot that an earlier run of the same command made, or began to make, before it was stopped. */
async function findEarlier(
  session: Session,
  source: string,
  name: string,
  present: readonly SnapshotEntry[],
  signal: AbortSignal,
): Promise<SnapshotEntry | undefined> {
  const named = present.find((entry) => entry.name === name);
  if (named === undefined) return undefined;
  // The snapshot of a volume that was deleted and purged since is whole; only its name is taken.
  const volume = await orMissing(true, async () => await session.catalog.getVolume(named.volumeId, signal));
  return volume?.state === 'importing' && volume.unfinishedImport?.source === source ? named : undefined;
}

/** The earlier run's snapshot shows the image as it was then. */
function requireUnchanged(earlier: SnapshotEntry, report: ImportReport): void {
  if (report.changedBytes === 0 && report.zeroedBytes === 0) return;
  throw new SgwError(
    'conflict',
    'image-changed',
    `snapshot "${earlier.name}" shows the image as it was before it was changed`,
    {
      hint: `To have one of the image as it is now: sgw snapshot delete ${earlier.name}, then run the same command again.`,
      details: { snapshotId: earlier.snapshotId },
    },
  );
}

function snapshotRequest(input: Input<'snapshot.import'>): Omit<Input<'snapshot.create'>, 'volume'> {
  const { name, description, tags, clientToken } = input;
  return {
    name,
    ifNotExists: true,
    ...(description === undefined ? {} : { description }),
    ...(tags === undefined ? {} : { tags }),
    ...(clientToken === undefined ? {} : { clientToken }),
  };
}

function volumeRequest(input: Input<'snapshot.import'>): Input<'volume.import'> {
  const { file, format, tags } = input;
  return { file, ...(format === undefined ? {} : { format }), ...(tags === undefined ? {} : { tags }) };
}
