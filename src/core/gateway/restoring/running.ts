/** A restore at work: image, snapshot and tree, put together for a command or for an export. */
import {
  endRestore,
  listRestores,
  noteFinishing,
  noteKnown,
  openRestoreView,
  pruneRestores,
  type RestoreEntry,
} from '../../blockstore/index.ts';
import type { FrameCache } from '../../cache/index.ts';
import type { ImageFile } from '../../image/index.ts';
import { Restore } from '../../restore/index.ts';
import { dropHelperSnapshot } from '../helper-snapshots.ts';
import type { Session } from '../session.ts';
import type { ServingParts } from '../serving/parts.ts';

export interface RunningParts {
  readonly session: Session;
  readonly parts: Pick<ServingParts, 'openView'>;
  readonly cache: FrameCache;
  readonly readAheadBytes: number;
  readonly entry: RestoreEntry;
  /** Closed with the restore. */
  readonly image: ImageFile;
  readonly rateBytes: number | null;
  /** To guests: then a store that is out of reach, or a full disk, is waited out. */
  readonly isServed: boolean;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** The restore is completed in the store. Its object stays there until this has succeeded once. */
  readonly onCompleted?: () => Promise<void>;
}

export interface RunningRestore {
  readonly restore: Restore;
  /** Can be resumed when it resolves, unless it is completed. Idempotent. */
  close(): Promise<void>;
}

/** Opens a restore that is not ended; `run` of what is returned fills the image. @throws what opening the snapshot throws */
export async function openRunning(running: RunningParts, signal: AbortSignal): Promise<RunningRestore> {
  const { session, parts, cache, readAheadBytes, entry, image } = running;
  const { blocks } = session;
  const { restoreId, snapshotId, sizeBytes, blockBytes } = entry;
  const view = openRestoreView(blocks, entry);
  const source = await parts.openView({ blocks, view, cache, readAheadBytes });
  const restore = new Restore({
    image,
    source,
    geometry: { sizeBytes, blockBytes },
    secret: { restoreId, secret: Buffer.from(entry.secret, 'hex') },
    clock: blocks.clock,
    profile: await knownProfile(running, signal),
    rateBytes: running.rateBytes ?? undefined,
    isServed: running.isServed,
    onFinishing: async () => noteFinishing(blocks, restoreId),
    onCompleted: async (profile) => {
      const { onCompleted } = running;
      await endRestore(blocks, restoreId, 'completed', profile, onCompleted !== undefined);
      // A snapshot that was made for this restore has served its purpose.
      await dropHelperSnapshot(session, snapshotId).catch(() => undefined);
      try {
        if (onCompleted !== undefined) {
          await onCompleted();
          await noteKnown(blocks, restoreId);
        }
        await pruneRestores(blocks, snapshotId);
      } catch {
        // What stays is small, and goes with a later one.
      }
    },
    onProgress: running.onProgress,
  });
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await restore.close();
    await source.close();
    await image.close();
  };
  return {
    restore,
    close: async () => {
      closing ??= close();
      await closing;
    },
  };
}

/** The order in which guests touched the blocks of this snapshot's last restore; best effort. */
async function knownProfile({ session, entry }: RunningParts, signal: AbortSignal): Promise<readonly number[]> {
  try {
    const ended = await listRestores(session.blocks, entry.snapshotId, signal);
    return (
      ended.find(({ profile, blockBytes }) => profile.length > 0 && blockBytes === entry.blockBytes)?.profile ?? []
    );
  } catch {
    return [];
  }
}
