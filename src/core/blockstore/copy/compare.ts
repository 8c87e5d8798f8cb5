/**
 * Reads a copy of a store whole, and holds it against the store: every object is there, with the same bytes, and whole by
 * its own checksums. Changes nothing.
 */
import { SgwError } from '../../kit/index.ts';
import type { ObjectStore } from '../../objectstore/index.ts';
import { isCorrupt, missing } from '../damage.ts';
import { keys } from '../keys.ts';
import { withSignal } from '../options.ts';
import { damageOfStored } from '../scrub/check-stored.ts';
import { readStoreInfo } from '../store-info.ts';
import { boundedWork, HELD_BYTES_MAX, WEIGHT_MIN_BYTES } from './bounded-work.ts';
import { Findings, type Damage } from './findings.ts';
import { isLeftOut } from './left-out.ts';
import { merge, type Pair } from './merge.ts';

export interface CompareOptions {
  readonly from: ObjectStore;
  readonly to: ObjectStore;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface ComparisonReport {
  readonly storeId: string;
  readonly objects: number;
  readonly bytes: number;
  /** What the two do not have in common, and what is damaged in both. */
  readonly differences: readonly Damage[];
  readonly differenceCount: number;
}

/** @throws conflict `other-store` when they are different stores; corrupt when `sgw.json` is; what the stores throw */
export async function compareStores(options: CompareOptions): Promise<ComparisonReport> {
  const { from, to, signal } = options;
  const info = await readStoreInfo(from, withSignal(signal));
  if (info === undefined) throw missing(keys.store);
  const copy = await readStoreInfo(to, withSignal(signal));
  if (copy?.storeId !== info.storeId) throw notACopy(to, info.storeId, copy?.storeId);
  let totalBytes = 0;
  for await (const { key, sizeBytes } of to.list('', withSignal(signal))) if (!isLeftOut(key)) totalBytes += sizeBytes;
  const findings = new Findings();
  const count = { objects: 0, bytes: 0 };
  await boundedWork(HELD_BYTES_MAX, signal, async (work) => {
    for await (const pair of merge(from.list('', withSignal(signal)), to.list('', withSignal(signal)))) {
      if (isLeftOut(pair.key)) continue;
      const sizeBytes = pair.to?.sizeBytes ?? 0;
      await work.start(Math.max(WEIGHT_MIN_BYTES, 2 * sizeBytes), async (stop) => {
        const difference = await differenceOf(options, pair, stop);
        if (difference !== undefined) findings.note(pair.key, difference);
        count.objects += 1;
        count.bytes += sizeBytes;
        options.onProgress?.(count.bytes, Math.max(count.bytes, totalBytes));
      });
    }
  });
  return { storeId: info.storeId, ...count, differences: findings.list, differenceCount: findings.count };
}

async function differenceOf(
  { from, to }: CompareOptions,
  pair: Pair,
  signal: AbortSignal,
): Promise<string | SgwError | undefined> {
  const { key } = pair;
  if (pair.to === undefined) return 'it is not in the copy';
  if (pair.from === undefined) return 'it is only in the copy';
  try {
    const [source, target] = await Promise.all([from.get(key, { signal }), to.get(key, { signal })]);
    if (source === undefined && target === undefined) return undefined;
    if (target === undefined) return 'it is not in the copy';
    if (source === undefined) return 'it is only in the copy';
    if (!source.bytes.equals(target.bytes)) return 'its bytes differ';
    return damageOfStored(key, target.bytes);
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return error;
  }
}

function notACopy(to: ObjectStore, storeId: string, found: string | undefined): SgwError {
  const holds = found === undefined ? 'holds no finished copy' : `holds the store ${found}, and is no copy`;
  return new SgwError('conflict', 'other-store', `${to.description} ${holds} of ${storeId}`, {
    hint: 'Copy it first: the same command without --verify-only.',
    details: { store: to.description, storeId },
  });
}
