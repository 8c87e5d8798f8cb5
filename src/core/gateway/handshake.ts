/**
 * Runs the handshake of activation for a home: makes the key pair, keeps the progress in `state.json`, goes on after a
 * death, and gives up what does not fit any more. One process of a home does so at a time.
 */
import { SgwError } from '../kit/index.ts';
import type { CallContext } from '../localapi/index.ts';
import { PrivateKey, type ServiceConnections } from '../protocol/index.ts';
import {
  acquireLock,
  openState,
  updateState,
  type GatewayCredential,
  type GatewayState,
  type PendingActivation,
} from '../state/index.ts';
import { claimEmbedded, enrol, withdraw, type EnrolmentParts } from './enrolment.ts';
import { readPrivateKey, removePrivateKey, writePrivateKey } from './key-file.ts';
import type { GatewayParts } from './parts.ts';

type Call = Pick<CallContext, 'signal' | 'lockTimeoutMs'>;

/** What the gateway is to be. */
export type Wish = Pick<PendingActivation, 'name' | 'mode' | 'accountId' | 'region' | 'store' | 'storeId'> & {
  /** Of a home that has an identity already; null for a new one. */
  readonly gatewayId: string | null;
};

/** Runs `work` while no other process of the home activates or deactivates it. @throws unavailable `locked` */
export async function whileActivating<T>(home: string, call: Call, work: () => Promise<T>): Promise<T> {
  await using _lock = await acquireLock({
    home,
    name: 'activation',
    purpose: 'activating',
    timeoutMs: call.lockTimeoutMs,
    signal: call.signal,
  });
  return await work();
}

/**
 * Gets a credential for what is wished, going on with an earlier run that wished the same. What it returns is durable in
 * the home as a pending activation; the caller makes a gateway of it. Inside `whileActivating`.
 */
export async function performHandshake(
  parts: GatewayParts,
  wish: Wish,
  connections: ServiceConnections,
  call: Call,
): Promise<PendingActivation> {
  const isKnown = wish.gatewayId !== null;
  await connections.operator.request('account.begin', { accountId: wish.accountId, isKnown }, call);
  const earlier = await resumable(parts, wish, connections, call);
  if (earlier !== undefined) {
    try {
      return await enrol(partsOf(parts, earlier.key, wish, connections, call), earlier.pending);
    } catch (error) {
      if (!(error instanceof SgwError) || !KEY_PAIR_SPENT.has(error.code)) throw error;
      await giveUp(parts, earlier, connections, call);
    }
  }
  const key = PrivateKey.make(parts.random);
  // Before the state speaks of it: a key that no state speaks of is replaced.
  await writePrivateKey(parts.home, key);
  const enrolment = partsOf(parts, key, wish, connections, call);
  const pending = beginning(parts, wish, key);
  await enrolment.save(pending);
  return await enrol(enrolment, pending);
}

/** The service will not go on with this key pair. */
export const KEY_PAIR_SPENT: ReadonlySet<string> = new Set([
  'activation-claimed',
  'activation-withdrawn',
  'customer-differs',
  'gateway-deregistered',
]);

interface Earlier {
  readonly key: PrivateKey;
  readonly pending: PendingActivation;
}

/** An earlier run to go on with; one that wished something else is given up. */
async function resumable(
  parts: GatewayParts,
  wish: Wish,
  connections: ServiceConnections,
  call: Call,
): Promise<Earlier | undefined> {
  const { activation: pending } = await openState(parts.home);
  if (pending === null) return undefined;
  // One that is lost or damaged is of no use to anybody: the next one begins anew.
  const key = await readPrivateKey(parts.home).catch(() => undefined);
  if (key?.publicKey !== pending.publicKey) return undefined;
  const earlier = { key, pending };
  if (agrees(pending, wish)) return earlier;
  await giveUp(parts, earlier, connections, call);
  return undefined;
}

function agrees(pending: PendingActivation, wish: Wish): boolean {
  const hasSame = (name: keyof Wish & keyof PendingActivation): boolean => pending[name] === wish[name];
  // A new gateway is given its id on the way.
  const isSameKind = wish.gatewayId === null || pending.gatewayId === wish.gatewayId;
  return isSameKind && (['name', 'mode', 'accountId', 'region', 'store', 'storeId'] as const).every(hasSame);
}

/**
 * Nothing of the earlier run can be used from here on: the service is told, where it is the same one; and the private key,
 * without which the rest is worth nothing, is destroyed.
 */
async function giveUp(
  parts: GatewayParts,
  { key, pending }: Earlier,
  connections: ServiceConnections,
  call: Call,
): Promise<void> {
  const { clock, random } = parts;
  if (pending.storeId === connections.serviceId)
    await withdraw({ connections, key, clock, random, signal: call.signal }, pending);
  await updateState(parts.home, (state) => (state.activation = null), optionsOf(call));
  await removePrivateKey(parts.home);
}

function beginning(parts: GatewayParts, wish: Wish, key: PrivateKey): PendingActivation {
  const metadata = {
    name: wish.name,
    mode: wish.mode,
    version: parts.version,
    platform: `${process.platform} ${process.arch}`,
  };
  return {
    ...wish,
    step: 'begun',
    publicKey: key.publicKey,
    metadata,
    activationId: null,
    activationKey: null,
    expiresAt: null,
    credential: null,
  };
}

function partsOf(
  { home, clock, random }: GatewayParts,
  key: PrivateKey,
  { gatewayId }: Wish,
  connections: ServiceConnections,
  call: Call,
): EnrolmentParts {
  return {
    connections,
    key,
    clock,
    random,
    signal: call.signal,
    save: async (pending) => {
      await updateState(home, (state) => (state.activation = pending), optionsOf(call));
    },
    show: async (pending) => {
      await claimEmbedded(connections.operator, pending, { gatewayId }, call.signal);
    },
  };
}

const optionsOf = ({ lockTimeoutMs, signal }: Call): Call => ({ lockTimeoutMs, signal });

/**
 * Gives a credential to a home that was activated before there was a service. Its id and its account stay. Durable when
 * it resolves.
 */
export async function enrolOlderHome(
  parts: GatewayParts,
  record: GatewayState,
  connections: ServiceConnections,
  call: Call,
): Promise<GatewayCredential> {
  return await whileActivating(parts.home, call, async () => {
    const { gateway } = await openState(parts.home);
    if (gateway?.gatewayId === record.gatewayId && gateway.credential !== null) return gateway.credential;
    const { name, mode, accountId, region, store, storeId, gatewayId } = record;
    const wish = { name, mode, accountId, region, store, storeId, gatewayId };
    const { credential, activationKey, metadata } = await performHandshake(parts, wish, connections, call);
    if (credential === null) throw new SgwError('internal', 'assertion', 'an issued activation has a credential');
    await updateState(
      parts.home,
      (state) => {
        if (state.gateway?.gatewayId !== gatewayId) return;
        Object.assign(state.gateway, { credential, activationKey, metadata });
        state.activation = null;
      },
      optionsOf(call),
    );
    return credential;
  });
}
