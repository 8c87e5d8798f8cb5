/** Gateways: activation, list, information, shutting down and starting, maintenance, deletion. */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import { Catalog, failSnapshot } from '../../../blockstore/index.ts';
import { toSgwError } from '../../../kit/index.ts';
import type { GatewayDocument, GatewayMode } from '../../../localapi/index.ts';
import { timeOf } from '../../context.ts';
import { gatewayArn } from './arns.ts';
import { callGatewayLong, lookAt, requireLook, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { findAnyGateway, findGateway, listGatewaysOf, plainName, type ApiGateway } from './gateway-directory.ts';
import { pageOf } from './paging.ts';
import { changeSettings, changeVolumeRecord } from './records.ts';
import { tagList, tagsOf } from './tags.ts';
import { checkTimezone } from './timezones.ts';
import type { Checked } from './types.ts';
import { listVolumesOf } from './volume-directory.ts';

const MODES: Readonly<Record<string, GatewayMode>> = { CACHED: 'cached', STORED: 'shadowing' };

const gatewayType = (mode: GatewayMode): string => (mode === 'cached' ? 'CACHED' : 'STORED');

/** Claims the device that waits under the key, once. It becomes a gateway when it comes for its credential. */
export async function activateGateway(
  input: Checked<Sdk.ActivateGatewayInput>,
  caller: Caller,
): Promise<Sdk.ActivateGatewayOutput> {
  const { ActivationKey, GatewayName, GatewayTimezone, GatewayRegion, GatewayType = 'CACHED', Tags } = input;
  const { parts, accountId, user, signal } = caller;
  const mode = Object.hasOwn(MODES, GatewayType) ? MODES[GatewayType] : undefined;
  if (mode === undefined) throw new RequestRefused('NotSupported', `there are no gateways of type ${GatewayType} here`);
  if (input.TapeDriveType !== undefined || input.MediumChangerType !== undefined)
    throw new RequestRefused('ParametersNotImplemented', 'a volume gateway has no tape drives and no medium changer');
  if (GatewayRegion !== parts.region)
    throw new RequestRefused('RegionInvalid', `the region of this service is ${parts.region}`);
  checkTimezone(GatewayTimezone);
  const tags = tagsOf(Tags);
  const about = { displayName: GatewayName, timezone: GatewayTimezone, mode, tags };
  const claim = { activationKey: ActivationKey, gatewayName: plainName(GatewayName), accountId, mode, gatewayId: null };
  const wish = { ...claim, region: parts.region, confirm: true };
  const { gatewayId } = await parts.messages.asUser(user, 'activation.claim', wish, signal);
  // Then what the claim does not carry: who dies before that asks again, and gets the same gateway.
  const { deleted } = await changeSettings(caller, gatewayId, (now) =>
    now.claimedAt === null ? { ...now, ...about, claimedAt: timeOf(parts.context) } : now,
  );
  if (deleted !== null) throw new RequestRefused('ActivationKeyInvalid', 'the gateway that the key made was deleted');
  return { GatewayARN: gatewayArn(caller, gatewayId) };
}

export async function listGateways(
  input: Checked<Sdk.ListGatewaysInput>,
  caller: Caller,
): Promise<Sdk.ListGatewaysOutput> {
  const { rows, ...marker } = pageOf(await listGatewaysOf(caller), ({ arn }) => arn, input);
  const Gateways = rows.map(({ arn, gatewayId, name, mode, settings }) => ({
    GatewayARN: arn,
    GatewayId: gatewayId,
    GatewayName: name,
    GatewayType: gatewayType(mode),
    GatewayOperationalState: settings.wanted === 'shutdown' ? 'SHUTDOWN' : 'ACTIVE',
    HostEnvironment: 'OTHER' as const,
  }));
  return { Gateways, ...marker };
}

export async function describeGateway(
  { GatewayARN }: Checked<Sdk.DescribeGatewayInformationInput>,
  caller: Caller,
): Promise<Sdk.DescribeGatewayInformationOutput> {
  const gateway = await findAnyGateway(caller, GatewayARN);
  const look = gateway.isRegistered ? await lookAt(caller, gateway.gatewayId) : undefined;
  await bringAbout(caller, gateway, look);
  const { settings } = gateway;
  return {
    GatewayARN: gateway.arn,
    GatewayId: gateway.gatewayId,
    GatewayName: gateway.name,
    GatewayTimezone: settings.timezone,
    GatewayState: stateOf(gateway, look),
    GatewayType: gatewayType(gateway.mode),
    GatewayNetworkInterfaces: (look?.networkInterfaces ?? []).map(({ ipv4Address, ipv6Address, macAddress }) => ({
      ...(ipv4Address === null ? {} : { Ipv4Address: ipv4Address }),
      ...(ipv6Address === null ? {} : { Ipv6Address: ipv6Address }),
      MacAddress: macAddress,
    })),
    Tags: tagList(settings.tags),
    HostEnvironment: 'OTHER',
    EndpointType: 'STANDARD',
  };
}

function stateOf({ settings }: ApiGateway, look: GatewayDocument | undefined): string {
  const isSuspended = look?.state === 'suspended';
  if (settings.wanted === 'shutdown') return look === undefined || isSuspended ? 'SHUTDOWN' : 'SHUTTING_DOWN';
  if (look === undefined || look.state === 'stopping') return 'OFFLINE';
  return isSuspended ? 'SHUTDOWN' : 'RUNNING';
}

/** A shutdown that was asked for and not done, because somebody died on the way, is asked of the gateway again. */
async function bringAbout(
  caller: Caller,
  { settings, gatewayId }: ApiGateway,
  look: GatewayDocument | undefined,
): Promise<void> {
  if (settings.wanted !== 'shutdown' || look?.state !== 'serving') return;
  try {
    await callGatewayLong(caller, gatewayId, 'gateway.suspend', {}, { waitMs: 0 });
  } catch (error) {
    caller.parts.log.warn({ gatewayId, err: toSgwError(error) }, 'a gateway does not do what was asked of it');
  }
}

export async function updateGateway(
  input: Checked<Sdk.UpdateGatewayInformationInput>,
  caller: Caller,
): Promise<Sdk.UpdateGatewayInformationOutput> {
  const { GatewayARN, GatewayName, GatewayTimezone } = input;
  if (input.GatewayCapacity !== undefined || (input.CloudWatchLogGroupARN ?? '') !== '')
    throw new RequestRefused('ParametersNotImplemented', 'gateways have no capacity to choose, and no CloudWatch logs');
  if (GatewayTimezone !== undefined) checkTimezone(GatewayTimezone);
  const { parts, user, signal } = caller;
  const { gatewayId, isRegistered, name } = await findGateway(caller, GatewayARN);
  const change = {
    ...(GatewayName === undefined ? {} : { displayName: GatewayName }),
    ...(GatewayTimezone === undefined ? {} : { timezone: GatewayTimezone }),
  };
  await changeSettings(caller, gatewayId, (now) => ({ ...now, ...change }));
  if (GatewayName !== undefined && isRegistered) {
    const wanted = { gatewayId, gatewayName: plainName(GatewayName), region: null };
    await parts.messages.asUser(user, 'gateway.configure', wanted, signal);
  }
  return { GatewayARN, GatewayName: GatewayName ?? name };
}

/** At once, and for good: its credential is void on every server. What its volumes hold stays in the store. */
export async function deleteGateway(
  { GatewayARN }: Checked<Sdk.DeleteGatewayInput>,
  caller: Caller,
): Promise<Sdk.DeleteGatewayOutput> {
  const { parts, user, signal } = caller;
  const { gatewayId, isRegistered } = await findAnyGateway(caller, GatewayARN);
  const volumes = await listVolumesOf(caller, gatewayId);
  if (isRegistered) await parts.messages.asUser(user, 'gateway.remove', { gatewayId }, signal);
  await giveUpSnapshots(caller, gatewayId);
  for (const { record } of volumes) {
    if (record !== undefined) await changeVolumeRecord(caller, record, (now) => ({ ...now, isAttached: false }));
  }
  const deleted = { at: timeOf(parts.context), wasRegistered: isRegistered };
  await changeSettings(caller, gatewayId, (now) => ({ ...now, deleted }));
  return { GatewayARN };
}

/** Nobody completes what the gateway had begun. */
async function giveUpSnapshots({ parts, accountId, signal }: Caller, gatewayId: string): Promise<void> {
  const { blocks } = parts.context;
  const snapshots = await new Catalog(blocks).listSnapshots({ signal });
  for (const { snapshotId, state, maker, accountId: owner } of snapshots) {
    if (state === 'pending' && maker === gatewayId && owner === accountId)
      await failSnapshot(blocks, snapshotId, 'its gateway was deleted');
  }
}

export async function shutdownGateway(
  { GatewayARN }: Checked<Sdk.ShutdownGatewayInput>,
  caller: Caller,
): Promise<Sdk.ShutdownGatewayOutput> {
  return await turn(caller, await findGateway(caller, GatewayARN), 'shutdown');
}

export async function startGateway(
  { GatewayARN }: Checked<Sdk.StartGatewayInput>,
  caller: Caller,
): Promise<Sdk.StartGatewayOutput> {
  return await turn(caller, await findAnyGateway(caller, GatewayARN), 'running');
}

/** Answers at once; `DescribeGatewayInformation` tells when it is done, and sees to it. */
async function turn(
  caller: Caller,
  { gatewayId, arn, settings }: ApiGateway,
  wanted: 'running' | 'shutdown',
): Promise<{ GatewayARN: string }> {
  await requireLook(caller, gatewayId);
  const operation = wanted === 'shutdown' ? 'gateway.suspend' : 'gateway.resume';
  const { accountId, accessKeyId } = caller.user;
  const record = { kind: 'operate', gatewayId, accountId, accessKeyId, operation, granted: true } as const;
  await caller.parts.audit.record(record, caller.signal);
  await changeSettings(caller, gatewayId, (now) => ({ ...now, wanted }));
  try {
    await callGatewayLong(caller, gatewayId, operation, {}, { waitMs: 500 });
  } catch (error) {
    await changeSettings(caller, gatewayId, (now) => ({ ...now, wanted: settings.wanted }));
    throw error;
  }
  return { GatewayARN: arn };
}

/** Nobody does anything at that time: software is updated at the gateway's machine. */
const DEFAULT_MAINTENANCE = { hourOfDay: 3, minuteOfHour: 0, dayOfWeek: 0, dayOfMonth: null };

export async function describeMaintenance(
  { GatewayARN }: Checked<Sdk.DescribeMaintenanceStartTimeInput>,
  caller: Caller,
): Promise<Sdk.DescribeMaintenanceStartTimeOutput> {
  const { settings } = await findGateway(caller, GatewayARN);
  const { hourOfDay, minuteOfHour, dayOfWeek, dayOfMonth } = settings.maintenance ?? DEFAULT_MAINTENANCE;
  return {
    GatewayARN,
    HourOfDay: hourOfDay,
    MinuteOfHour: minuteOfHour,
    ...(dayOfWeek === null ? {} : { DayOfWeek: dayOfWeek }),
    ...(dayOfMonth === null ? {} : { DayOfMonth: dayOfMonth }),
    Timezone: settings.timezone,
  };
}

export async function updateMaintenance(
  input: Checked<Sdk.UpdateMaintenanceStartTimeInput>,
  caller: Caller,
): Promise<Sdk.UpdateMaintenanceStartTimeOutput> {
  const { GatewayARN, HourOfDay, MinuteOfHour, DayOfWeek, DayOfMonth } = input;
  if ((DayOfWeek === undefined) === (DayOfMonth === undefined))
    throw new RequestRefused('InvalidParameters', 'give just one of DayOfWeek and DayOfMonth');
  if (HourOfDay === undefined || MinuteOfHour === undefined)
    throw new RequestRefused('InvalidParameters', 'give HourOfDay and MinuteOfHour');
  if (input.SoftwareUpdatePreferences !== undefined)
    throw new RequestRefused(
      'ParametersNotImplemented',
      'software is not updated by the service, whatever is preferred',
    );
  const { gatewayId } = await findGateway(caller, GatewayARN);
  const maintenance = {
    ...{ hourOfDay: HourOfDay, minuteOfHour: MinuteOfHour },
    ...{ dayOfWeek: DayOfWeek ?? null, dayOfMonth: DayOfMonth ?? null },
  };
  await changeSettings(caller, gatewayId, (now) => ({ ...now, maintenance }));
  return { GatewayARN };
}

/** A gateway of the service's own version needs no update; another one is updated at its machine, which this can't do. */
export async function updateSoftware(
  { GatewayARN }: Checked<Sdk.UpdateGatewaySoftwareNowInput>,
  caller: Caller,
): Promise<Sdk.UpdateGatewaySoftwareNowOutput> {
  const { gatewayId } = await findGateway(caller, GatewayARN);
  const { version } = await requireLook(caller, gatewayId);
  if (version === caller.parts.version) return { GatewayARN };
  const message = `the gateway has version ${version}, the service ${caller.parts.version}: update sgw at the gateway's machine, and restart it`;
  throw new RequestRefused('NotSupported', message);
}
