/** Checks of what callers hand in about schedules: how often, when, what is kept. */
import { isClockTime, quoted, SgwError } from '../kit/index.ts';
import type { Input } from '../localapi/index.ts';

const MINUTE_MS = 60_000;
const EVERY_MS_MAX = 366 * 24 * 60 * MINUTE_MS;
const UNITS: readonly unknown[] = ['hour', 'day', 'week', 'month', 'year'];
const COUNT_MAX = 10_000;

const COMMAND_CHARACTERS_MAX = 4096;
const TIMEOUT_MS_MAX = 24 * 60 * MINUTE_MS;

/** @throws invalid `bad-schedule` */
export function checkSchedule({ everyMs, at, keep, verify }: Omit<Input<'schedule.set'>, 'volume'>): void {
  if (verify !== undefined && verify !== null) checkVerify(verify);
  if (everyMs !== undefined && !isPace(everyMs))
    throw badSchedule(everyMs, 'how often it runs', 'Give whole minutes, from 1 minute to 366 days, in milliseconds.');
  if (at !== undefined && at !== null && !isClockTime(at))
    throw badSchedule(at, 'a time of the day', 'Write it as 02:30; it is UTC.');
  if (keep === undefined || keep === null) return;
  if (!Array.isArray(keep) || keep.length === 0 || !keep.every(isRule) || isTwice(keep))
    throw badSchedule(keep, 'what is kept', 'Give each unit once, with how many of it count, from 1 to 10,000.');
}

function checkVerify(verify: unknown): void {
  const { everyMs, share, command, timeoutMs } = (typeof verify === 'object' ? verify : {}) as Record<string, unknown>;
  if (everyMs !== undefined && !isPace(everyMs))
    throw badSchedule(everyMs, 'how often it is verified', 'Give whole minutes, from 1 minute to 366 days.');
  if (share !== undefined && !(typeof share === 'number' && share > 0 && share <= 1))
    throw badSchedule(share, 'the part that is read', 'Give a number above 0 and up to 1.');
  const isTimeout =
    Number.isSafeInteger(timeoutMs) && (timeoutMs as number) >= 1000 && (timeoutMs as number) <= TIMEOUT_MS_MAX;
  if (timeoutMs !== undefined && !isTimeout)
    throw badSchedule(timeoutMs, 'the time of a command', 'Give 1 second to 24 hours, in milliseconds.');
  const isCommand = typeof command === 'string' && command.trim() !== '' && command.length <= COMMAND_CHARACTERS_MAX;
  if (command !== undefined && command !== null && !(isCommand && !command.includes('\0')))
    throw badSchedule(
      command,
      'a command',
      `Give a line for the shell of at most ${String(COMMAND_CHARACTERS_MAX)} characters.`,
    );
}

const isPace = (value: unknown): boolean =>
  Number.isSafeInteger(value) &&
  (value as number) >= MINUTE_MS &&
  (value as number) <= EVERY_MS_MAX &&
  (value as number) % MINUTE_MS === 0;

function isRule(rule: unknown): boolean {
  if (typeof rule !== 'object' || rule === null) return false;
  const { count, unit, ...others } = rule as Record<string, unknown>;
  const isCount = Number.isSafeInteger(count) && (count as number) >= 1 && (count as number) <= COUNT_MAX;
  return isCount && UNITS.includes(unit) && Object.keys(others).length === 0;
}

const isTwice = (rules: readonly { readonly unit: string }[]): boolean =>
  new Set(rules.map(({ unit }) => unit)).size < rules.length;

const badSchedule = (value: unknown, what: string, hint: string): SgwError =>
  new SgwError('invalid', 'bad-schedule', `${quoted(JSON.stringify(value))} can not be ${what}`, { hint });
