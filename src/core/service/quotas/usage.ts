/** What an account has, counted in the store: there is no figure beside it that could be wrong. */
import { Catalog } from '../../blockstore/index.ts';
import type { AccountUsage, LimitName } from '../../protocol/index.ts';
import type { ServiceContext } from '../context.ts';
import { documentsUnder } from '../documents.ts';
import { serviceKeys } from '../keys.ts';

/** A device that was claimed counts for as long before it is a gateway: most are within seconds, some never come. */
const CLAIMED_MS = 24 * 60 * 60_000;

/** What is counted at once. */
export type Counted = 'volumes' | 'snapshots' | 'gateways' | 'keys';

export const COUNTED_WITH: Readonly<Record<LimitName, Counted>> = {
  volumes: 'volumes',
  volumeBytes: 'volumes',
  snapshots: 'snapshots',
  gateways: 'gateways',
  keys: 'keys',
};

type Count = (context: ServiceContext, accountId: string, signal: AbortSignal) => Promise<Partial<AccountUsage>>;

export const COUNTS: Readonly<Record<Counted, Count>> = {
  volumes: countVolumes,
  snapshots: countSnapshots,
  gateways: countGateways,
  keys: countKeys,
};

interface Volume {
  readonly state: string;
  readonly sizeBytes: number;
}

/** Of gateways, and of the block API. */
async function countVolumes(
  { blocks }: ServiceContext,
  accountId: string,
  signal: AbortSignal,
): Promise<Partial<AccountUsage>> {
  const sizes = (await new Catalog(blocks).listVolumes({ signal }))
    .filter((entry) => entry.accountId === accountId)
    .map(({ sizeBytes }) => sizeBytes);
  for await (const { value } of documentsUnder<Volume>(blocks, serviceKeys.volumesOf(accountId), signal))
    if (value.state !== 'deleted') sizes.push(value.sizeBytes);
  return { volumes: sizes.length, volumeBytes: sizes.reduce((sum, size) => sum + size, 0) };
}

async function countSnapshots(
  { blocks }: ServiceContext,
  accountId: string,
  signal: AbortSignal,
): Promise<Partial<AccountUsage>> {
  const all = await new Catalog(blocks).listSnapshots({ signal });
  return { snapshots: all.filter((entry) => entry.accountId === accountId && entry.state !== 'failed').length };
}

interface Gateway {
  readonly gatewayId: string;
  readonly accountId: string;
  readonly state: string;
}

interface Activation {
  readonly state: string;
  readonly claimedAt: string | null;
  readonly customer: Pick<Gateway, 'gatewayId' | 'accountId'> | null;
}

/** Also those that were claimed, and have yet to come. */
async function countGateways(
  { blocks }: ServiceContext,
  accountId: string,
  signal: AbortSignal,
): Promise<Partial<AccountUsage>> {
  const [counted, known] = [new Set<string>(), new Set<string>()];
  for await (const { value } of documentsUnder<Gateway>(blocks, serviceKeys.gateways, signal)) {
    known.add(value.gatewayId);
    if (value.accountId === accountId && value.state === 'active') counted.add(value.gatewayId);
  }
  const sinceMs = blocks.clock.nowMs() - CLAIMED_MS;
  for await (const { value } of documentsUnder<Activation>(blocks, serviceKeys.activations, signal)) {
    const { state, claimedAt, customer } = value;
    if (state !== 'claimed' || claimedAt === null || Date.parse(claimedAt) < sinceMs) continue;
    if (customer?.accountId === accountId && !known.has(customer.gatewayId)) counted.add(customer.gatewayId);
  }
  return { gateways: counted.size };
}

interface AccessKey {
  readonly accountId: string;
  readonly revokedAt: string | null;
}

async function countKeys(
  { blocks }: ServiceContext,
  accountId: string,
  signal: AbortSignal,
): Promise<Partial<AccountUsage>> {
  let keys = 0;
  for await (const { value } of documentsUnder<AccessKey>(blocks, serviceKeys.accessKeys, signal))
    if (value.accountId === accountId && value.revokedAt === null) keys++;
  return { keys };
}
