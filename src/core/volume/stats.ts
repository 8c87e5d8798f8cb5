/** The figures of a served volume, as callers get them. */
import type { SgwError } from '../kit/index.ts';
import type { AckClass, LogUsage } from '../writelog/index.ts';
import type { ServedState, VolumeStats } from './contract.ts';
import type { Counters } from './counters.ts';

type CounterValues = { readonly [K in keyof Counters]: Counters[K] };

/** Uploading fails, and is tried again. */
export interface Trouble {
  readonly error: SgwError;
  readonly sinceMs: number;
}

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
  readonly trouble: Trouble | undefined;
  /** Whether somebody waits for room in the log. */
  readonly isFull: boolean;
}

export function statsOf(input: StatsInput): VolumeStats {
  const { counters, usage, nowMs, fullInMs, sizeBytes, mappedBytes, seq, epoch, ack, failure } = input;
  return {
    ...(counters as CounterValues),
    state: stateOf(input),
    reason: failure?.message ?? troubleOf(input),
    sizeBytes,
    mappedBytes,
    seq,
    epoch,
    ack,
    dirtyBytes: usage.dirtyBytes,
    dirtyMs: usage.oldestDirtyMs === null ? 0 : Math.max(0, nowMs - usage.oldestDirtyMs),
    bufferBytes: usage.capacityBytes,
    fullInMs,
    shadow: null,
  };
}

/** Writers wait for room: the store is away, or slower than they are. */
const isHeldUp = ({ isFull, counters }: StatsInput): boolean => isFull && counters.waitingWrites > 0;

/** What goes on, and since when, for people; null when nothing is the matter. */
function troubleOf(input: StatsInput): string | null {
  const { trouble, usage } = input;
  const full = isHeldUp(input) ? 'the upload buffer is full, so that writes wait' : null;
  if (trouble !== undefined) {
    const failing = `uploading has failed since ${timeOf(trouble.sinceMs)}, and is tried again: ${trouble.error.message}`;
    return full === null ? failing : `${full}; ${failing}`;
  }
  if (full === null || usage.oldestDirtyMs === null) return full;
  return `${full}; the oldest write that is not in the store is of ${timeOf(usage.oldestDirtyMs)}`;
}

const timeOf = (ms: number): string => new Date(ms).toISOString();

function stateOf(input: StatsInput): ServedState {
  const { isClosed, failure, trouble } = input;
  if (isClosed) return 'closed';
  if (failure !== undefined) return failure.kind === 'fenced' ? 'fenced' : 'damaged';
  return trouble === undefined && !isHeldUp(input) ? 'available' : 'degraded';
}
