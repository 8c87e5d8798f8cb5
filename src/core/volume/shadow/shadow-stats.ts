/** How far a shadow is behind its image, as callers get it. */
import type { ShadowPhase, ShadowStats } from './contract.ts';
import type { RegionMarks } from './region-marks.ts';
import type { RegionWork } from './region-work.ts';

export interface ShadowStatsInput {
  readonly isPassThrough: boolean;
  readonly isSteady: boolean;
  readonly isFirst: boolean;
  readonly work: RegionWork;
  readonly marks: RegionMarks;
  readonly nowMs: number;
}

export function shadowStats(input: ShadowStatsInput): ShadowStats {
  const { work, marks, nowMs } = input;
  const { doneBytes, totalBytes, leftMs } = work.progress(nowMs);
  const touchedBytes = work.touched.bytes;
  return { phase: phaseOf(input), doneBytes, totalBytes, leftMs, touchedBytes, markedRegions: marks.count };
}

function phaseOf({ isPassThrough, isSteady, isFirst, work }: ShadowStatsInput): ShadowPhase {
  if (isPassThrough) return 'pass-through';
  if (isSteady) return 'steady';
  if (work.isComparing) return isFirst ? 'bootstrapping' : 'comparing';
  return 'resyncing';
}
