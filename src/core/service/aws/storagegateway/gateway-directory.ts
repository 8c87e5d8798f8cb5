/** The gateways of an account, as the API names them: registered ones, and those that were claimed and have yet to come. */
import type { GatewayMode } from '../../../localapi/index.ts';
import { gatewayArn, notThere, parseArn } from './arns.ts';
import type { Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { listSettings, NEW_SETTINGS, readSettings, type GatewaySettings } from './records.ts';

export interface ApiGateway {
  readonly gatewayId: string;
  readonly arn: string;
  readonly name: string;
  readonly mode: GatewayMode;
  readonly settings: GatewaySettings;
  /** Whether it got its credential: before, nothing can be asked of it. */
  readonly isRegistered: boolean;
}

type Known = Awaited<ReturnType<Caller['parts']['gateways']['find']>>;

/**
 * The gateway of an ARN, that is not shut down.
 * @throws RequestRefused `GatewayNotFound`, also of another account's; `GatewayNotConnected` when it is shut down
 */
export async function findGateway(caller: Caller, arn: string): Promise<ApiGateway> {
  const gateway = await findAnyGateway(caller, arn);
  requireStarted(gateway);
  return gateway;
}

/** As `findGateway`, also of one that is shut down. */
export async function findAnyGateway(caller: Caller, arn: string): Promise<ApiGateway> {
  return await gatewayOf(caller, parseArn(caller, arn, 'gateway').gatewayId);
}

/** @throws RequestRefused `GatewayNotFound` */
export async function gatewayOf(caller: Caller, gatewayId: string): Promise<ApiGateway> {
  const [record, settings] = await Promise.all([
    caller.parts.gateways.find(gatewayId, caller.signal),
    readSettings(caller, gatewayId),
  ]);
  const gateway = await join(caller, gatewayId, record, settings);
  if (gateway === undefined) throw notThere('gateway');
  return gateway;
}

/** @throws RequestRefused `GatewayNotConnected` */
export function requireStarted({ gatewayId, settings }: ApiGateway): void {
  if (settings.wanted === 'shutdown')
    throw new RequestRefused('GatewayNotConnected', `gateway ${gatewayId} is shut down: start it first`);
}

/** In the order of their ARNs. */
export async function listGatewaysOf(caller: Caller): Promise<ApiGateway[]> {
  const [records, settings] = await Promise.all([
    caller.parts.gateways.list(caller.accountId, caller.signal),
    listSettings(caller),
  ]);
  const byId = new Map(records.map((record) => [record.gatewayId, record]));
  const settingsById = new Map(settings.map((one) => [one.gatewayId, one]));
  const ids = [...new Set([...byId.keys(), ...settingsById.keys()])].sort();
  const found = await Promise.all(ids.map(async (id) => join(caller, id, byId.get(id), settingsById.get(id))));
  return found.filter((gateway) => gateway !== undefined);
}

async function join(
  caller: Caller,
  gatewayId: string,
  record: Known,
  settings: GatewaySettings | undefined,
): Promise<ApiGateway | undefined> {
  const known = settings ?? { ...NEW_SETTINGS, gatewayId };
  const active = record?.state === 'active' && record.accountId === caller.accountId ? record : undefined;
  if (await isGone(caller, active, known)) return undefined;
  const arn = gatewayArn(caller, gatewayId);
  if (active !== undefined) {
    const { gatewayName, mode } = active;
    const { displayName } = known;
    // It may have got another name since, by other means.
    const name = displayName !== null && plainName(displayName) === gatewayName ? displayName : gatewayName;
    return { gatewayId, arn, name, mode, settings: known, isRegistered: true };
  }
  if (record !== undefined || known.claimedAt === null) return undefined;
  const { displayName, mode } = known;
  return {
    gatewayId,
    arn,
    name: displayName ?? gatewayId,
    mode: mode ?? 'cached',
    settings: known,
    isRegistered: false,
  };
}

/** Whether it was deleted. One that comes for its credential only after that is sent away. */
async function isGone(caller: Caller, active: Known, { deleted, gatewayId }: GatewaySettings): Promise<boolean> {
  if (deleted === null) return false;
  if (active === undefined) return true;
  if (deleted.wasRegistered) return active.registeredAt <= deleted.at;
  await caller.parts.gateways.deregister(gatewayId, caller.signal);
  return true;
}

const NAME_CHARACTERS_MAX = 128;

/** A name that gateways can have. */
export function plainName(displayName: string): string {
  const plain = displayName.replaceAll(/[^A-Za-z0-9._-]/g, '-').replace(/^[^A-Za-z0-9]+/, '');
  if (plain === '') return 'gateway';
  return (/^(?:vol|snap)-/i.test(plain) ? `gateway-${plain}` : plain).slice(0, NAME_CHARACTERS_MAX);
}
