/** Which volumes of a store somebody has open for writing, as their heads say. */
import type { VolumeId } from '../../kit/index.ts';
import { isCorrupt } from '../damage.ts';
import { readHead, type Head } from '../head.ts';
import { listVolumeIds } from '../listed-ids.ts';
import type { BlockStoreOptions } from '../options.ts';
import { boundedWork } from './bounded-work.ts';

const READS_AT_ONCE = 16;

export interface OpenVolume {
  readonly volumeId: VolumeId;
  readonly holder: NonNullable<Head['holder']>;
}

/** By id. Damaged heads are passed by. @throws denied `key-needed` where the store is encrypted and no key is given */
export async function openVolumes(options: BlockStoreOptions, signal?: AbortSignal): Promise<OpenVolume[]> {
  const open: OpenVolume[] = [];
  const ids = await listVolumeIds(options, signal);
  await boundedWork(READS_AT_ONCE, signal, async (work) => {
    for (const volumeId of ids) {
      await work.start(1, async (stop) => {
        try {
          const { holder } = (await readHead(options, volumeId, stop)).value;
          if (holder !== null) open.push({ volumeId, holder });
        } catch (error) {
          if (!isCorrupt(error)) throw error;
        }
      });
    }
  });
  return open.sort((a, b) => (a.volumeId < b.volumeId ? -1 : 1));
}
