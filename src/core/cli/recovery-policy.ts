/** Which recovery points a volume keeps, as people write and read it: `all:1h,24h,7d`. */
import { quoted, SgwError } from '../kit/index.ts';
import type { VolumeSettingsDocument } from '../localapi/index.ts';
import { periodMs, periodsText, wholePeriod } from './periods.ts';

type Policy = VolumeSettingsDocument['recovery'];

const HOUR_MS = 60 * 60_000;
/** Of the time for which all are kept. */
const ALL_MAX = 64;
const ALL_MAX_OF_LONG = 256;

const DEFAULT = 'all:1h,24h,7d';

/**
 * `all:1h,24h,7d`: all of the last hour, one an hour for 24 hours, one a day for 7 days. `none`: only the newest state.
 * @throws invalid `bad-setting`
 */
export function parseRecoveryPolicy(text: string): Policy {
  const words = text.trim().toLowerCase();
  if (words === 'default') return parseRecoveryPolicy(DEFAULT);
  if (words === 'none') return { allForMs: 0, allMax: 0, tiers: [] };
  let allForMs = 0;
  const tiers: Policy['tiers'] = [];
  for (const [i, part] of words.split(',').entries()) {
    const [, all, count = '', unit = ''] = /^(all:)?(\d{1,5})([mhdw])$/.exec(part.trim()) ?? [];
    const unitMs = periodMs(unit);
    const forMs = Number(count) * unitMs;
    if (forMs <= 0 || (all !== undefined && i > 0) || unitMs <= (tiers.at(-1)?.periodMs ?? 0)) throw badPolicy(text);
    if (all === undefined) tiers.push({ periodMs: unitMs, forMs });
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
  const all = allForMs === 0 || allMax === 0 ? [] : [`all of ${periodsText(allForMs)} (at most ${String(allMax)})`];
  const rest = tiers.map(
    ({ periodMs: everyMs, forMs }) => `one ${everyText(everyMs)} for ${periodsText(forMs, wholePeriod(everyMs))}`,
  );
  return [...all, ...rest].join(', ') || 'only the newest state';
}

function everyText(ms: number): string {
  const { ms: unitMs, name } = wholePeriod(ms);
  return ms === unitMs ? `${name === 'hour' ? 'an' : 'a'} ${name}` : `in ${periodsText(ms)}`;
}
