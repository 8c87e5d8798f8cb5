/** Reading for long what others may delete meanwhile: a snapshot, or a volume as it is now, with a pin (C10). */
import { SgwError, type VolumeId } from '../../kit/index.ts';
import { readDocument } from '../documents.ts';
import type { SnapshotEntry } from '../entries.ts';
import { readHead } from '../head.ts';
import { keys } from '../keys.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { openVolumeView, type VolumeView } from '../volume-view.ts';
import { withPin } from './pins.ts';

/** Times that a volume is opened again because its writer stored a checkpoint at that moment. */
const TRIES_MAX = 16;

/** Who reads, and what for: for people. */
export interface Reading {
  readonly purpose: string;
  readonly holder: string;
  /** Told that there is no pin, since the store takes no writes. */
  readonly onUnpinned?: () => void;
}

/**
 * Runs `work` while gc keeps everything that the snapshot reaches. Its signal fires when the pin is lost.
 * @throws notFound `snapshot-not-found` when it is deleted already; what `work` throws; unavailable `pin-lost`
 */
export async function withPinnedSnapshot<T>(
  options: BlockStoreOptions,
  snapshot: SnapshotEntry,
  reading: Reading,
  work: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const { snapshotId, name, root } = snapshot;
  const check = async (): Promise<void> => {
    const now = await readDocument<SnapshotEntry>(options, keys.snapshot(snapshotId), signal);
    if (now?.value.state === 'completed') return;
    throw new SgwError('notFound', 'snapshot-not-found', `snapshot "${name}" was deleted`, { details: { snapshotId } });
  };
  return await withPin(options, { ...reading, roots: [root], check }, work, signal);
}

/**
 * Runs `work` on the newest committed state of a volume while gc keeps everything that it reaches, whatever is written or
 * deleted meanwhile.
 * @throws what opening the volume and `work` throw; unavailable `volume-restless`, `pin-lost`
 */
export async function withPinnedVolume<T>(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  reading: Reading,
  work: (view: VolumeView, signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  for (let attempt = 1; attempt <= TRIES_MAX; attempt++) {
    const { checkpoint } = (await readHead(options, volumeId, signal)).value;
    const view = await openVolumeView(options, volumeId, withSignal(signal));
    const objects = Array.from({ length: Math.max(0, view.seq - checkpoint.seq) }, (_, i) =>
      keys.log(volumeId, checkpoint.seq + 1 + i),
    );
    const movedOn = new Error('the head has moved on');
    const check = async (): Promise<void> => {
      if ((await readHead(options, volumeId, signal)).value.checkpoint.seq !== checkpoint.seq) throw movedOn;
    };
    const request = { ...reading, roots: [checkpoint.root], objects, check };
    try {
      return await withPin(options, request, (stop) => work(view, stop), signal);
    } catch (error) {
      if (error !== movedOn) throw error;
    }
  }
  throw new SgwError('unavailable', 'volume-restless', `volume ${volumeId} is written faster than it can be opened`, {
    hint: 'Try again, or make a snapshot and use that.',
    details: { volumeId },
  });
}
