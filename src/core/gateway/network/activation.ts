/**
 * Activation at a service over the network (S5), as the device goes through it. Three calls, each of which can be made again
 * after a death anywhere, and goes on from what the home has:
 *
 *   begin: begun -> shown       the service knows the public key and the metadata, and gave the activation key
 *   await: shown -> claimed     a customer took the key to the service, saw the metadata, and confirmed
 *   finish: claimed -> issued -> certificate -> store -> gateway
 *
 * Between await and finish whoever is at the device may see which account has claimed it, and give the activation up. The
 * states are those of `enrolment.ts`; what is new between machines is in `PendingActivation.service`.
 */
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { gatewayNameOfHost, SgwError } from '../../kit/index.ts';
import type { CallContext, Input, RemoteActivationDocument } from '../../localapi/index.ts';
import { fingerprintOf, PrivateKey, type ServiceConnections } from '../../protocol/index.ts';
import { placeOfService, readServiceUrl, type ServicePlace } from '../../serviceclient/index.ts';
import {
  openState,
  updateState,
  type GatewayState,
  type PendingActivation,
  type RemoteServiceState,
} from '../../state/index.ts';
import { requirePresentAlike } from '../activated.ts';
import { removeCertificateFile } from '../certificate-file.ts';
import { advance, withdraw, type EnrolmentParts } from '../enrolment.ts';
import { KEY_PAIR_SPENT, whileActivating } from '../handshake.ts';
import { readPrivateKey, removePrivateKey, writePrivateKey } from '../key-file.ts';
import type { GatewayParts } from '../parts.ts';
import { openableStore, placeOf } from '../store-place.ts';
import { requireFit } from '../store-probe.ts';
import { claimUrl, openPage, type Page } from './page.ts';
import { jittered, mayPass, persist, reachService, type RemoteTransport } from './reach.ts';

/** Of a device that nobody has claimed yet. */
const NO_ACCOUNT = '000000000000';
const DEFAULT_REGION = 'local';
const POLL_MS = 1000;
const POLL_MAX_MS = 10_000;

type Begin = Input<'activation.begin'>;

/** Nothing is opened, and what it shows does not matter: the customer is elsewhere. */
const SHOW_NOTHING = async (): Promise<void> => Promise.resolve();

/**
 * Gets an activation key to show, or finds that the device is claimed already. What it returns is durable in the home.
 * @throws conflict `already-activated`; what the service refuses with, or how it is out of reach; `service-untrusted`;
 * for a store of one's own what `requireFit` throws
 */
export async function beginRemote(
  parts: GatewayParts,
  present: GatewayState | null,
  input: Begin,
  call: CallContext,
): Promise<RemoteActivationDocument> {
  if (present !== null) return activatedDocument(parts, present, input);
  await mkdir(parts.home, { recursive: true, mode: 0o700 });
  return await whileActivating(parts.home, call, async () => {
    const { gateway, activation: stopped } = await openState(parts.home);
    if (gateway !== null) return activatedDocument(parts, gateway, input);
    const place = await placeFor(input, stopped, call.signal);
    await using transport = await reachService(parts, place);
    const about = await persist(parts, call.signal, async () => transport.request('service.describe', {}, call));
    const wish = wishOf(parts, stopped, input, {
      url: place.url,
      urlCa: place.ca,
      serviceId: about.serviceId,
      gatewayUrl: `https://${about.gatewayAddress}`,
      gatewayCa: '',
    });
    if (input.store !== undefined) await requireFitStore(parts, wish.store, call);
    const connections = connectionsOver(transport, about.serviceId);
    const earlier = await resumable(parts, wish, call);
    if (earlier !== undefined) {
      try {
        return documentOf(await introduced(parts, earlier, connections, call));
      } catch (error) {
        if (!(error instanceof SgwError) || !KEY_PAIR_SPENT.has(error.code)) throw error;
        await giveUp(parts, earlier, call);
      }
    }
    return documentOf(await introduced(parts, await beginAnew(parts, wish, call), connections, call));
  });
}

/**
 * Waits until the device is claimed, with the local page open meanwhile; ends as well when the key expired, for which
 * `begin` then gives another one. What it returns is durable in the home.
 * @throws conflict `activation-not-begun`; what the service refuses with; timeout and the like as the call ends
 */
export async function awaitClaim(
  parts: GatewayParts,
  { page: pageAt = null }: Input<'activation.await'>,
  call: CallContext,
): Promise<RemoteActivationDocument> {
  return await whileActivating(parts.home, call, async () => {
    const { pending, key } = await requireBegun(parts);
    if (pending.step !== 'shown') return documentOf(pending);
    await using transport = await reachService(parts, placeIn(pending.service));
    const enrolment = enrolmentOf(parts, key, connectionsOver(transport, pending.service.serviceId), call);
    await using page = pageAt === null ? undefined : await openPage(pageAt, pageFacts(pending));
    const claimed = await polled(parts, enrolment, pending, page, call);
    await enrolment.save(claimed);
    return documentOf(claimed);
  });
}

/** Gives up an activation that is under way; the service is told if it can be reached, and the private key is destroyed. Again: nothing. */
export async function withdrawRemote(parts: GatewayParts, call: CallContext): Promise<Record<string, never>> {
  return await whileActivating(parts.home, call, async () => {
    const { activation } = await openState(parts.home);
    if (activation?.service === undefined) return {};
    const key = await readPrivateKey(parts.home).catch(() => undefined);
    await giveUp(parts, { pending: { ...activation, service: activation.service }, key }, call);
    return {};
  });
}

/** An activation over the network, and its key pair. */
export interface Begun {
  readonly pending: PendingActivation & { readonly service: RemoteServiceState };
  readonly key: PrivateKey;
}

/** @throws conflict `activation-not-begun` */
export async function requireBegun({ home }: GatewayParts): Promise<Begun> {
  const { activation } = await openState(home);
  const key = activation === null ? undefined : await readPrivateKey(home);
  if (activation?.service !== undefined && key?.publicKey === activation.publicKey)
    return { pending: { ...activation, service: activation.service }, key };
  throw new SgwError('conflict', 'activation-not-begun', `no activation over the network is under way in ${home}`, {
    hint: 'sgw activate --service URL',
    details: { home },
  });
}

/** The API's listener, as nobody: what a device says is signed within. */
export const placeIn = ({ url, urlCa }: RemoteServiceState): ServicePlace => ({ url, ca: urlCa });

export function connectionsOver(transport: RemoteTransport, serviceId: string): ServiceConnections {
  return { serviceId, gateway: transport, operator: transport };
}

export function enrolmentOf(
  { home, clock, random }: GatewayParts,
  key: PrivateKey,
  connections: ServiceConnections,
  call: CallContext,
): EnrolmentParts {
  return {
    ...{ connections, key, clock, random, signal: call.signal, show: SHOW_NOTHING },
    save: async (pending) => {
      await updateState(home, (state) => (state.activation = pending), optionsOf(call));
    },
  };
}

const optionsOf = ({ lockTimeoutMs, signal }: CallContext): Pick<CallContext, 'lockTimeoutMs' | 'signal'> => ({
  lockTimeoutMs,
  signal,
});

type Wish = Pick<PendingActivation, 'name' | 'mode' | 'region' | 'store'> & { readonly service: RemoteServiceState };

/** What is asked for; what is not said, as the activation that was stopped had it, or by default. */
function wishOf(
  { home }: GatewayParts,
  stopped: PendingActivation | null,
  input: Begin,
  service: RemoteServiceState,
): Wish {
  const earlier = stopped?.service?.url === service.url ? stopped : null;
  return {
    name: input.name ?? earlier?.metadata['name'] ?? gatewayNameOfHost(hostname()),
    mode: input.mode ?? (earlier?.metadata['mode'] as Wish['mode'] | undefined) ?? 'cached',
    region: input.region ?? DEFAULT_REGION,
    store:
      input.store === undefined
        ? (earlier?.store ?? `sgw-service://${new URL(service.gatewayUrl).host}`)
        : placeOf(home, input.store),
    service,
  };
}

/** The place that is named, or that of the activation that was stopped. */
async function placeFor(
  { service }: Begin,
  stopped: PendingActivation | null,
  signal: AbortSignal,
): Promise<ServicePlace> {
  const earlier = stopped?.service;
  const isSame = service === undefined || earlier?.url === readServiceUrl(service.url);
  const saysWhom = service?.ca !== undefined || service?.fingerprint !== undefined;
  if (earlier !== undefined && isSame && !saysWhom) return placeIn(earlier);
  if (service !== undefined) return await placeOfService(service.url, service, signal);
  throw new SgwError('invalid', 'service-missing', 'no service was named, and no activation was stopped here', {
    hint: 'sgw activate --service URL',
  });
}

/** A store of one's own is tried out before anybody takes the device to the service. */
async function requireFitStore(parts: GatewayParts, place: string, call: CallContext): Promise<void> {
  const description = openableStore(parts.home, place);
  const objects = await parts.openStore(description, { create: true });
  try {
    await requireFit({ objects, clock: parts.clock, random: parts.random, signal: call.signal }, description);
  } finally {
    await objects.close();
  }
}

/** An earlier run to go on with; one that wished something else, or whose key is lost, is given up. */
async function resumable(parts: GatewayParts, wish: Wish, call: CallContext): Promise<Begun | undefined> {
  const { activation } = await openState(parts.home);
  if (activation?.service === undefined) return undefined;
  const pending = { ...activation, service: activation.service };
  const key = await readPrivateKey(parts.home).catch(() => undefined);
  const isOwn = key?.publicKey === pending.publicKey;
  const isAlike =
    pending.service.url === wish.service.url &&
    pending.service.serviceId === wish.service.serviceId &&
    pending.store === wish.store &&
    pending.metadata['name'] === wish.name &&
    pending.metadata['mode'] === wish.mode;
  if (isOwn && isAlike) {
    const { urlCa, gatewayUrl } = wish.service;
    return { key, pending: { ...pending, service: { ...pending.service, urlCa, gatewayUrl } } };
  }
  await giveUp(parts, { pending, key: isOwn ? key : undefined }, call);
  return undefined;
}

async function beginAnew(parts: GatewayParts, wish: Wish, call: CallContext): Promise<Begun> {
  const key = PrivateKey.make(parts.random);
  // Before the state speaks of it: a key that no state speaks of is replaced.
  await writePrivateKey(parts.home, key);
  const { name, mode } = wish;
  const pending = {
    ...wish,
    step: 'begun' as const,
    publicKey: key.publicKey,
    metadata: { name, mode, version: parts.version, platform: `${process.platform} ${process.arch}` },
    accountId: NO_ACCOUNT,
    storeId: wish.service.serviceId,
    gatewayId: null,
    activationId: null,
    activationKey: null,
    expiresAt: null,
    credential: null,
  };
  await updateState(parts.home, (state) => (state.activation = pending), optionsOf(call));
  return { key, pending };
}

/** Goes on to where a key can be shown, or beyond if somebody has claimed the device. */
async function introduced(
  parts: GatewayParts,
  { pending, key }: Begun,
  connections: ServiceConnections,
  call: CallContext,
): Promise<Begun['pending']> {
  const enrolment = enrolmentOf(parts, key, connections, call);
  let now: PendingActivation = pending;
  // The second time round is for a key that had expired.
  while (now.step === 'begun' || (now.step === 'shown' && now === pending)) {
    const before = now;
    const next = await persist(parts, call.signal, async () => advance(enrolment, before)).catch(orWaiting(before));
    if (next === before) break;
    now = next;
    await enrolment.save(now);
  }
  return { ...now, service: pending.service };
}

/** That nobody has claimed it yet is no failure. */
const orWaiting =
  <T>(value: T) =>
  (error: unknown): T => {
    if (error instanceof SgwError && error.code === 'activation-waiting') return value;
    throw error;
  };

/** Asks again and again, more and more seldom, whatever is out of reach meanwhile. */
async function polled(
  parts: GatewayParts,
  enrolment: EnrolmentParts,
  pending: Begun['pending'],
  page: Page | undefined,
  call: CallContext,
): Promise<Begun['pending']> {
  const where = page === undefined ? '' : `; page: ${page.url}`;
  for (let delayMs = POLL_MS; ; delayMs = Math.min(POLL_MAX_MS, delayMs * 1.5)) {
    let trouble = '';
    const now = await advance(enrolment, pending).catch((error: unknown) => {
      if (mayPass(error)) trouble = ` (${(error as SgwError).message})`;
      return trouble === '' ? orWaiting(pending)(error) : pending;
    });
    if (now !== pending) return { ...now, service: pending.service };
    const label = `waiting for somebody to claim ${pending.activationKey ?? ''} at ${pending.service.url}${where}${trouble}`;
    call.onProgress({ label, doneBytes: 0, totalBytes: 0 });
    await parts.clock.sleep(jittered(parts.random, delayMs), call.signal);
  }
}

/** Nothing of it can be used from here on: without the private key the rest is worth nothing, also to a service that can't be told. */
async function giveUp(
  parts: GatewayParts,
  { pending, key }: { readonly pending: Begun['pending']; readonly key: PrivateKey | undefined },
  call: CallContext,
): Promise<void> {
  if (key !== undefined && pending.step !== 'begun') {
    const { clock, random } = parts;
    await using transport = await reachService(parts, placeIn(pending.service));
    const connections = connectionsOver(transport, pending.service.serviceId);
    try {
      await withdraw({ connections, key, clock, random, signal: call.signal }, pending);
    } catch (error) {
      // A service that is gone for good must not keep this home from another one.
      if (!mayPass(error) && !(error instanceof SgwError && error.kind === 'denied')) throw error;
    }
  }
  await updateState(parts.home, (state) => (state.activation = null), optionsOf(call));
  await removePrivateKey(parts.home);
  await removeCertificateFile(parts.home);
}

const pageFacts = (pending: Begun['pending']): Parameters<typeof openPage>[1] => ({
  serviceUrl: pending.service.url,
  activationKey: pending.activationKey ?? '',
  expiresAt: pending.expiresAt ?? '',
  keyFingerprint: fingerprintOf(pending.publicKey),
  metadata: pending.metadata,
});

function documentOf(pending: Begun['pending']): RemoteActivationDocument {
  const { step, service, activationKey, expiresAt, publicKey, metadata } = pending;
  const { gatewayId, name, accountId, mode, region } = pending;
  const isClaimed = gatewayId !== null && (step === 'claimed' || step === 'issued');
  const shown = isClaimed ? null : activationKey;
  return {
    state: isClaimed ? 'claimed' : step === 'shown' ? 'shown' : 'expired',
    service: service.url,
    activationKey: shown,
    expiresAt: shown === null ? null : expiresAt,
    claimUrl: shown === null ? null : claimUrl(service.url, shown),
    keyFingerprint: fingerprintOf(publicKey),
    metadata,
    claimedBy: isClaimed ? { gatewayId, name, accountId, mode, region } : null,
  };
}

/** @throws conflict `already-activated` unless the home is what is asked for, and that is no failure */
function activatedDocument(parts: GatewayParts, present: GatewayState, input: Begin): RemoteActivationDocument {
  const serviceUrl = input.service === undefined ? undefined : readServiceUrl(input.service.url);
  requirePresentAlike(parts, present, { ...input, service: serviceUrl });
  const { gatewayId, name, accountId, mode, region, credential, metadata, service } = present;
  return {
    state: 'activated',
    service: service?.url ?? '',
    activationKey: null,
    expiresAt: null,
    claimUrl: null,
    keyFingerprint: credential?.keyFingerprint ?? '',
    metadata,
    claimedBy: { gatewayId, name, accountId, mode, region },
  };
}
