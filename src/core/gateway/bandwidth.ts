/** Limits of the traffic with the store: for all volumes together, by the hours of the week, changed while it runs. */
import { clockText, minuteOfDay } from '../kit/index.ts';
import type { BandwidthDocument, CallContext, Input } from '../localapi/index.ts';
import type { Rates } from '../objectstore/index.ts';
import {
  openState,
  updateState,
  type BandwidthLimits,
  type BandwidthRule,
  type BandwidthState,
} from '../state/index.ts';
import type { GatewayParts } from './parts.ts';
import { notActivated } from './session.ts';

const NO_LIMITS: BandwidthState = { uploadBytesPerSecond: null, downloadBytesPerSecond: null, rules: [] };
const MINUTES_A_DAY = 24 * 60;

/** The limits that count at a time, by the machine's time zone. */
export function limitsAt(bandwidth: BandwidthState | undefined, nowMs: number): BandwidthLimits {
  const { rules, ...otherwise } = bandwidth ?? NO_LIMITS;
  const now = new Date(nowMs);
  const minute = now.getHours() * 60 + now.getMinutes();
  const day = ((now.getDay() + 6) % 7) + 1;
  const rule = rules.find((one) => applies(one, day, minute));
  if (rule === undefined) return otherwise;
  const { uploadBytesPerSecond, downloadBytesPerSecond } = rule;
  return { uploadBytesPerSecond, downloadBytesPerSecond };
}

function applies({ days, fromMinute, toMinute }: BandwidthRule, day: number, minute: number): boolean {
  if (fromMinute < toMinute) return days.includes(day) && minute >= fromMinute && minute < toMinute;
  // Over midnight: it belongs to the day that it begins on.
  const before = day === 1 ? 7 : day - 1;
  return (days.includes(day) && minute >= fromMinute) || (days.includes(before) && minute < toMinute);
}

export function ratesAt(bandwidth: BandwidthState | undefined, nowMs: number): Rates {
  const { uploadBytesPerSecond, downloadBytesPerSecond } = limitsAt(bandwidth, nowMs);
  return {
    upBytesPerSecond: uploadBytesPerSecond ?? undefined,
    downBytesPerSecond: downloadBytesPerSecond ?? undefined,
  };
}

/** @throws conflict `not-activated` */
export async function showBandwidth(parts: GatewayParts): Promise<BandwidthDocument> {
  const { gateway } = await openState(parts.home);
  if (gateway === null) throw notActivated(parts.home);
  return document(parts, gateway.bandwidth);
}

/** Changes what is given, durably; open stores keep to it once the home's limits are applied. `schedule` replaces all rules. @throws conflict `not-activated` */
export async function setBandwidth(
  parts: GatewayParts,
  input: Input<'bandwidth.set'>,
  call: CallContext,
): Promise<BandwidthDocument> {
  const { schedule, ...limits } = input;
  return await change(parts, call, (now) => ({
    ...now,
    ...limits,
    ...(schedule === undefined ? {} : { rules: schedule.map(ruleOf) }),
  }));
}

/** From then on there is no limit. @throws conflict `not-activated` */
export async function removeBandwidth(parts: GatewayParts, call: CallContext): Promise<BandwidthDocument> {
  return await change(parts, call, () => undefined);
}

async function change(
  parts: GatewayParts,
  call: CallContext,
  next: (now: BandwidthState) => BandwidthState | undefined,
): Promise<BandwidthDocument> {
  const bandwidth = await updateState(
    parts.home,
    ({ gateway }) => {
      if (gateway === null) throw notActivated(parts.home);
      const after = next(gateway.bandwidth ?? NO_LIMITS);
      if (after === undefined) delete gateway.bandwidth;
      else gateway.bandwidth = after;
      gateway.configurationVersion += 1;
      return after;
    },
    { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal },
  );
  return document(parts, bandwidth);
}

function document({ clock }: GatewayParts, bandwidth: BandwidthState | undefined): BandwidthDocument {
  const { rules, ...limits } = bandwidth ?? NO_LIMITS;
  const schedule = rules.map(({ fromMinute, toMinute, ...rule }) => ({
    ...rule,
    from: clockText(fromMinute),
    // Midnight as the end is that of the same day, as people write it.
    to: clockText(toMinute === 0 ? MINUTES_A_DAY : toMinute),
  }));
  return { ...limits, schedule, now: limitsAt(bandwidth, clock.nowMs()) };
}

type RuleDocument = BandwidthDocument['schedule'][number];

const ruleOf = ({ from, to, days, ...limits }: RuleDocument): BandwidthRule => ({
  ...limits,
  days: [...new Set(days)].sort((a, b) => a - b),
  fromMinute: minuteOfDay(from),
  toMinute: minuteOfDay(to) % MINUTES_A_DAY,
});
