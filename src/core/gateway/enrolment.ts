/**
 * Activation as the device sees it (S5): from a key pair to a credential, over a transport.
 *
 *   begun --register, prove--> shown --(claimed by the customer), collect--> claimed --credential--> issued
 *
 * Invariants: each step is durable in the home before the next one begins, so that after a death anywhere the same steps
 * go on with the same key pair; the key is kept before anybody can see it; every message may be repeated. A key that
 * expired, or was voided, before anybody took it leads back to `begun`, with the same key pair.
 */
import { SgwError, type Clock, type Random } from '../kit/index.ts';
import {
  activationIdOf,
  canonicalJson,
  fingerprintOf,
  signRequest,
  type GatewayConfiguration,
  type MessageInput,
  type MessageResult,
  type PrivateKey,
  type ServiceConnections,
  type ServiceTransport,
  type SignedBody,
  type SignedMessageName,
} from '../protocol/index.ts';
import type { PendingActivation } from '../state/index.ts';

/** A key that nobody took in time is replaced this often in one run. */
const KEYS_MAX = 3;

export interface EnrolmentParts {
  readonly connections: ServiceConnections;
  readonly key: PrivateKey;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  /** Makes the progress durable. */
  readonly save: (pending: PendingActivation) => Promise<void>;
  /** Shows the key, and returns when somebody may have claimed the device. */
  readonly show: (pending: PendingActivation) => Promise<void>;
}

/**
 * Goes on from wherever `pending` is, to a credential that the service honours.
 * @throws conflict `activation-claimed`, `activation-withdrawn`: a new key pair is needed; what the service refuses with
 */
export async function enrol(parts: EnrolmentParts, pending: PendingActivation): Promise<PendingActivation> {
  let now = pending;
  for (let keys = 0; now.step !== 'issued';) {
    if (now.step === 'begun' && ++keys > KEYS_MAX)
      throw new SgwError('timeout', 'activation-unclaimed', 'nobody claimed the gateway before its key expired');
    now = await advance(parts, now);
    await parts.save(now);
  }
  return (await configured(parts, now)).pending;
}

/** One step. @throws unavailable `activation-waiting` while nobody has claimed the device; as `enrol` */
export async function advance(parts: EnrolmentParts, now: PendingActivation): Promise<PendingActivation> {
  switch (now.step) {
    case 'begun':
      return await introduce(parts, now);
    case 'shown':
      return await becomeClaimed(parts, now);
    default:
      return await requestCredential(parts, now);
  }
}

async function introduce(parts: EnrolmentParts, now: PendingActivation): Promise<PendingActivation> {
  const { gateway } = parts.connections;
  const { publicKey, metadata } = now;
  const registered = await gateway.request('activation.register', { publicKey, metadata }, parts);
  const { activationId, challenge } = registered;
  const shown = await ask(parts, 'activation.prove', activationId, { challenge, metadata });
  return { ...now, step: 'shown', activationId, ...shown };
}

async function becomeClaimed(parts: EnrolmentParts, now: PendingActivation): Promise<PendingActivation> {
  try {
    await parts.show(now);
    const collected = await ask(parts, 'activation.collect', now.activationId, {});
    if (collected.state === 'waiting') {
      throw new SgwError('unavailable', 'activation-waiting', 'nobody has claimed the gateway yet', {
        hint: `Take its activation key to the service before ${collected.expiresAt}, then: sgw activate`,
      });
    }
    const { gatewayId, gatewayName, accountId, mode, region } = collected;
    return { ...now, step: 'claimed', gatewayId, name: gatewayName, accountId, mode, region };
  } catch (error) {
    const isVoid = error instanceof SgwError && VOID_KEY.has(error.code);
    if (isVoid) return { ...now, step: 'begun', activationKey: null, expiresAt: null };
    throw error;
  }
}

/** The key can not be claimed any more, and nobody did. */
const VOID_KEY: ReadonlySet<string> = new Set(['activation-key-expired', 'activation-key-unknown']);

async function requestCredential(parts: EnrolmentParts, now: PendingActivation): Promise<PendingActivation> {
  const { gatewayId, accountId, activationKey } = now;
  const body = { activationKey: activationKey ?? '', gatewayId: gatewayId ?? '', accountId };
  const given = await ask(parts, 'activation.credential', now.activationId, body);
  if (given.keyFingerprint !== fingerprintOf(now.publicKey))
    throw new SgwError('denied', 'credential-wrong', 'the service gave a credential for another key');
  const { credentialId, keyFingerprint, issuedAt } = given;
  return { ...now, step: 'issued', credential: { credentialId, keyFingerprint, issuedAt } };
}

/** The first request with the credential, which shows that it is honoured. */
export async function configured(
  parts: EnrolmentParts,
  now: PendingActivation,
): Promise<{ readonly pending: PendingActivation; readonly configuration: GatewayConfiguration }> {
  const { key, clock, random, connections } = parts;
  const credentialId = now.credential?.credentialId ?? null;
  const signer = { key, signer: now.gatewayId ?? '', credentialId, serviceId: connections.serviceId, clock, random };
  const request = signRequest(signer, 'gateway.configuration', {});
  const configuration = await connections.gateway.request('gateway.configuration', request, parts);
  const { name, mode, region } = configuration;
  return { pending: { ...now, name, mode, region }, configuration };
}

/** Gives an activation up, whatever of it the service got to know; one that it never heard of needs no giving up. */
export async function withdraw(parts: Omit<EnrolmentParts, 'save' | 'show'>, now: PendingActivation): Promise<void> {
  try {
    await ask(parts, 'activation.withdraw', activationIdOf(now.publicKey), {});
  } catch (error) {
    if (!(error instanceof SgwError) || error.kind !== 'notFound') throw error;
  }
}

async function ask<N extends SignedMessageName>(
  parts: Omit<EnrolmentParts, 'save' | 'show'>,
  message: N,
  activationId: string | null,
  body: SignedBody<N>,
): Promise<MessageResult<N>> {
  const { key, clock, random, connections } = parts;
  const signer = activationId ?? '';
  const request = signRequest(
    { key, signer, credentialId: null, serviceId: connections.serviceId, clock, random },
    message,
    body,
  );
  // What is signed of a message's body is that message's input, which the compiler does not see through.
  return await connections.gateway.request(message, request as unknown as MessageInput<N>, parts);
}

/**
 * The customer of the embedded form: whoever runs the command at the home. Compares what the service says of the device
 * with what the device is, and claims it.
 * @throws denied `metadata-differs`
 */
export async function claimEmbedded(
  operator: ServiceTransport,
  now: PendingActivation,
  kept: { readonly gatewayId: string | null },
  signal: AbortSignal,
): Promise<void> {
  const activationKey = now.activationKey ?? '';
  try {
    const device = await operator.request('activation.describe', { activationKey }, { signal });
    const isSame =
      device.keyFingerprint === fingerprintOf(now.publicKey) &&
      canonicalJson(device.metadata) === canonicalJson(now.metadata);
    if (!isSame)
      throw new SgwError(
        'denied',
        'metadata-differs',
        'the service describes another device under this activation key',
      );
    const { name: gatewayName, accountId, mode, region } = now;
    const { gatewayId } = kept;
    const claim = { activationKey, gatewayName, accountId, mode, region, gatewayId, confirm: true };
    await operator.request('activation.claim', claim, { signal });
  } catch (error) {
    // An earlier run claimed it, and stopped before it knew.
    if (!(error instanceof SgwError) || error.code !== 'activation-key-used') throw error;
  }
}
