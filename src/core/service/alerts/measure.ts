/** What a gateway reports, as far as thresholds are about it. */
import { SgwError, toSgwError } from '../../kit/index.ts';
import type { GatewayDocument, ScheduleList } from '../../localapi/index.ts';
import type { AlertThresholds, ThresholdName } from '../../protocol/index.ts';
import type { GatewayCalls } from '../controlplane/gateway-calls.ts';

/** How long a gateway may take to say how it does. */
const CALL_MS = 15_000;
const SUBJECTS_MAX = 16;

/** What one threshold is held against. */
export interface Measured {
  readonly isPassed: boolean;
  /** In the threshold's unit; null where it has none. */
  readonly value: number | null;
  /** What passed it. */
  readonly subjects: readonly string[];
}

/** Absent: not known now, so nothing fires and nothing ends. */
export type Measurements = Partial<Record<ThresholdName, Measured>>;

/** What of a gateway could be learned. */
export interface GatewayReport {
  readonly isConnected: boolean;
  readonly gateway: GatewayDocument | null;
  readonly schedules: ScheduleList | null;
  /** Why a connected gateway did not say all; null when it did. */
  readonly failure: string | null;
}

export interface Subject {
  readonly gatewayId: string;
  readonly accountId: string;
}

const NOT_CONNECTED: GatewayReport = { isConnected: false, gateway: null, schedules: null, failure: null };

/** Asks a gateway that is connected. Never fails for what the gateway answers. */
export async function askGateway(
  calls: GatewayCalls,
  { gatewayId, accountId }: Subject,
  wanted: { readonly schedules: boolean },
  signal: AbortSignal,
): Promise<GatewayReport> {
  const how = { accountId, deadlineMs: CALL_MS, signal };
  try {
    const gateway = await calls.call(gatewayId, 'gateway.show', {}, how);
    const schedules = wanted.schedules ? await calls.call(gatewayId, 'schedule.show', {}, how) : null;
    return { isConnected: true, gateway, schedules, failure: null };
  } catch (error) {
    const failure = toSgwError(error);
    if (failure.kind === 'aborted') throw error;
    if (failure instanceof SgwError && failure.code === 'gateway-not-connected') return NOT_CONNECTED;
    return { isConnected: true, gateway: null, schedules: null, failure: failure.message };
  }
}

export const notConnected = (): GatewayReport => NOT_CONNECTED;

/** @param disconnectedMs how long there has been no connection; null while there is one */
export function measure(
  { gateway, schedules }: Pick<GatewayReport, 'gateway' | 'schedules'>,
  thresholds: AlertThresholds,
  disconnectedMs: number | null,
): Measurements {
  const { exposureBytes, exposureMs, timeToFullMs, notConnectedMs, restoreProof } = thresholds;
  const volumes = gateway?.volumes.filter(({ readOnly }) => !readOnly);
  return {
    ...(notConnectedMs === undefined ? {} : { notConnectedMs: noConnection(disconnectedMs, notConnectedMs) }),
    ...(volumes === undefined || exposureBytes === undefined
      ? {}
      : {
          exposureBytes: highest(
            volumes.map(({ name, dirtyBytes }) => [name, dirtyBytes]),
            exposureBytes,
          ),
        }),
    ...(volumes === undefined || exposureMs === undefined
      ? {}
      : {
          exposureMs: highest(
            volumes.map(({ name, dirtyMs }) => [name, Math.round(dirtyMs)]),
            exposureMs,
          ),
        }),
    ...(volumes === undefined || timeToFullMs === undefined
      ? {}
      : {
          timeToFullMs: soonest(
            volumes.map(({ name, fullInMs }) => [name, fullInMs]),
            timeToFullMs,
          ),
        }),
    ...(schedules === null || restoreProof === undefined ? {} : { restoreProof: proofs(schedules) }),
  };
}

const noConnection = (disconnectedMs: number | null, limitMs: number): Measured => ({
  isPassed: disconnectedMs !== null && disconnectedMs >= limitMs,
  value: disconnectedMs ?? 0,
  subjects: [],
});

type Reading<T> = readonly [name: string, value: T];

function highest(readings: readonly Reading<number>[], limit: number): Measured {
  const above = readings.filter(([, value]) => value > limit);
  const value = readings.reduce((most, [, each]) => Math.max(most, each), 0);
  return { isPassed: above.length > 0, value, subjects: namesOf(above) };
}

function soonest(readings: readonly Reading<number | null>[], limit: number): Measured {
  const known = readings.flatMap(([name, value]): Reading<number>[] =>
    value === null ? [] : [[name, Math.round(value)]],
  );
  const below = known.filter(([, value]) => value <= limit);
  const value = known.length === 0 ? null : Math.min(...known.map(([, each]) => each));
  return { isPassed: below.length > 0, value, subjects: namesOf(below) };
}

/** A verification that could not be done proves as little as one that found damage. */
function proofs({ schedules }: ScheduleList): Measured {
  const failed = schedules.filter(
    ({ verify }) => verify !== null && (verify.last?.ok === false || verify.failure !== null),
  );
  return { isPassed: failed.length > 0, value: null, subjects: namesOf(failed.map(({ name }) => [name, null])) };
}

const namesOf = (readings: readonly Reading<unknown>[]): string[] =>
  readings.slice(0, SUBJECTS_MAX).map(([name]) => name);
