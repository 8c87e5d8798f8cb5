/** Thins the recovery points of volumes that nobody writes to, so that these too become fewer with age (C7). */
import { toSgwError } from '../../kit/index.ts';
import { damaged } from '../damage.ts';
import type { Head } from '../head.ts';
import { keys } from '../keys.ts';
import { listVolumeIds } from '../listed-ids.ts';
import type { BlockStoreOptions } from '../options.ts';
import { pruned } from '../recovery-points.ts';
import { changeIfPresent } from './purge.ts';

/** One head that nobody can make sense of keeps no other volume's points. @throws corrupt `object-damaged` */
function prunedOrDamaged(head: Head, key: string, nowMs: number): Head {
  try {
    return pruned(head, nowMs);
  } catch (error) {
    throw damaged(key, 'its recovery points can not be read', error);
  }
}

/**
 * By compare-and-set of each head that has too many, as its last holder's policy says. A holder that writes at the same moment
 * meets it, and goes on from what it finds. A head that can't be read is left to the mark, which stops at it.
 */
export async function prunePoints(options: BlockStoreOptions, signal?: AbortSignal): Promise<void> {
  for (const volumeId of await listVolumeIds(options, signal)) {
    try {
      const prune = (head: Head): Head => prunedOrDamaged(head, keys.head(volumeId), options.clock.nowMs());
      await changeIfPresent<Head>(options, keys.head(volumeId), prune, signal);
    } catch (error) {
      if (toSgwError(error).kind !== 'corrupt') throw error;
    }
  }
}
