/** Limits of a gateway's traffic with its store. The API counts bits a second, the gateway whole bytes. */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import { clockText, minuteOfDay } from '../../../kit/index.ts';
import type { BandwidthDocument } from '../../../localapi/index.ts';
import { callGateway, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { findGateway } from './gateway-directory.ts';
import type { Checked } from './types.ts';

type Interval = Checked<Sdk.BandwidthRateLimitInterval>;
type Rule = BandwidthDocument['schedule'][number];

const MINUTES_A_DAY = 24 * 60;
const BITS = 8;

export async function describeLimit(
  { GatewayARN }: Checked<Sdk.DescribeBandwidthRateLimitInput>,
  caller: Caller,
): Promise<Sdk.DescribeBandwidthRateLimitOutput> {
  return { GatewayARN, ...limitsOf(await bandwidthOf(caller, GatewayARN)) };
}

export async function updateLimit(
  input: Checked<Sdk.UpdateBandwidthRateLimitInput>,
  caller: Caller,
): Promise<Sdk.UpdateBandwidthRateLimitOutput> {
  const { GatewayARN } = input;
  const limits = bytesOf(input);
  if (Object.keys(limits).length === 0) throw new RequestRefused('InvalidParameters', 'no limit was given');
  const { gatewayId } = await findGateway(caller, GatewayARN);
  await callGateway(caller, gatewayId, 'bandwidth.set', limits);
  return { GatewayARN };
}

const DELETED: Readonly<Record<string, Partial<BandwidthDocument>>> = {
  UPLOAD: { uploadBytesPerSecond: null },
  DOWNLOAD: { downloadBytesPerSecond: null },
  ALL: { uploadBytesPerSecond: null, downloadBytesPerSecond: null },
};

export async function deleteLimit(
  { GatewayARN, BandwidthType }: Checked<Sdk.DeleteBandwidthRateLimitInput>,
  caller: Caller,
): Promise<Sdk.DeleteBandwidthRateLimitOutput> {
  const limits = Object.hasOwn(DELETED, BandwidthType) ? DELETED[BandwidthType] : undefined;
  if (limits === undefined)
    throw new RequestRefused('InvalidParameters', 'a type of bandwidth is UPLOAD, DOWNLOAD or ALL');
  const { gatewayId } = await findGateway(caller, GatewayARN);
  await callGateway(caller, gatewayId, 'bandwidth.set', limits);
  return { GatewayARN };
}

export async function describeLimitSchedule(
  { GatewayARN }: Checked<Sdk.DescribeBandwidthRateLimitScheduleInput>,
  caller: Caller,
): Promise<Sdk.DescribeBandwidthRateLimitScheduleOutput> {
  const { schedule } = await bandwidthOf(caller, GatewayARN);
  return { GatewayARN, BandwidthRateLimitIntervals: schedule.flatMap(intervalsOf) };
}

/** Replaces all intervals; where none of them is, the limits beside them count. */
export async function updateLimitSchedule(
  { GatewayARN, BandwidthRateLimitIntervals }: Checked<Sdk.UpdateBandwidthRateLimitScheduleInput>,
  caller: Caller,
): Promise<Sdk.UpdateBandwidthRateLimitScheduleOutput> {
  const schedule = BandwidthRateLimitIntervals.map(ruleOf);
  requireApart(schedule);
  const { gatewayId } = await findGateway(caller, GatewayARN);
  await callGateway(caller, gatewayId, 'bandwidth.set', { schedule });
  return { GatewayARN };
}

async function bandwidthOf(caller: Caller, arn: string): Promise<BandwidthDocument> {
  const { gatewayId } = await findGateway(caller, arn);
  return await callGateway(caller, gatewayId, 'bandwidth.show', {});
}

interface Limits {
  AverageUploadRateLimitInBitsPerSec?: number;
  AverageDownloadRateLimitInBitsPerSec?: number;
}

function limitsOf({
  uploadBytesPerSecond: up,
  downloadBytesPerSecond: down,
}: Pick<BandwidthDocument, 'uploadBytesPerSecond' | 'downloadBytesPerSecond'>): Limits {
  return {
    ...(up === null ? {} : { AverageUploadRateLimitInBitsPerSec: up * BITS }),
    ...(down === null ? {} : { AverageDownloadRateLimitInBitsPerSec: down * BITS }),
  };
}

function bytesOf(limits: {
  readonly AverageUploadRateLimitInBitsPerSec?: number | undefined;
  readonly AverageDownloadRateLimitInBitsPerSec?: number | undefined;
}): { uploadBytesPerSecond?: number; downloadBytesPerSecond?: number } {
  const { AverageUploadRateLimitInBitsPerSec: up, AverageDownloadRateLimitInBitsPerSec: down } = limits;
  return {
    ...(up === undefined ? {} : { uploadBytesPerSecond: Math.floor(up / BITS) }),
    ...(down === undefined ? {} : { downloadBytesPerSecond: Math.floor(down / BITS) }),
  };
}

/** An interval lasts to the end of its last minute. Days go from 0, Sunday, here, and from 1, Monday, to 7 there. */
function ruleOf(interval: Interval): Rule {
  const from = interval.StartHourOfDay * 60 + interval.StartMinuteOfHour;
  const to = interval.EndHourOfDay * 60 + interval.EndMinuteOfHour + 1;
  const limits = { uploadBytesPerSecond: null, downloadBytesPerSecond: null, ...bytesOf(interval) };
  if (from >= to) throw new RequestRefused('InvalidSchedule', 'an interval ends before it begins');
  if (limits.uploadBytesPerSecond === null && limits.downloadBytesPerSecond === null)
    throw new RequestRefused('InvalidSchedule', 'an interval has no limit');
  const days = [...new Set(interval.DaysOfWeek.map((day) => (day === 0 ? 7 : day)))].sort((a, b) => a - b);
  return { ...limits, days, from: clockText(from), to: clockText(to) };
}

/** @throws RequestRefused `InvalidSchedule` */
function requireApart(rules: readonly Rule[]): void {
  const overlaps = (a: Rule, b: Rule): boolean =>
    a.days.some((day) => b.days.includes(day)) &&
    minuteOfDay(a.from) < minuteOfDay(b.to) &&
    minuteOfDay(b.from) < minuteOfDay(a.to);
  if (rules.some((rule, i) => rules.slice(i + 1).some((other) => overlaps(rule, other))))
    throw new RequestRefused('InvalidSchedule', 'two intervals overlap');
}

/** One over midnight, as the gateway may have it, is two here. */
function intervalsOf({ days, from, to, ...rates }: Rule): Sdk.BandwidthRateLimitInterval[] {
  const start = minuteOfDay(from);
  const end = minuteOfDay(to) === 0 ? MINUTES_A_DAY : minuteOfDay(to);
  const limits = limitsOf(rates);
  if (start < end) return [intervalOf(days, start, end, limits)];
  const after = days.map((day) => (day % 7) + 1);
  return [intervalOf(days, start, MINUTES_A_DAY, limits), intervalOf(after, 0, end, limits)];
}

function intervalOf(
  days: readonly number[],
  start: number,
  end: number,
  limits: Limits,
): Sdk.BandwidthRateLimitInterval {
  const last = end - 1;
  return {
    StartHourOfDay: Math.floor(start / 60),
    StartMinuteOfHour: start % 60,
    EndHourOfDay: Math.floor(last / 60),
    EndMinuteOfHour: last % 60,
    DaysOfWeek: days.map((day) => day % 7),
    ...limits,
  };
}
