/** Limits of the traffic with the store, as people write and read them. */
import { formatRate, isTimeOfDay, SgwError } from '../kit/index.ts';
import type { BandwidthDocument } from '../localapi/index.ts';
import type { Style } from './style.ts';
import { renderFields } from './tables.ts';
import { parseRate } from './values.ts';

type Rule = BandwidthDocument['schedule'][number];
type Limits = BandwidthDocument['now'];

const DAY_NAMES = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'] as const;
const ALL_DAYS = [1, 2, 3, 4, 5, 6, 7];
const NO_LIMIT = 'none';

/** Bytes a second of `5MB/s` or `5MB`; null for `none`. @throws invalid `bad-size`, `bad-rate` */
export const parseLimit = (text: string, what: string): number | null =>
  text.toLowerCase() === NO_LIMIT ? null : parseRate(text, what, 'Give a size, such as 20MB/s, or none for no limit.');

/**
 * `Mon-Fri 08:00-18:00 5MB/s`: days, hours, and a rate for both directions, or one each: `up 5MB/s down none`.
 * @throws invalid `bad-bandwidth-rule`, `bad-rate`
 */
export function parseRule(text: string): Rule {
  const [days = '', hours = '', ...rates] = text.trim().split(/\s+/);
  const [from, to, ...more] = hours.split('-');
  const limits = limitsOf(rates);
  if (!isTimeOfDay(from) || !isTimeOfDay(to) || more.length > 0 || limits === undefined) throw badRule(text);
  return { days: parseDays(days, text), from, to, ...limits };
}

function limitsOf(words: readonly string[]): Limits | undefined {
  const [first, second, third, fourth] = words;
  if (words.length === 1 && first !== undefined) {
    const rate = parseLimit(first, '--schedule');
    return { uploadBytesPerSecond: rate, downloadBytesPerSecond: rate };
  }
  if (words.length === 2 && second !== undefined) {
    const rate = parseLimit(second, '--schedule');
    if (first === 'up') return { uploadBytesPerSecond: rate, downloadBytesPerSecond: null };
    if (first === 'down') return { uploadBytesPerSecond: null, downloadBytesPerSecond: rate };
  }
  if (words.length !== 4 || first !== 'up' || third !== 'down') return undefined;
  return {
    uploadBytesPerSecond: parseLimit(second ?? '', '--schedule'),
    downloadBytesPerSecond: parseLimit(fourth ?? '', '--schedule'),
  };
}

function parseDays(text: string, rule: string): number[] {
  if (text.toLowerCase() === 'daily') return ALL_DAYS;
  const dayOf = (name: string): number => {
    const at = DAY_NAMES.findIndex((day) => day.toLowerCase() === name.toLowerCase());
    if (at < 0) throw badRule(rule);
    return at + 1;
  };
  const days = text.split(',').flatMap((part) => {
    const [first = '', last = first, ...more] = part.split('-');
    if (more.length > 0) throw badRule(rule);
    const [begin, end] = [dayOf(first), dayOf(last)];
    return ALL_DAYS.filter((day) => (begin <= end ? day >= begin && day <= end : day >= begin || day <= end));
  });
  return [...new Set(days)].sort((a, b) => a - b);
}

const badRule = (text: string): SgwError =>
  new SgwError('invalid', 'bad-bandwidth-rule', `"${text}" does not say days, hours and a rate`, {
    hint: 'Write it like "Mon-Fri 08:00-18:00 5MB/s", "daily 22:00-06:00 none" or "Sat,Sun 00:00-24:00 up 50MB/s down none".',
    details: { value: text },
  });

/** As `bandwidth show` prints it. */
export function bandwidthFields(bandwidth: BandwidthDocument, style: Style): string {
  const { schedule, now } = bandwidth;
  return renderFields(
    [
      ['upload', rateText(bandwidth.uploadBytesPerSecond)],
      ['download', rateText(bandwidth.downloadBytesPerSecond)],
      ...schedule.map((rule): [string, string] => ['schedule', ruleText(rule)]),
      ['now', limitsText(now)],
    ],
    style,
  );
}

const rateText = (rate: number | null): string => (rate === null ? 'no limit' : formatRate(rate));

const limitsText = ({ uploadBytesPerSecond: up, downloadBytesPerSecond: down }: Limits): string =>
  up === null && down === null ? 'no limit' : `up ${rateText(up)}, down ${rateText(down)}`;

function ruleText({ days, from, to, ...limits }: Rule): string {
  const isRun = days.length > 2 && days.every((day, i) => i === 0 || day === (days[i - 1] ?? 0) + 1);
  const name = (day: number | undefined): string => DAY_NAMES[(day ?? 1) - 1] ?? '';
  const named = isRun ? `${name(days[0])}-${name(days.at(-1))}` : days.map(name).join(',');
  return `${days.length === ALL_DAYS.length ? 'daily' : named} ${from}-${to}: ${limitsText(limits)}`;
}
