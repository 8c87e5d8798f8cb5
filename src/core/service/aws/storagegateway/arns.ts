/** Names of resources: `arn:aws:storagegateway:REGION:ACCOUNT:gateway/sgw-12345678`, and volumes and targets below it. */
import { isVolumeId, type VolumeId } from '../../../kit/index.ts';
import type { Caller } from './caller.ts';
import { RequestRefused, type ErrorCode } from './errors.ts';

const TARGET_AUTHORITY = 'iqn.1997-05.com.amazon:';
const ARN =
  /^arn:aws:storagegateway:([a-z0-9-]{1,64}):(\d{12}):gateway\/(sgw-[0-9a-fA-F]{8})(?:\/(volume|target)\/(\S+))?$/;

export type NamedResource =
  | { readonly kind: 'gateway'; readonly gatewayId: string }
  | { readonly kind: 'volume'; readonly gatewayId: string; readonly volumeId: VolumeId }
  | { readonly kind: 'target'; readonly gatewayId: string; readonly targetName: string };

const NOT_FOUND: Readonly<Record<NamedResource['kind'], ErrorCode>> = {
  gateway: 'GatewayNotFound',
  volume: 'VolumeNotFound',
  target: 'TargetNotFound',
};

export const gatewayArn = ({ parts, accountId }: Caller, gatewayId: string): string =>
  `arn:aws:storagegateway:${parts.region}:${accountId}:gateway/${gatewayId}`;

export const volumeArn = (caller: Caller, gatewayId: string, volumeId: string): string =>
  `${gatewayArn(caller, gatewayId)}/volume/${volumeId}`;

export const targetArn = (caller: Caller, gatewayId: string, targetName: string): string =>
  `${gatewayArn(caller, gatewayId)}/target/${targetName}`;

/** The iqn of a target that the API makes. */
export const iqnOf = (targetName: string): string => `${TARGET_AUTHORITY}${targetName}`;

/** What is behind the colon; of a target that the API did not make, the whole iqn. */
export const shortTargetName = (iqn: string): string =>
  iqn.startsWith(TARGET_AUTHORITY) ? iqn.slice(TARGET_AUTHORITY.length) : iqn;

/**
 * What an ARN names. Another account's, and another region's, are as if they were not there.
 * @throws RequestRefused `InvalidParameters`, `GatewayNotFound`, `VolumeNotFound`, `TargetNotFound`
 */
export function parseArn<K extends NamedResource['kind']>(
  { parts, accountId }: Caller,
  text: string,
  ...kinds: readonly K[]
): Extract<NamedResource, { kind: K }> {
  const [, region, account, id = '', rest, name = ''] = ARN.exec(text) ?? [];
  const gatewayId = id.toLowerCase();
  const named = account === undefined ? undefined : resourceOf(gatewayId, rest, name);
  if (named === undefined || !(kinds as readonly string[]).includes(named.kind))
    throw new RequestRefused('InvalidParameters', `"${text.slice(0, 128)}" is no ARN of a ${kinds.join(' or a ')}`);
  if (account !== accountId || region !== parts.region) throw notThere(named.kind);
  return named as Extract<NamedResource, { kind: K }>;
}

function resourceOf(gatewayId: string, kind: string | undefined, name: string): NamedResource | undefined {
  if (kind === undefined) return { kind: 'gateway', gatewayId };
  if (kind === 'target') return { kind, gatewayId, targetName: name.toLowerCase() };
  const volumeId = name.toLowerCase();
  return isVolumeId(volumeId) ? { kind: 'volume', gatewayId, volumeId } : undefined;
}

/** Also for one that the caller must not know of. */
export const notThere = (kind: NamedResource['kind']): RequestRefused =>
  new RequestRefused(NOT_FOUND[kind], `the specified ${kind} was not found`);
