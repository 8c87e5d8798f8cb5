/**
 * What an image holds is kept before a restore overwrites it: as a new volume with a snapshot, begun as a clone of what is
 * restored, so that only what differs from that is sent.
 */
import { basename } from 'node:path';
import type { RestoreEntry, SnapshotEntry, VolumeEntry } from '../../blockstore/index.ts';
import { openRawImage, type RawImage } from '../../image/index.ts';
import { assert, SgwError, shellWord, toSgwError } from '../../kit/index.ts';
import type { CallContext, RestoreDocument, SnapshotCreated } from '../../localapi/index.ts';
import { timestamp, type Session } from '../session.ts';
import { makeSnapshot } from '../snapshots.ts';
import { importNew } from '../volume-import.ts';
import { recogniseImage } from '../../restore/index.ts';
import { candidateOf, runningHere } from './begin.ts';

/** Null when there was nothing to keep. */
export type KeptPrevious = RestoreDocument['previous'];

const STEM_MAX = 60;

/**
 * Keeps what the image at `path` holds; nothing writes to it meanwhile. Durable in the store when it resolves.
 * @throws conflict `restore-unfinished` where the image has marks in place of data, and so can't be kept; what importing an image throws; then nothing of it stays listed, if that can be had
 */
export async function keepPrevious(
  session: Session,
  path: string,
  restored: SnapshotEntry,
  call: CallContext,
): Promise<KeptPrevious> {
  {
    await using image = await openRawImage(path, { signal: call.signal });
    if (!(await hasData(image, call.signal))) return null;
    const unfinished = await unfinishedIn(session, image, call.signal);
    if (unfinished !== undefined) throw notKept(path, unfinished);
  }
  // What another account has is not cloned for this one.
  const from = session.catalog.owns(restored) ? restored : undefined;
  try {
    return await keepAs(session, path, from, call);
  } catch (error) {
    if (from === undefined || toSgwError(error).kind !== 'corrupt') throw error;
    // What the store lost of the snapshot does not matter to the image.
    return await keepAs(session, path, undefined, call);
  }
}

async function hasData(image: RawImage, signal: AbortSignal): Promise<boolean> {
  for await (const _extent of image.dataExtents(0, image.sizeBytes, { signal })) return true;
  return false;
}

async function unfinishedIn(session: Session, raw: RawImage, signal: AbortSignal): Promise<RestoreEntry | undefined> {
  const here = await runningHere(session, raw.path, signal);
  if (here.length === 0) return undefined;
  const image = {
    path: raw.path,
    sizeBytes: raw.sizeBytes,
    readNow: () => false,
    read: async (position: number, target: Uint8Array): Promise<void> => {
      await raw.read(target, position, signal);
    },
  };
  // By its marks alone: one that has none is whole, whatever is known of its restore.
  return (await recogniseImage(image, here.map(candidateOf), signal))?.entry;
}

const notKept = (path: string, { snapshot, snapshotId, restoreId }: RestoreEntry): SgwError =>
  new SgwError(
    'conflict',
    'restore-unfinished',
    `${path} holds an unfinished restore of snapshot ${snapshot.name}, which can not be kept: it has marks where its data is to be`,
    {
      hint: `Go on with it: sgw snapshot restore ${snapshotId} --image ${shellWord(path)} --resume. To give up what was written to it: --force --no-snapshot.`,
      details: { path, restoreId },
    },
  );

async function keepAs(
  session: Session,
  path: string,
  from: SnapshotEntry | undefined,
  call: CallContext,
): Promise<KeptPrevious> {
  const description = `What ${path} held before it was restored.`;
  let made: SnapshotCreated | undefined;
  const beforeAvailable = async (volume: VolumeEntry): Promise<void> => {
    made = await makeSnapshot(session, volume, { name: volume.name, description }, call);
  };
  const request = { path, name: nameFor(path, timestamp(session)), from };
  const { volumeId, name: volumeName } = await importNew(session, request, call, { beforeAvailable });
  assert(made !== undefined, 'an import that ended made its snapshot');
  const { snapshotId, name: snapshotName } = made;
  return { volumeId, volumeName, snapshotId, snapshotName };
}

/** `db-before-restore-20261122-101500`. */
function nameFor(path: string, now: string): string {
  const stem = basename(path)
    .replace(/\.(?:img|raw)$/i, '')
    .replaceAll(/[^a-z0-9._-]+/gi, '-')
    .replace(/^[._-]+/, '')
    .slice(0, STEM_MAX);
  const stamp = now.slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
  return `${stem === '' ? 'image' : stem}-before-restore-${stamp}`;
}
