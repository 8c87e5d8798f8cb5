/** Opening what an attachment names: a volume, a snapshot, a recovery point, or a throw-away clone of one of these. */
import { rm } from 'node:fs/promises';
import type { BlockDevice } from '../../blockdevice/index.ts';
import { openSnapshotView, type SnapshotEntry, type VolumeEntry, type VolumeView } from '../../blockstore/index.ts';
import { withPinnedSnapshot } from '../../blockstore/gc/index.ts';
import type { FrameCache } from '../../cache/index.ts';
import { openImageFile } from '../../image/index.ts';
import { SgwError, toSgwError, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import { acquireLock, type AttachmentState } from '../../state/index.ts';
import {
  gatedVolume,
  type GatedVolume,
  type ServedVolume,
  type ShadowImage,
  type VolumeSettings,
} from '../../volume/index.ts';
import { holderOf, pinOf, type Session } from '../session.ts';
import { requireFinished } from '../unfinished-import.ts';
import type { GroupOpening } from './group-opening.ts';
import type { ServingParts } from './parts.ts';
import { ReadOnlyDevice } from './read-only.ts';
import type { RestoreReport } from './served.ts';
import { logFolder, shadowFolder } from './settings.ts';
import { WatchedDevice } from './watched-device.ts';

/** What is served, and how it ends. */
export interface Opened {
  readonly device: BlockDevice;
  /** Of the volume or snapshot. */
  readonly name: string;
  /** What is served, for people. */
  readonly description: string;
  /** Absent where a snapshot or recovery point is served as it is. */
  readonly volume?: ServedVolume;
  /** The volume, under eyes that note what changes. */
  readonly watched?: WatchedDevice;
  /** Of a volume of a group: the gate that its requests come through. */
  readonly gated?: GatedVolume;
  /** What changes are told against: the volume that is served, or the state. */
  readonly view?: VolumeView;
  /** Of volumes that stem from one another. */
  readonly lineage: string;
  /** Of an image that is restored: how that goes. */
  readonly restore?: () => RestoreReport;
  /** Fires when what is served is not kept from gc any more. */
  readonly lost?: AbortSignal;
  close(options: { readonly drain: boolean; readonly signal?: AbortSignal }): Promise<void>;
}

export interface Opening {
  readonly session: Session;
  readonly parts: ServingParts;
  readonly cache: FrameCache;
  readonly settings: (volumeId: string) => Promise<VolumeSettings>;
  readonly takeOver: boolean;
  readonly group?: GroupOpening;
  readonly call: CallContext;
}

/**
 * Opens what `record` names; its throw-away clone, if it has one, is there already.
 * @throws unavailable `locked` when another process works on the volume; conflict `volume-held`, `import-unfinished`,
 * `snapshot-not-completed`; notFound when it was deleted; what opening throws
 */
export async function openAttachment(opening: Opening, record: AttachmentState): Promise<Opened> {
  const volumeId = record.scratchVolumeId ?? (record.recoveryPointSeq === null ? record.volumeId : null);
  if (volumeId !== null) return await openVolume(opening, record, volumeId as VolumeId);
  if (record.snapshotId !== null) return await openSnapshot(opening, record.snapshotId as SnapshotId);
  throw new SgwError('unsupported', 'recovery-points', 'recovery points can not be exported by this version', {
    hint: 'Make a snapshot, and attach that.',
  });
}

/** Of a volume that shadows an image, `openImage` opens that; it is closed with the volume. */
export async function openVolume(
  opening: Opening,
  record: AttachmentState,
  volumeId: VolumeId,
  openImage: (path: string) => Promise<ShadowImage> = openImageFile,
): Promise<Opened> {
  const { session, parts, cache, settings, takeOver, group, call } = opening;
  const { home, blocks, identity } = session;
  const lock = await acquireLock({
    home,
    name: `volume:${volumeId}`,
    purpose: `serving it as export ${record.exportName}`,
    timeoutMs: call.lockTimeoutMs,
    signal: call.signal,
  });
  try {
    const entry = await knownOf(session, record, volumeId, call.signal);
    const request = {
      blocks,
      volumeId,
      holder: holderOf(session),
      accountId: identity.accountId,
      takeOver,
      settings: { ...(await settings(volumeId)), ...(group === undefined ? {} : { ack: group.ack }) },
      logFolder: logFolder(home, volumeId),
      cache,
      ...(group === undefined ? {} : { group }),
      signal: call.signal,
    };
    const { imagePath } = record;
    // What a shadow has left says nothing of a cached volume.
    if (imagePath === undefined) await rm(shadowFolder(home, volumeId), { recursive: true, force: true });
    const opened =
      imagePath === undefined
        ? await parts.openVolume(request)
        : await parts.openShadow({
            ...request,
            image: await openImage(imagePath),
            shadowFolder: shadowFolder(home, volumeId),
          });
    const gated = group === undefined ? undefined : gatedVolume(opened);
    const volume = gated ?? opened;
    const watched = new WatchedDevice(volume);
    return {
      ...(gated === undefined ? {} : { gated }),
      device: record.readOnly ? new ReadOnlyDevice(watched) : watched,
      name: entry.name,
      description: descriptionOf(record, entry.name),
      volume,
      watched,
      lineage: entry.lineage,
      close: async ({ drain, signal }) => {
        try {
          await volume.close({ drain, ...(signal === undefined ? {} : { signal }) });
        } catch (error) {
          // What could not be drained is open still.
          if (!drain) await lock.release();
          throw error;
        }
        await lock.release();
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/**
 * What is known of a volume that can be served.
 * @throws notFound when it was deleted; conflict `import-unfinished`
 */
async function knownOf(
  { catalog }: Session,
  record: AttachmentState,
  volumeId: VolumeId,
  signal: AbortSignal,
): Promise<{ readonly name: string; readonly lineage: string }> {
  let entry: VolumeEntry;
  try {
    entry = await catalog.getVolume(volumeId, signal);
  } catch (error) {
    // An image is served also while the store is out of reach (C22), and was attached by a name that it had.
    if (record.imagePath !== undefined && toSgwError(error).kind === 'unavailable')
      return { name: record.exportName, lineage: volumeId };
    throw error;
  }
  if (entry.state === 'deleted')
    throw new SgwError('notFound', 'volume-not-found', `volume "${entry.name}" was deleted`, {
      hint: `sgw volume undelete ${entry.name}`,
      details: { volumeId },
    });
  requireFinished(entry);
  return entry;
}

function descriptionOf({ scratchVolumeId, imagePath }: AttachmentState, name: string): string {
  if (imagePath !== undefined) return `volume ${name}, image ${imagePath}`;
  return scratchVolumeId === null ? `volume ${name}` : `throw-away clone ${name}`;
}

/** Takes no lock: nothing is written. gc is kept from it meanwhile, so it can be deleted and still be read to the end. */
async function openSnapshot(opening: Opening, snapshotId: SnapshotId): Promise<Opened> {
  const { session, parts, cache, settings, call } = opening;
  const { blocks } = session;
  const entry = await session.catalog.getSnapshot(snapshotId, call.signal);
  if (entry.state === 'deleted') throw snapshotDeleted(entry);
  const view = openSnapshotView(blocks, entry);
  const { readAheadBytes } = await settings('');
  const pin = await holdPin(session, entry);
  try {
    const device = await parts.openView({ blocks, view, cache, readAheadBytes });
    return {
      device,
      name: entry.name,
      description: `snapshot ${entry.name} of ${entry.volumeName}`,
      view,
      lineage: entry.lineage,
      lost: pin.lost,
      close: async () => {
        await device.close();
        await pin.release();
      },
    };
  } catch (error) {
    await pin.release();
    throw error;
  }
}

const snapshotDeleted = ({ name, snapshotId }: SnapshotEntry): SgwError =>
  new SgwError('notFound', 'snapshot-not-found', `snapshot "${name}" was deleted`, { details: { snapshotId } });

interface HeldPin {
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

/** Keeps a snapshot from gc until it is released; one small request in a quarter of an hour. */
async function holdPin(session: Session, entry: SnapshotEntry): Promise<HeldPin> {
  const lost = new AbortController();
  let begin: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const held = withPinnedSnapshot(
    session.blocks,
    entry,
    pinOf(session, `exporting ${entry.snapshotId}`, []),
    async (signal) => {
      signal.addEventListener('abort', () => {
        lost.abort(toSgwError(signal.reason));
      });
      begin();
      await ended;
    },
  );
  await Promise.race([begun, held]);
  return {
    lost: lost.signal,
    release: async () => {
      end();
      await held;
    },
  };
}
