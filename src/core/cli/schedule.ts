/** Snapshot schedules, as people write and read them. */
import { formatSize, isClockTime, quoted, SgwError } from '../kit/index.ts';
import type { Input, ScheduleDocument, ScheduleList } from '../localapi/index.ts';
import { periodMs, periodsText, wholePeriod } from './periods.ts';
import type { Style } from './style.ts';
import { formatTime, plural, renderFields, renderTable, withRemarks, type Field } from './tables.ts';
import { given } from './values.ts';

type Keep = NonNullable<ScheduleDocument['keep']>;
type Unit = Keep[number]['unit'];

const PACE_MS_MIN = 60_000;
const PACE_MS_MAX = 366 * 24 * 60 * PACE_MS_MIN;
const UNITS: Readonly<Record<string, Unit>> = { h: 'hour', d: 'day', w: 'week', m: 'month', y: 'year' };
const COUNT_MAX = 10_000;
/** All of it is in the document. */
const OUTPUT_LINES = 10;

/** Milliseconds of `15m`, `4h`, `1d` or `2w`, for a flag. @throws invalid `bad-schedule` */
export function parsePace(text: string, flag = '--every'): number {
  const [, count = '', unit = ''] = /^(\d{1,6})([mhdw])$/.exec(text.trim()) ?? [];
  const paceMs = Number(count) * periodMs(unit);
  if (paceMs >= PACE_MS_MIN && paceMs <= PACE_MS_MAX) return paceMs;
  throw badSchedule(flag, text, 'Give minutes, hours, days or weeks, such as 15m, 4h, 1d or 2w, up to a year.');
}

/** What `7d,4w,12m` keeps; null, everything, for `all`. @throws invalid `bad-schedule` */
export function parseKeep(text: string): Keep | null {
  if (text.trim().toLowerCase() === 'all') return null;
  const rules = text.split(',').map((part) => {
    const [, count = '', letter = ''] = /^(\d{1,5})([hdwmy])$/.exec(part.trim()) ?? [];
    const unit = UNITS[letter];
    if (unit === undefined || Number(count) < 1 || Number(count) > COUNT_MAX) throw badKeep(text);
    return { count: Number(count), unit };
  });
  if (new Set(rules.map(({ unit }) => unit)).size < rules.length) throw badKeep(text);
  return rules;
}

const badKeep = (text: string): SgwError =>
  badSchedule(
    '--keep',
    text,
    'Give hours (h), days (d), weeks (w), months (m) or years (y), each once, such as 48h,7d,4w,12m,2y; or all.',
  );

/** A time of the day, UTC; null for `none`. @throws invalid `bad-schedule` */
export function parseTimeOfDay(text: string): string | null {
  if (text.trim().toLowerCase() === 'none') return null;
  if (isClockTime(text.trim())) return text.trim();
  throw badSchedule('--at', text, 'Give a time of the day in UTC, such as 02:30, or none.');
}

const badSchedule = (flag: string, text: string, hint: string): SgwError =>
  new SgwError('invalid', 'bad-schedule', `${flag} can not be ${quoted(text)}`, { hint, details: { value: text } });

const NAMED_PACES: Readonly<Record<string, string>> = { daily: '1d', weekly: '1w', monthly: '30d' };

/** As `parsePace`, and `daily`, `weekly`, `monthly` (30 days); null for `none`. @throws invalid `bad-schedule` */
export function parseVerifyPace(text: string): number | null {
  const words = text.trim().toLowerCase();
  return words === 'none' ? null : parsePace(NAMED_PACES[words] ?? words, '--verify');
}

/** `5%` as a part of 1. @throws invalid `bad-schedule` */
function parseShare(text: string): number {
  const [, digits = ''] = /^(\d{1,3}(?:\.\d{1,3})?)%$/.exec(text.trim()) ?? [];
  const share = Number(digits) / 100;
  if (digits !== '' && share > 0 && share <= 1) return share;
  throw badSchedule('--verify-sample', text, 'Give a part of 100, such as 5%.');
}

type VerifyWish = NonNullable<Input<'schedule.set'>['verify']>;

interface VerifyFlags {
  readonly verify: { readonly everyMs: number | null } | undefined;
  readonly all: boolean;
  readonly sample: string | undefined;
  /** `none`: no command. */
  readonly command: string | undefined;
  readonly timeoutMs: number | undefined;
}

/** What is asked of verification; undefined when nothing is, null when there is to be none. @throws invalid `bad-schedule` */
export function verifyWish({ verify, all, sample, command, timeoutMs }: VerifyFlags): VerifyWish | null | undefined {
  if (verify?.everyMs === null) return null;
  const wish = given({
    everyMs: verify?.everyMs ?? undefined,
    share: all ? 1 : sample === undefined ? undefined : parseShare(sample),
    command: command === 'none' ? null : command,
    timeoutMs,
  });
  return Object.keys(wish).length === 0 ? undefined : wish;
}

/** `every 4 hours`, `every day at 02:30 UTC`. */
function paceText({ everyMs, at }: Pick<ScheduleDocument, 'everyMs' | 'at'>): string {
  const { ms, name } = wholePeriod(everyMs);
  return `every ${everyMs === ms ? name : periodsText(everyMs)}${at === null ? '' : ` at ${at} UTC`}`;
}

const keepText = (keep: Keep | null): string =>
  keep === null ? 'all' : keep.map(({ count, unit }) => plural(count, unit)).join(', ');

/** One schedule with everything that is known of it. */
export function scheduleFields(schedule: ScheduleDocument, style: Style): string {
  const { name, volumeId, keep, lastRun, failure, retryAt, runs, remarks } = schedule;
  const fields: Field[] = [
    ['volume', `${name} (${volumeId})`],
    ['snapshots', paceText(schedule)],
    ['keep', keepText(keep)],
    stateField(schedule, style),
    ['next run', `${formatTime(schedule.nextRunAt)} UTC`],
    ['last run', lastRun === null ? 'none yet' : `${formatTime(lastRun.at)} UTC: ${lastRun.name}`],
    ['runs', String(runs)],
    ['failure', failure === null ? null : `${failure.message} (since ${formatTime(failure.at)} UTC)`, style.red],
    ['tried again', retryAt === null ? null : `${formatTime(retryAt)} UTC`],
  ];
  return withRemarks(renderFields([...fields, ...verifyFields(schedule, style)], style), remarks, style);
}

function verifyFields({ verify }: ScheduleDocument, style: Style): Field[] {
  if (verify === null) return [];
  const { everyMs, share, command, state, nextRunAt, last, failure } = verify;
  const part = share === 1 ? 'all is read' : `${String(Number((share * 100).toFixed(3)))}% is read`;
  // The first one is owed from the beginning.
  const nextText = last === null ? 'as soon as there is a snapshot' : `next ${formatTime(nextRunAt)} UTC`;
  const outcome =
    last === null ? 'nothing yet' : `${last.name}, ${last.ok ? 'ok' : 'not sound'}, ${formatTime(last.at)} UTC`;
  return [
    ['verified', `${paceText({ everyMs, at: null })}, ${part}`],
    ['command', command],
    ['verifying', state === 'waiting' ? nextText : state],
    ['last verified', outcome, last === null ? style.yellow : last.ok ? style.green : style.red],
    ['read', last === null ? null : formatSize(last.checkedBytes)],
    ['exit code', exitText(last?.exitCode)],
    ['found', last?.message ?? null, style.red],
    ...outputFields(last),
    ['not verified', failure === null ? null : `${failure.message} (since ${formatTime(failure.at)} UTC)`, style.red],
  ];
}

/** The last lines that a command that failed has written. */
function outputFields(last: NonNullable<ScheduleDocument['verify']>['last']): Field[] {
  if (last === null || last.ok || last.output === null) return [];
  const lines = last.output.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-OUTPUT_LINES).map((line) => ['output', line.trimEnd()]);
}

const exitText = (exitCode: number | null | undefined): string | null =>
  exitCode === null || exitCode === undefined ? null : String(exitCode);

function stateField({ state, failure }: ScheduleDocument, style: Style): Field {
  const isWell = failure === null && state !== 'stopped';
  return ['state', state, isWell ? style.green : style.yellow];
}

/** One schedule in a line of `status`. */
export function scheduleField(schedule: ScheduleDocument, style: Style): Field {
  const { name, state, lastRun, nextRunAt, failure } = schedule;
  const last = lastRun === null ? 'not run yet' : `last ${formatTime(lastRun.at)}`;
  const isWell = failure === null && state !== 'stopped';
  const text = `${name}, ${paceText(schedule)}: ${state}, ${last}, next ${formatTime(nextRunAt)} UTC`;
  return ['schedule', text, isWell ? style.green : style.yellow];
}

/** All schedules; one as it is shown alone. */
export async function scheduleText({ schedules }: ScheduleList, style: Style, columns: number): Promise<string> {
  const [first, ...others] = schedules;
  if (first === undefined) return 'There are no schedules.';
  if (others.length === 0) return scheduleFields(first, style);
  const table = await renderTable(
    schedules,
    [
      { head: 'VOLUME', value: ({ name }) => name, isCut: true },
      { head: 'SNAPSHOTS', value: paceText },
      { head: 'KEEP', value: ({ keep }) => keepText(keep) },
      { head: 'STATE', value: ({ state, failure }) => (failure === null ? state : `${state}, failed`) },
      { head: 'NEXT RUN (UTC)', value: ({ nextRunAt }) => formatTime(nextRunAt) },
      { head: 'LAST RUN (UTC)', value: ({ lastRun }) => (lastRun === null ? '-' : formatTime(lastRun.at)) },
    ],
    style,
    columns,
  );
  const remarks = [
    ...new Set(schedules.flatMap((one) => (one.state === 'stopped' ? one.remarks.slice(0, 1) : []))),
    ...schedules.flatMap(({ name, failure }) => (failure === null ? [] : [`${name}: ${failure.message}`])),
  ];
  return withRemarks(table, remarks, style);
}
