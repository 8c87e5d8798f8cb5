/** Scrubbing the recovery points that a volume keeps: damage there hurts no page of the volume as it is. */
import type { VolumeId } from '../../kit/index.ts';
import type { Head } from '../head.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { replayLog } from '../volume-view.ts';
import type { DamageLedger } from './ledger.ts';
import { walkView, type WalkState } from './walk-view.ts';

/** Notes what of them can not be read. */
export async function scrubRecoveryPoints(
  options: BlockStoreOptions,
  state: WalkState,
  volumeId: VolumeId,
  { recovery }: Head,
  ledger: DamageLedger,
  signal?: AbortSignal,
): Promise<void> {
  const onHurt = (error: Parameters<DamageLedger['note']>[0]): void => {
    ledger.note(error);
  };
  for (const point of recovery?.points ?? [])
    await walkView(state, await replayLog(options, volumeId, point, point.seq, signal), onHurt, withSignal(signal));
}
