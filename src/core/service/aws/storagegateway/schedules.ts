/** Snapshot schedules: every 1, 2, 4, 8, 12 or 24 hours, counted from an hour of the day in the gateway's time zone. */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import { clockText, minuteOfDay } from '../../../kit/index.ts';
import { callGateway, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { changeVolumeRecord } from './records.ts';
import { tagList, tagsOf } from './tags.ts';
import { minutesEastOf } from './timezones.ts';
import type { Checked } from './types.ts';
import { findVolume, type ApiVolume } from './volume-directory.ts';
import { recordOf } from './volume-record.ts';

const HOUR_MS = 60 * 60 * 1000;
const MINUTES_A_DAY = 24 * 60;
const RECURRENCES: readonly number[] = [1, 2, 4, 8, 12, 24];

export async function describeSchedule(
  { VolumeARN }: Checked<Sdk.DescribeSnapshotScheduleInput>,
  caller: Caller,
): Promise<Sdk.DescribeSnapshotScheduleOutput> {
  const { volumeId, record, gatewayId, timezone } = await scheduledVolume(caller, VolumeARN);
  const { schedules } = await callGateway(caller, gatewayId, 'schedule.show', { volume: volumeId });
  const [schedule] = schedules;
  if (schedule === undefined)
    throw new RequestRefused('SnapshotScheduleNotFound', 'the volume has no snapshot schedule');
  const hours = schedule.everyMs / HOUR_MS;
  if (!RECURRENCES.includes(hours))
    throw new RequestRefused(
      'NotSupported',
      'the schedule was set at the gateway, at a pace that this API does not have',
    );
  const minute = minuteOfDay(schedule.at ?? '00:00') + minutesEastOf(timezone);
  const description = record?.scheduleDescription ?? null;
  return {
    VolumeARN,
    StartAt: Math.floor(inDay(minute) / 60),
    RecurrenceInHours: hours,
    Timezone: timezone,
    ...(description === null ? {} : { Description: description }),
    Tags: tagList(record?.scheduleTags ?? {}),
  };
}

export async function updateSchedule(
  input: Checked<Sdk.UpdateSnapshotScheduleInput>,
  caller: Caller,
): Promise<Sdk.UpdateSnapshotScheduleOutput> {
  const { VolumeARN, StartAt, RecurrenceInHours, Description, Tags } = input;
  if (!RECURRENCES.includes(RecurrenceInHours))
    throw new RequestRefused('InvalidSchedule', `snapshots recur every ${RECURRENCES.join(', ')} hours`);
  const tags = Tags === undefined ? undefined : tagsOf(Tags);
  const { timezone, ...volume } = await scheduledVolume(caller, VolumeARN);
  await callGateway(caller, volume.gatewayId, 'schedule.set', {
    volume: volume.volumeId,
    everyMs: RecurrenceInHours * HOUR_MS,
    at: clockText(inDay(StartAt * 60 - minutesEastOf(timezone))),
  });
  const change = {
    ...(Description === undefined ? {} : { scheduleDescription: Description }),
    ...(tags === undefined ? {} : { scheduleTags: tags }),
  };
  if (Object.keys(change).length > 0)
    await changeVolumeRecord(caller, recordOf(caller, volume), (now) => ({ ...now, ...change }));
  return { VolumeARN };
}

export async function deleteSchedule(
  { VolumeARN }: Checked<Sdk.DeleteSnapshotScheduleInput>,
  caller: Caller,
): Promise<Sdk.DeleteSnapshotScheduleOutput> {
  const { volumeId, gatewayId } = await scheduledVolume(caller, VolumeARN);
  await callGateway(caller, gatewayId, 'schedule.remove', { volume: volumeId });
  return { VolumeARN };
}

const inDay = (minute: number): number => (minute + MINUTES_A_DAY) % MINUTES_A_DAY;

/** A gateway runs the schedules of what it has, or had last. */
async function scheduledVolume(caller: Caller, arn: string): Promise<ApiVolume & { readonly timezone: string }> {
  const volume = await findVolume(caller, arn);
  if (volume.gateway === undefined)
    throw new RequestRefused('VolumeNotReady', 'the volume is on no gateway: attach it first');
  return { ...volume, timezone: volume.gateway.settings.timezone };
}
