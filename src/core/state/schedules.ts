/** Snapshot schedules of volumes, as the state keeps them. */
import { findBad, isAccount, isObject, isText, isTime, orNull, type Check, type Checks } from './serving.ts';

export const RETENTION_UNITS = ['hour', 'day', 'week', 'month', 'year'] as const;
export type RetentionUnit = (typeof RETENTION_UNITS)[number];

/** The newest snapshot of each of the last `count` periods of the calendar is kept. */
export interface RetentionRule {
  count: number;
  unit: RetentionUnit;
}

/** What a run ended with. */
export interface ScheduleFailure {
  /** RFC 3339, UTC. */
  at: string;
  code: string;
  message: string;
}

export interface ScheduleState {
  /** In the snapshots that it makes, so that only these are thinned by it: `sched-` and 16 hex digits. */
  scheduleId: string;
  /** As the volume was called when it last ran. */
  volumeName: string;
  /** The account that the snapshots are of. */
  accountId: string;
  everyMs: number;
  /** Minutes after midnight UTC; null where nothing was said. */
  atMinute: number | null;
  /** Null: every snapshot is kept. */
  keep: RetentionRule[] | null;
  /** RFC 3339, UTC, as all times here. */
  setAt: string;
  /** The slot of the newest run that is done; when it was set, the slot of that time. */
  doneSlot: string;
  /** Runs that are done. */
  runs: number;
  /** What the newest run made; null before there was one. */
  last: { snapshotId: string; name: string; at: string } | null;
  /** Why the run at hand is not done yet, or was not thinned after; null when all is well. */
  failure: ScheduleFailure | null;
}

const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isAbove0: Check = (value) => isCount(value) && value !== 0;
const MINUTES_A_DAY = 24 * 60;

const RULE_FIELDS: Checks<RetentionRule> = {
  count: isAbove0,
  unit: (value) => RETENTION_UNITS.some((unit) => unit === value),
};
const LAST_FIELDS: Checks<NonNullable<ScheduleState['last']>> = { snapshotId: isText, name: isText, at: isTime };
const FAILURE_FIELDS: Checks<ScheduleFailure> = { at: isTime, code: isText, message: isText };
const has =
  (checks: Readonly<Record<string, Check>>): Check =>
  (value) =>
    findBad(value, checks) === undefined;

const SCHEDULE_FIELDS: Checks<ScheduleState> = {
  scheduleId: isText,
  volumeName: isText,
  accountId: isAccount,
  everyMs: isAbove0,
  atMinute: orNull((value) => isCount(value) && (value as number) < MINUTES_A_DAY),
  keep: orNull((value) => Array.isArray(value) && value.length > 0 && value.every(has(RULE_FIELDS))),
  setAt: isTime,
  doneSlot: isTime,
  runs: isCount,
  last: orNull(has(LAST_FIELDS)),
  failure: orNull(has(FAILURE_FIELDS)),
};

/** By volume id. */
export const areSchedules = (value: unknown): boolean =>
  isObject(value) && Object.values(value).every(has(SCHEDULE_FIELDS));
