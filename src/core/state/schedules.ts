/** Snapshot schedules of volumes, as the state keeps them. */
import { findBad, isAccount, isObject, isText, isTime, orAbsent, orNull, type Check, type Checks } from './serving.ts';

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
  /** How its snapshots are verified; absent: not at all. */
  verify?: VerifyingState;
}

export interface VerifyingState {
  everyMs: number;
  /** Of what is mapped, the part that is read: above 0, up to 1. */
  share: number;
  /** For `/bin/sh -c`; null: none. Only ever from the operator's own command line. */
  command: string | null;
  timeoutMs: number;
  /** As that of the schedule. */
  doneSlot: string;
  /** What came of the newest one. */
  last: VerificationState | null;
  /** When one last found a snapshot sound; null before that. */
  lastOkAt: string | null;
  /** Why the one at hand could not be tried; null when all is well. */
  failure: ScheduleFailure | null;
}

/** What a verification found. */
export interface VerificationState {
  snapshotId: string;
  name: string;
  at: string;
  ok: boolean;
  checkedBytes: number;
  share: number;
  /** Of the command; null where none ran to its end. */
  exitCode: number | null;
  /** Why it is not ok; null when it is. */
  message: string | null;
  /** The end of what the command wrote. */
  output: string | null;
  durationMs: number;
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

const isShare: Check = (value) => typeof value === 'number' && value > 0 && value <= 1;
const isOk: Check = (value) => typeof value === 'boolean';
const isAnyText: Check = (value) => typeof value === 'string';

const VERIFICATION_FIELDS: Checks<VerificationState> = {
  snapshotId: isText,
  name: isText,
  at: isTime,
  ok: isOk,
  checkedBytes: isCount,
  share: isShare,
  exitCode: orNull((value) => Number.isSafeInteger(value)),
  message: orNull(isAnyText),
  output: orNull(isAnyText),
  durationMs: isCount,
};
const VERIFYING_FIELDS: Checks<VerifyingState> = {
  everyMs: isAbove0,
  share: isShare,
  command: orNull(isText),
  timeoutMs: isAbove0,
  doneSlot: isTime,
  last: orNull(has(VERIFICATION_FIELDS)),
  lastOkAt: orNull(isTime),
  failure: orNull(has(FAILURE_FIELDS)),
};

const SCHEDULE_FIELDS: Checks<Required<ScheduleState>> = {
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
  verify: orAbsent(has(VERIFYING_FIELDS)),
};

/** By volume id. */
export const areSchedules = (value: unknown): boolean =>
  isObject(value) && Object.values(value).every(has(SCHEDULE_FIELDS));
