/** The figures of a served volume, as callers get them. */
import type { SgwError } from '../kit/index.ts';
import type { LogUsage } from '../writelog/index.ts';
import type { AckClass, ServedState, VolumeStats } from './contract.ts';
import type { Counters } from './counters.ts';

type CounterValues = { readonly [K in keyof Counters]: Counters[K] };

export interface StatsInput {
  readonly counters: Counters;
  readonly usage: LogUsage;
  readonly nowMs: number;
  readonly fullInMs: number | null;
  readonly sizeBytes: number;
  readonly mappedBytes: number;
  readonly seq: number;
  readonly epoch: number;
  readonly ack: AckClass;
  readonly isClosed: boolean;
  readonly failure: SgwError | undefined;
  readonly trouble: SgwError | undefined;
}

export function statsOf(input: StatsInput): VolumeStats {
  const { counters, usage, nowMs, fullInMs, sizeBytes, mappedBytes, seq, epoch, ack, failure, trouble } = input;
  return {
    ...(counters as CounterValues),
    state: stateOf(input),
    reason: failure?.message ?? trouble?.message ?? null,
    sizeBytes,
    mappedBytes,
    seq,
    epoch,
    ack,
    dirtyBytes: usage.dirtyBytes,
    dirtyMs: usage.oldestDirtyMs === null ? 0 : Math.max(0, nowMs - usage.oldestDirtyMs),
    bufferBytes: usage.capacityBytes,
    fullInMs,
  };
}

function stateOf({ isClosed, failure, trouble }: StatsInput): ServedState {
  if (isClosed) return 'closed';
  if (failure !== undefined) return failure.kind === 'fenced' ? 'fenced' : 'damaged';
  return trouble === undefined ? 'available' : 'degraded';
}
