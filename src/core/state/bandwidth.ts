/** The limits of a gateway's traffic with its store, as the state keeps them. */
import { findBad, isObject, orNull, type Checks } from './serving.ts';

/** Bytes a second in each direction; null is no limit. */
export interface BandwidthLimits {
  uploadBytesPerSecond: number | null;
  downloadBytesPerSecond: number | null;
}

/** Limits for a part of the week, by the machine's clock. */
export interface BandwidthRule extends BandwidthLimits {
  /** 1 (Monday) to 7, ascending. */
  days: number[];
  /** Minutes since midnight; up to `toMinute`, exclusive, which is on the next day when it is not after `fromMinute`. */
  fromMinute: number;
  toMinute: number;
}

export interface BandwidthState extends BandwidthLimits {
  /** The first that applies counts; when none does, the limits beside it. */
  rules: BandwidthRule[];
}

const MINUTES_MAX = 24 * 60;
const isRate = orNull((value) => Number.isSafeInteger(value) && (value as number) > 0);
const isMinute = (value: unknown): boolean =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < MINUTES_MAX;
const isDay = (value: unknown): boolean =>
  Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= 7;

const LIMIT_FIELDS = { uploadBytesPerSecond: isRate, downloadBytesPerSecond: isRate } as const;
const RULE_FIELDS: Checks<BandwidthRule> = {
  ...LIMIT_FIELDS,
  days: (value) => Array.isArray(value) && value.length > 0 && value.every(isDay),
  fromMinute: isMinute,
  toMinute: isMinute,
};
const BANDWIDTH_FIELDS: Checks<BandwidthState> = {
  ...LIMIT_FIELDS,
  rules: (value) => Array.isArray(value) && value.every((rule) => findBad(rule, RULE_FIELDS) === undefined),
};

export const isBandwidth = (value: unknown): boolean =>
  isObject(value) && findBad(value, BANDWIDTH_FIELDS) === undefined;
