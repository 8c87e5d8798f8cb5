/** Whether a snapshot can be read. */
import type { SgwError, SnapshotId } from '../../kit/index.ts';
import { missing } from '../damage.ts';
import { readDocument } from '../documents.ts';
import type { SnapshotEntry } from '../entries.ts';
import { keys } from '../keys.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { openSnapshotView } from '../volume-view.ts';
import { DamageLedger, type Subject } from './ledger.ts';
import { attempt, sizeInMaps, untilSettled } from './settle.ts';
import { walkView, type WalkState } from './walk-view.ts';

/** What is wrong with a snapshot; nothing with one that is not completed or was deleted. */
export async function scrubSnapshot(
  options: BlockStoreOptions,
  state: WalkState,
  snapshotId: SnapshotId,
  signal?: AbortSignal,
): Promise<DamageLedger> {
  return await untilSettled(options, [keys.snapshot(snapshotId)], signal, async () => {
    const found = new DamageLedger();
    await examine(options, state, snapshotId, found, signal);
    return found;
  });
}

async function examine(
  options: BlockStoreOptions,
  state: WalkState,
  snapshotId: SnapshotId,
  ledger: DamageLedger,
  signal?: AbortSignal,
): Promise<void> {
  const faults: SgwError[] = [];
  const map = keys.snapshotMap(snapshotId);
  const stored = await attempt(faults, () => readDocument<SnapshotEntry>(options, keys.snapshot(snapshotId), signal));
  const entry = stored?.value;
  if (entry === undefined) {
    if (faults.length === 0 && (await options.objects.head(map, withSignal(signal))) === undefined) return;
    const sizeBytes = (await sizeInMaps(options, map, snapshotId, signal)) ?? 0;
    const [fault = missing(keys.snapshot(snapshotId))] = faults;
    ledger.hurtWhole(fault, { kind: 'snapshot', id: snapshotId, name: '?', sizeBytes });
    return;
  }
  if (entry.state !== 'completed') return;
  const { name, sizeBytes } = entry;
  const subject: Subject = { kind: 'snapshot', id: snapshotId, name, sizeBytes };
  const onHurt = (error: SgwError, firstPage: number, pageCount: number): void => {
    ledger.hurtPages(error, subject, firstPage, pageCount);
  };
  await walkView(state, openSnapshotView(options, entry), onHurt, withSignal(signal));
}
