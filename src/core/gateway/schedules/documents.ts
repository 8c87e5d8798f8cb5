/** Schedules as the local API tells of them, from what the state has and what the daemon does. */
import { clockText } from '../../kit/index.ts';
import type { ScheduleDocument } from '../../localapi/index.ts';
import type { ScheduleState, VerifyingState } from '../../state/index.ts';
import type { Schedules } from './book.ts';
import { nextSlot } from './slots.ts';
import type { SchedulePhase } from './runner.ts';

/** How the schedules of a daemon do. */
export interface SchedulePhases {
  phaseOf(volumeId: string): SchedulePhase;
}

const UNIT_MS = {
  hour: 3_600_000,
  day: 86_400_000,
  week: 7 * 86_400_000,
  month: 28 * 86_400_000,
  year: 365 * 86_400_000,
};

/** Without `phases`, no daemon runs. */
export function scheduleDocument(
  volumeId: string,
  schedule: ScheduleState,
  nowMs: number,
  phases: SchedulePhases | undefined,
): ScheduleDocument {
  const { volumeName, everyMs, atMinute, keep, setAt, doneSlot, runs, last, failure } = schedule;
  const nextMs = nextSlot(schedule, Date.parse(doneSlot), nowMs);
  const { isRunning, retryInMs, isVerifying } = phases?.phaseOf(volumeId) ?? NO_PHASE;
  const working = isRunning ? 'running' : retryInMs === null ? 'waiting' : 'retrying';
  return {
    volumeId,
    name: volumeName,
    everyMs,
    at: atMinute === null ? null : clockText(atMinute),
    keep: keep?.map((rule) => ({ ...rule })) ?? null,
    state: phases === undefined ? 'stopped' : working,
    setAt,
    nextRunAt: new Date(nextMs).toISOString(),
    retryAt: retryInMs === null ? null : new Date(nowMs + retryInMs).toISOString(),
    runs,
    lastRun: last,
    failure,
    verify: verificationDocument(schedule.verify, nowMs, phases === undefined ? undefined : isVerifying),
    remarks: [
      ...(phases === undefined ? ['Nothing runs without the gateway daemon: sgw gateway start'] : []),
      ...sparse(schedule),
    ],
  };
}

const NO_PHASE: SchedulePhase = { isRunning: false, retryInMs: null, isVerifying: false };

/** `isVerifying` is undefined where no daemon runs. */
function verificationDocument(
  verify: VerifyingState | undefined,
  nowMs: number,
  isVerifying: boolean | undefined,
): ScheduleDocument['verify'] {
  if (verify === undefined) return null;
  const { doneSlot, last, lastOkAt: _, ...rest } = verify;
  const nextMs = nextSlot({ everyMs: verify.everyMs, atMinute: null }, Date.parse(doneSlot), nowMs);
  const state = isVerifying === undefined ? 'stopped' : isVerifying ? 'running' : 'waiting';
  return { ...rest, state, nextRunAt: new Date(nextMs).toISOString(), last: last && { ...last } };
}

/** Who makes more than is kept should know. */
function sparse({ everyMs, keep }: ScheduleState): string[] {
  const finest = keep?.reduce((a, b) => (UNIT_MS[a.unit] <= UNIT_MS[b.unit] ? a : b));
  if (finest === undefined || everyMs >= UNIT_MS[finest.unit]) return [];
  return [
    `Of each ${finest.unit} only the newest snapshot is kept: what a later run of it makes takes the place of the one before.`,
  ];
}

/** Every schedule, by the name of its volume. */
export const scheduleDocuments = (
  schedules: Schedules,
  nowMs: number,
  phases: SchedulePhases | undefined,
): ScheduleDocument[] =>
  Object.entries(schedules)
    .sort(([, a], [, b]) => (a.volumeName < b.volumeName ? -1 : 1))
    .map(([volumeId, schedule]) => scheduleDocument(volumeId, schedule, nowMs, phases));
