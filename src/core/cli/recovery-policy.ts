/** Which recovery points a volume keeps, as people write and read it: `all:1h,24h,7d`. */
import { quoted, SgwError } from '../kit/index.ts';
import type { VolumeSettingsDocument } from '../localapi/index.ts';
import { plural } from './tables.ts';

type Policy = VolumeSettingsDocument['recovery'];

const HOUR_MS = 60 * 60_000;
const UNIT_MS: Readonly<Record<string, number>> = { m: 60_000, h: HOUR_MS, d: 24 * HOUR_MS, w: 7 * 24 * HOUR_MS };
const UNIT_NAMES: Readonly<Record<string, string>> = { m: 'minute', h: 'hour', d: 'day', w: 'week' };
/** Of the time for which all are kept. */
const ALL_MAX = 64;
const ALL_MAX_OF_LONG = 256;

const DEFAULT: Policy = {
  allForMs: HOUR_MS,
  allMax: ALL_MAX,
  tiers: [
    { periodMs: HOUR_MS, forMs: 24 * HOUR_MS },
    { periodMs: 24 * HOUR_MS, forMs: 7 * 24 * HOUR_MS },
  ],
};

/**
 * `all:1h,24h,7d`: all of the last hour, one an hour for 24 hours, one a day for 7 days. `none`: only the newest state.
 * @throws invalid `bad-setting`
 */
export function parseRecoveryPolicy(text: string): Policy {
  const words = text.trim().toLowerCase();
  if (words === 'default') return DEFAULT;
  if (words === 'none') return { allForMs: 0, allMax: 0, tiers: [] };
  let allForMs = 0;
  const tiers: Policy['tiers'] = [];
  for (const [i, part] of words.split(',').entries()) {
    const [, all, count = '', unit = ''] = /^(all:)?(\d{1,5})([mhdw])$/.exec(part.trim()) ?? [];
    const periodMs = UNIT_MS[unit] ?? 0;
    const forMs = Number(count) * periodMs;
    if (forMs <= 0 || (all !== undefined && i > 0) || periodMs <= (tiers.at(-1)?.periodMs ?? 0)) throw badPolicy(text);
    if (all === undefined) tiers.push({ periodMs, forMs });
    else allForMs = forMs;
  }
  return { allForMs, allMax: allForMs === 0 ? 0 : allForMs > HOUR_MS ? ALL_MAX_OF_LONG : ALL_MAX, tiers };
}

const badPolicy = (text: string): SgwError =>
  new SgwError('invalid', 'bad-setting', `--recovery-points can not be ${quoted(text)}`, {
    hint: 'Give for how long all are kept, then one a minute (m), hour (h), day (d) or week (w), from short to long, such as all:1h,24h,7d; none; or default.',
    details: { value: text },
  });

/** `all of 1 hour (at most 64), one an hour for 24 hours, one a day for 7 days`. */
export function recoveryPolicyText({ allForMs, allMax, tiers }: Policy): string {
  const all = allForMs === 0 || allMax === 0 ? [] : [`all of ${spanText(allForMs)} (at most ${String(allMax)})`];
  const rest = tiers.map(({ periodMs, forMs }) => `one ${periodText(periodMs)} for ${spanText(forMs, periodMs)}`);
  return [...all, ...rest].join(', ') || 'only the newest state';
}

const unitOf = (ms: number): string => ['w', 'd', 'h', 'm'].find((unit) => ms % (UNIT_MS[unit] ?? 1) === 0) ?? 'm';

function spanText(ms: number, unitMs?: number): string {
  const unit = unitOf(unitMs ?? ms);
  return plural(Math.round(ms / (UNIT_MS[unit] ?? 1)), UNIT_NAMES[unit] ?? 'minute');
}

function periodText(ms: number): string {
  const unit = unitOf(ms);
  const count = ms / (UNIT_MS[unit] ?? 1);
  return count === 1 ? `${unit === 'h' ? 'an' : 'a'} ${UNIT_NAMES[unit] ?? ''}` : `in ${spanText(ms)}`;
}
