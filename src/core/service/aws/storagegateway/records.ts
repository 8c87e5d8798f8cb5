/**
 * What the API keeps beside what the service and the catalog know of gateways and volumes (docs/formats/service.md). Documents
 * of an account are under keys of its own. Everything else is asked of whoever has it.
 */
import { changeDocument, createDocument, readDocument } from '../../../blockstore/index.ts';
import type { GatewayMode } from '../../../localapi/index.ts';
import { timeOf } from '../../context.ts';
import { serviceKeys } from '../../keys.ts';
import type { Caller } from './caller.ts';

type Tags = Readonly<Record<string, string>>;

export interface MaintenanceTime {
  readonly hourOfDay: number;
  readonly minuteOfHour: number;
  /** From 0, Sunday; null where it is a day of the month. */
  readonly dayOfWeek: number | null;
  readonly dayOfMonth: number | null;
}

/** Of a gateway, also of one that was activated by other means. */
export interface GatewaySettings {
  readonly gatewayId: string;
  /** As it was given; the gateway's own name is made of it. Null: not given here. */
  readonly displayName: string | null;
  /** `GMT`, or `GMT+h:mm`. */
  readonly timezone: string;
  readonly mode: GatewayMode | null;
  readonly tags: Tags;
  readonly maintenance: MaintenanceTime | null;
  /** What was asked for last. */
  readonly wanted: 'running' | 'shutdown';
  /** When it was claimed here; null of others, and while that is under way. */
  readonly claimedAt: string | null;
  /** `wasRegistered`: a gateway that has this id later is another one. */
  readonly deleted: { readonly at: string; readonly wasRegistered: boolean } | null;
}

/** Of a volume that was created or attached here. */
export interface VolumeRecord {
  readonly volumeId: string;
  /** That has it, or had it last. */
  readonly gatewayId: string;
  readonly isAttached: boolean;
  readonly kind: GatewayMode;
  /** Without its authority. */
  readonly targetName: string;
  readonly networkInterfaceId: string;
  /** Path of the image; null of a cached volume. */
  readonly diskId: string | null;
  readonly preservesData: boolean;
  readonly sourceSnapshotId: string | null;
  readonly scheduleDescription: string | null;
  readonly scheduleTags: Tags;
  readonly createdAt: string;
}

/** A request to create, by a client's token. */
export interface TokenRecord {
  /** Hash of what was asked for. */
  readonly request: string;
  /** Null until it was done. */
  readonly result: { readonly volumeId: string; readonly targetName: string } | null;
  readonly at: string;
}

export const NEW_SETTINGS: Omit<GatewaySettings, 'gatewayId'> = {
  displayName: null,
  timezone: 'GMT',
  mode: null,
  tags: {},
  maintenance: null,
  wanted: 'running',
  claimedAt: null,
  deleted: null,
};

export async function readSettings(
  { parts, accountId, signal }: Caller,
  gatewayId: string,
): Promise<GatewaySettings | undefined> {
  const key = serviceKeys.apiGateway(accountId, gatewayId);
  return (await readDocument<GatewaySettings>(parts.context.blocks, key, signal))?.value;
}

/** Durable when it resolves. */
export async function changeSettings(
  caller: Caller,
  gatewayId: string,
  change: (now: GatewaySettings) => GatewaySettings,
): Promise<GatewaySettings> {
  const key = serviceKeys.apiGateway(caller.accountId, gatewayId);
  return await upsert(caller, key, { ...NEW_SETTINGS, gatewayId }, change);
}

/** Of gateways that were claimed here, whether they came to be registered or not. */
export async function listSettings({ parts, accountId, signal }: Caller): Promise<GatewaySettings[]> {
  const { blocks } = parts.context;
  const found: GatewaySettings[] = [];
  for await (const { key } of blocks.objects.list(serviceKeys.apiGateways(accountId), { signal })) {
    const stored = await readDocument<GatewaySettings>(blocks, key, signal);
    if (stored !== undefined) found.push(stored.value);
  }
  return found;
}

export async function readVolumeRecord(
  { parts, accountId, signal }: Caller,
  volumeId: string,
): Promise<VolumeRecord | undefined> {
  const key = serviceKeys.apiVolume(accountId, volumeId);
  return (await readDocument<VolumeRecord>(parts.context.blocks, key, signal))?.value;
}

/** Makes it of `first` where there is none. Durable when it resolves. */
export async function changeVolumeRecord(
  caller: Caller,
  first: VolumeRecord,
  change: (now: VolumeRecord) => VolumeRecord,
): Promise<VolumeRecord> {
  return await upsert(caller, serviceKeys.apiVolume(caller.accountId, first.volumeId), first, change);
}

/** What a token was used for: `first` when it is new. Durable when it resolves. */
export async function changeToken(
  caller: Caller,
  hash: string,
  request: string,
  change: (now: TokenRecord) => TokenRecord,
): Promise<TokenRecord> {
  const first: TokenRecord = { request, result: null, at: timeOf(caller.parts.context) };
  return await upsert(caller, serviceKeys.apiToken(caller.accountId, hash), first, change);
}

async function upsert<T extends object>(
  { parts, signal }: Caller,
  key: string,
  first: T,
  change: (now: T) => T,
): Promise<T> {
  const { blocks } = parts.context;
  const made = change(first);
  if ((await readDocument<T>(blocks, key, signal)) === undefined && (await createDocument(blocks, key, made, signal)))
    return made;
  return await changeDocument<T>(blocks, key, change, signal);
}
