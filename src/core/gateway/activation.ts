/**
 * Activation in the embedded form: the home gets an identity of its own over an object store that it opens or begins, by
 * the same handshake as over the network (handshake.ts). Running it twice is refused, or with `ifNotExists` answered with
 * what is there; an activation that was stopped goes on.
 */
import { mkdir, rmdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { gatewayNameOfHost, SgwError } from '../kit/index.ts';
import type { ActivationDocument, CallContext, Input } from '../localapi/index.ts';
import type { ObjectStore } from '../objectstore/index.ts';
import { openState, type GatewayState, type PendingActivation } from '../state/index.ts';
import { activationDocument, makeGateway, presentDocument } from './activated.ts';
import { performHandshake, whileActivating, type Wish } from './handshake.ts';
import { beginKeys, type BegunStore } from './key-source.ts';
import type { GatewayParts } from './parts.ts';
import { openableStore, placeOf } from './store-place.ts';
import { requireFit } from './store-probe.ts';

/** The account of a home that is activated without naming one. */
const DEFAULT_ACCOUNT_ID = '000000000001';
const DEFAULT_REGION = 'local';

/**
 * Makes the home (mode 0700) and, where there is none, the store; then gets the identity. Durable when it resolves.
 * @throws conflict `already-activated`, `activation-pending` at a service over the network; unsupported `store-unfit` when the store lacks what sgw needs; denied or exhausted
 * when it can not be written now; notFound `account-not-found`; what `beginKeys` throws. A home that was made for nothing
 * is removed again.
 */
export async function activate(
  parts: GatewayParts,
  present: GatewayState | null,
  input: Input<'activate'>,
  call: CallContext,
): Promise<ActivationDocument> {
  const { home } = parts;
  if (present !== null) return presentDocument(parts, present, input);
  const { activation: stopped } = await openState(home);
  if (stopped?.service !== undefined && input.store === undefined) throw pendingElsewhere(home, stopped.service.url);
  const wish = wishOf(parts, stopped, input);
  const made = await mkdir(home, { recursive: true, mode: 0o700 });
  let store: OpenedStore;
  try {
    store = await beginStore(parts, wish, input.encrypt ?? false, call);
  } catch (error) {
    if (made !== undefined) await removeEmpty(home, made);
    throw error;
  }
  try {
    return await whileActivating(home, call, async () => await becomeGateway(parts, { wish, store, input }, call));
  } finally {
    await store.objects.close();
  }
}

type Settings = Omit<Wish, 'storeId' | 'gatewayId'>;

/** What is asked for; what is not said, as the activation that was stopped had it, or by default. */
function wishOf(parts: GatewayParts, stopped: PendingActivation | null, input: Input<'activate'>): Settings {
  const { home } = parts;
  const store = input.store === undefined ? stopped?.store : placeOf(home, input.store);
  return {
    name: input.name ?? stopped?.name ?? gatewayNameOfHost(hostname()),
    mode: input.mode ?? stopped?.mode ?? 'cached',
    accountId: parts.accountId ?? stopped?.accountId ?? DEFAULT_ACCOUNT_ID,
    region: input.region ?? stopped?.region ?? DEFAULT_REGION,
    store: store ?? placeOf(home, join(home, 'store')),
  };
}

interface OpenedStore extends BegunStore {
  readonly objects: ObjectStore;
}

interface Work {
  readonly wish: Settings;
  readonly store: OpenedStore;
  readonly input: Input<'activate'>;
}

async function becomeGateway(
  parts: GatewayParts,
  { wish, store, input }: Work,
  call: CallContext,
): Promise<ActivationDocument> {
  const { home } = parts;
  const { gateway } = await openState(home);
  if (gateway !== null) return presentDocument(parts, gateway, input);
  const { storeId } = store.info;
  const connections = await parts.openService(store.blocks, storeId);
  const issued = await performHandshake(parts, { ...wish, storeId, gatewayId: null }, connections, call);
  const record = await makeGateway(parts, issued, { storeId, encryption: store.encryption }, call);
  return activationDocument(home, record, { created: true, recoveryCode: store.recoveryCode });
}

/** Opens the store, or begins it, and its key. The caller closes it. */
async function beginStore(
  parts: GatewayParts,
  wish: Settings,
  encrypt: boolean,
  call: CallContext,
): Promise<OpenedStore> {
  const place = openableStore(parts.home, wish.store);
  const objects = await parts.openStore(place, { create: true });
  try {
    const blocks = { objects, clock: parts.clock, random: parts.random };
    await requireFit({ ...blocks, signal: call.signal }, place);
    return { ...(await beginKeys(blocks, { encrypt, accountId: wish.accountId }, call)), objects };
  } catch (error) {
    await objects.close();
    throw error;
  }
}

/** Removes `home` and its parents up to `first`, as far as nothing is in them. */
async function removeEmpty(home: string, first: string): Promise<void> {
  for (let at = home; at.length >= first.length; at = dirname(at)) {
    try {
      await rmdir(at);
    } catch {
      return;
    }
  }
}

/** Not given up without a word: somebody may be on the way to the service with its key. */
function pendingElsewhere(home: string, url: string): SgwError {
  return new SgwError('conflict', 'activation-pending', `${home} is being activated at the service ${url}`, {
    hint: `Go on with it: sgw activate --service ${url}. To give it up for an embedded service, name its store: --store PLACE.`,
    details: { home, service: url },
  });
}
