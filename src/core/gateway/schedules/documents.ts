/** Schedules as the local API tells of them, from what the state has and what the daemon does. */
import type { ScheduleDocument } from '../../localapi/index.ts';
import type { ScheduleState } from '../../state/index.ts';
import type { Schedules } from './book.ts';
import { nextSlot } from './slots.ts';

/** How the schedules of a daemon do. */
export interface SchedulePhases {
  phaseOf(volumeId: string): { readonly isRunning: boolean; readonly retryInMs: number | null };
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
  const { isRunning = false, retryInMs = null } = phases?.phaseOf(volumeId) ?? {};
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
    remarks: [
      ...(phases === undefined ? ['Nothing runs without the gateway daemon: sgw gateway start'] : []),
      ...sparse(schedule),
    ],
  };
}

/** Who makes more than is kept should know. */
function sparse({ everyMs, keep }: ScheduleState): string[] {
  const finest = keep?.reduce((a, b) => (UNIT_MS[a.unit] <= UNIT_MS[b.unit] ? a : b));
  if (finest === undefined || everyMs >= UNIT_MS[finest.unit]) return [];
  return [
    `Of each ${finest.unit} only the newest snapshot is kept: what a later run of it makes takes the place of the one before.`,
  ];
}

const clockText = (minute: number): string =>
  `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;

/** Every schedule, by the name of its volume. */
export const scheduleDocuments = (
  schedules: Schedules,
  nowMs: number,
  phases: SchedulePhases | undefined,
): ScheduleDocument[] =>
  Object.entries(schedules)
    .sort(([, a], [, b]) => (a.volumeName < b.volumeName ? -1 : 1))
    .map(([volumeId, schedule]) => scheduleDocument(volumeId, schedule, nowMs, phases));
