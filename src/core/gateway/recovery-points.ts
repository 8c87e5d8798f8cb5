/** Recovery points as people name them: by a time (C7). */
import { listRecoveryPoints, openRecoveryPoint, PAGE_BYTES, type RecoveryTime } from '../blockstore/index.ts';
import { SgwError, toSgwError, type VolumeId } from '../kit/index.ts';
import type { CallContext, Input, RecoveryPointList } from '../localapi/index.ts';
import { resolveVolume } from './references.ts';
import type { Session } from './session.ts';

/** RFC 3339, so that nobody has to guess a time zone. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)$/i;

/** @throws invalid `bad-time` */
export function recoveryTime(text: string): RecoveryTime {
  const timeMs = TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(timeMs)) {
    throw new SgwError('invalid', 'bad-time', `${JSON.stringify(text)} is not a time`, {
      hint: 'Write it as 2026-11-25T08:30:00Z.',
    });
  }
  return { timeMs };
}

/** The commit that a volume's recovery point of that time is now; undefined when it keeps none. */
export async function recoverySeq(
  { blocks }: Session,
  volumeId: VolumeId,
  at: RecoveryTime,
  { signal }: CallContext,
): Promise<number | undefined> {
  try {
    return (await openRecoveryPoint(blocks, volumeId, at, { signal })).seq;
  } catch (error) {
    if (toSgwError(error).code !== 'recovery-point-not-found') throw error;
    return undefined;
  }
}

/** The states of a volume that can be had again, oldest first. Takes no lock. */
export async function listPoints(
  { catalog, blocks }: Session,
  input: Input<'recovery-point.list'>,
  { signal }: CallContext,
): Promise<RecoveryPointList> {
  const { volumeId, name } = await resolveVolume(catalog, input.volume, signal);
  const points = await listRecoveryPoints(blocks, volumeId, { signal });
  const recoveryPoints = points.map(({ seq, timeMs, sizeBytes, mappedPages, kept }) => ({
    seq,
    at: new Date(timeMs).toISOString(),
    sizeBytes,
    mappedBytes: mappedPages * PAGE_BYTES,
    kept,
  }));
  return { volumeId, name, recoveryPoints };
}
