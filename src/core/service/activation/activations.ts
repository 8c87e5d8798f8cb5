/**
 * Activation as the service sees it (DESIGN section 9, S5). One document for each key pair, so that one pair becomes at
 * most one gateway however often its device starts again.
 *
 *   registered --prove--> shown --claim--> claimed --credential--> issued
 *        \__________________\________________\_____________________\-----withdraw--> withdrawn
 *
 * Invariants: an activation key is kept only as its hash, is good for one claim, which may be repeated, and for 30 minutes; a
 * new one voids the one before. Whatever is shown to the customer was signed by the device. A state is never left backwards, and
 * every change is one compare-and-set, so that each message can be repeated after any death.
 */
import { changeDocument, createDocument, readDocument } from '../../blockstore/index.ts';
import { SgwError, newGatewayId } from '../../kit/index.ts';
import {
  activationIdOf,
  canonicalJson,
  fingerprintOf,
  isPublicKey,
  newActivationKey,
  readActivationKey,
  type ActivationMetadata,
  type Credential,
  type CustomerInformation,
  type MessageInput,
  type MessageResult,
  type Signed,
  type SignedMessageName,
} from '../../protocol/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import type { Accounts } from '../identity/accounts.ts';
import { requireFree, type Gateways } from '../identity/gateways.ts';
import type { SignatureCheck } from '../identity/signature-check.ts';
import { serviceKeys } from '../keys.ts';
import type { Quotas } from '../quotas/quotas.ts';
import { hashOf, isSame } from '../secrets.ts';
import { checkClaim, checkMetadata } from './checks.ts';
import {
  badMessage,
  claimed,
  keyExpired,
  keyUnknown,
  keyUsed,
  keyWrong,
  notClaimed,
  proofWrong,
  withdrawn,
} from './refusals.ts';

const KEY_LIFETIME_MS = 30 * 60 * 1000;
const CHALLENGE_BYTES = 32;

interface ActivationRecord {
  readonly activationId: string;
  readonly state: 'registered' | 'shown' | 'claimed' | 'issued' | 'withdrawn';
  readonly publicKey: string;
  readonly createdAt: string;
  /** When the device registered or proved itself last; absent in those of before it was noted. */
  readonly seenAt?: string;
  /** What the device said last, which is believed once it is signed. */
  readonly offer: { readonly challenge: string; readonly metadata: ActivationMetadata } | null;
  /** From `shown` on: as signed. */
  readonly metadata: ActivationMetadata;
  readonly keyHash: string | null;
  readonly expiresAt: string | null;
  readonly customer: CustomerInformation | null;
  readonly claimedAt: string | null;
}

interface Token {
  readonly activationId: string;
}

export interface ActivationParts {
  readonly context: ServiceContext;
  readonly accounts: Accounts;
  readonly gateways: Gateways;
  readonly signatures: SignatureCheck;
  readonly quotas: Quotas;
}

export class Activations {
  readonly #parts: ActivationParts;

  constructor(parts: ActivationParts) {
    this.#parts = parts;
  }

  /** @throws invalid `bad-message`; conflict `activation-claimed`, `activation-withdrawn` */
  async register(
    { publicKey, metadata }: MessageInput<'activation.register'>,
    signal: AbortSignal,
  ): Promise<MessageResult<'activation.register'>> {
    if (!isPublicKey(publicKey)) throw badMessage('its public key is none');
    checkMetadata(metadata);
    const { blocks } = this.#parts.context;
    const activationId = activationIdOf(publicKey);
    const offer = { challenge: blocks.random.bytes(CHALLENGE_BYTES).toString('base64url'), metadata };
    const seenAt = timeOf(this.#parts.context);
    const first: ActivationRecord = {
      activationId,
      state: 'registered',
      publicKey,
      ...{ createdAt: seenAt, seenAt },
      offer,
      metadata: {},
      keyHash: null,
      expiresAt: null,
      customer: null,
      claimedAt: null,
    };
    if (!(await createDocument(blocks, serviceKeys.activation(activationId), first, signal)))
      await this.#change(activationId, (now) => ({ ...requireUnclaimed(now), offer, seenAt }), signal);
    return { activationId, challenge: offer.challenge };
  }

  /** @throws denied `proof-wrong`; conflict `activation-claimed`, `activation-withdrawn` */
  async prove(
    request: MessageInput<'activation.prove'>,
    signal: AbortSignal,
  ): Promise<MessageResult<'activation.prove'>> {
    const { blocks } = this.#parts.context;
    const { activationId } = await this.#authenticate('activation.prove', request, signal).catch((error: unknown) => {
      throw error instanceof SgwError && error.code === 'signature-wrong' ? proofWrong() : error;
    });
    const activationKey = newActivationKey(blocks.random);
    const keyHash = hashOf(activationKey);
    const seenAt = timeOf(this.#parts.context);
    const expiresAt = new Date(blocks.clock.nowMs() + KEY_LIFETIME_MS).toISOString();
    // First: a key that is found but is no activation's is unknown.
    await createDocument(blocks, serviceKeys.token(keyHash), { activationId } satisfies Token, signal);
    await this.#change(
      activationId,
      (now) => {
        const { offer } = requireUnclaimed(now);
        if (offer === null || !isSame(canonicalJson(offer), canonicalJson(request.body))) throw proofWrong();
        return { ...now, state: 'shown', metadata: offer.metadata, offer: null, keyHash, expiresAt, seenAt };
      },
      signal,
    );
    return { activationKey, expiresAt };
  }

  /** @throws notFound `activation-key-unknown`; conflict `activation-key-expired`, `activation-key-used` */
  async describe(
    { activationKey }: MessageInput<'activation.describe'>,
    signal: AbortSignal,
  ): Promise<MessageResult<'activation.describe'>> {
    const record = this.#requireShown(await this.#byKey(activationKey, signal));
    const { metadata, publicKey, expiresAt } = record;
    return { metadata, keyFingerprint: fingerprintOf(publicKey), expiresAt: expiresAt ?? '' };
  }

  /**
   * The same claim again, by who does not know whether it came through, gets the same gateway.
   * @throws what `describe` throws; invalid `not-confirmed`, `bad-name`; notFound `account-not-found`; conflict
   * `gateway-exists`; denied `quota-exceeded`
   */
  async claim(
    input: MessageInput<'activation.claim'>,
    signal: AbortSignal,
  ): Promise<MessageResult<'activation.claim'>> {
    const { context, accounts, gateways, quotas } = this.#parts;
    checkClaim(input);
    const record = await this.#byKey(input.activationKey, signal);
    const made = await this.#madeBy(record, input, signal);
    if (made !== undefined) return { gatewayId: made };
    const { activationId } = this.#requireShown(record);
    await accounts.find(input.accountId, signal);
    await quotas.require(input.accountId, { gateways: 1 }, signal);
    const gatewayId = input.gatewayId ?? newGatewayId(context.blocks.random);
    requireFree(await gateways.find(gatewayId, signal), input.accountId);
    const { gatewayName, accountId, mode, region } = input;
    const customer: CustomerInformation = { gatewayId, gatewayName, accountId, mode, region };
    const claimedAt = timeOf(context);
    const left = await this.#change(
      activationId,
      (now) => {
        if (isSameClaim(now, input)) return now;
        return { ...this.#requireShown(requireKey(now, input.activationKey)), state: 'claimed', customer, claimedAt };
      },
      signal,
    );
    return { gatewayId: left.customer?.gatewayId ?? gatewayId };
  }

  /** The gateway that this claim made before, while its key is good and the gateway is there. */
  async #madeBy(
    record: ActivationRecord,
    input: MessageInput<'activation.claim'>,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { context, gateways } = this.#parts;
    const { customer, expiresAt } = record;
    if (customer === null || !isSameClaim(record, input)) return undefined;
    if (expiresAt === null || Date.parse(expiresAt) <= context.blocks.clock.nowMs()) return undefined;
    const gateway = await gateways.find(customer.gatewayId, signal);
    return gateway?.state === 'deregistered' ? undefined : customer.gatewayId;
  }

  /** @throws conflict `activation-key-expired` when nobody came in time */
  async collect(
    request: MessageInput<'activation.collect'>,
    signal: AbortSignal,
  ): Promise<MessageResult<'activation.collect'>> {
    const record = await this.#authenticate('activation.collect', request, signal);
    if (record.customer !== null) return { state: 'claimed', ...record.customer };
    if (record.state === 'registered') throw notClaimed();
    return { state: 'waiting', expiresAt: this.#requireShown(record).expiresAt ?? '' };
  }

  /**
   * Makes the gateway, once: one that left since does not come back by what its device still has.
   * @throws denied `activation-key-wrong`, `gateway-deregistered`; conflict `activation-not-claimed`, `customer-differs`
   */
  async credential(request: MessageInput<'activation.credential'>, signal: AbortSignal): Promise<Credential> {
    const record = await this.#authenticate('activation.credential', request, signal);
    const { activationKey, gatewayId, accountId } = request.body;
    const { customer, activationId, publicKey } = record;
    if (customer === null) throw notClaimed();
    if (!isKeyOf(record, activationKey)) throw keyWrong();
    if (customer.gatewayId !== gatewayId || customer.accountId !== accountId) {
      throw new SgwError('conflict', 'customer-differs', 'the gateway was claimed with another id or account', {
        details: { gatewayId: customer.gatewayId, accountId: customer.accountId },
      });
    }
    const { gateways } = this.#parts;
    if (record.state === 'issued') return await gateways.credentialOf(gatewayId, activationId, signal);
    const credential = await gateways.register(customer, { publicKey, activationId }, signal);
    const settled = await this.#change(
      activationId,
      (now) => (now.state === 'claimed' ? { ...now, state: 'issued' } : now),
      signal,
    );
    if (settled.state !== 'withdrawn') return credential;
    // It was given up meanwhile, before there was a gateway to be voided.
    await this.#voidGatewayOf(settled, signal);
    throw withdrawn();
  }

  /** Voids the activation, its key, and the gateway that it may have made already. Again: nothing. */
  async withdraw(request: MessageInput<'activation.withdraw'>, signal: AbortSignal): Promise<void> {
    const stored = await this.#read(request.signer, signal);
    if (stored === undefined) throw keyUnknown();
    this.#parts.signatures.verify(stored.publicKey, 'activation.withdraw', request);
    const left = await this.#change(
      stored.activationId,
      (now) => (now.state === 'withdrawn' ? now : { ...now, state: 'withdrawn' }),
      signal,
    );
    await this.#voidGatewayOf(left, signal);
  }

  async #voidGatewayOf({ customer, activationId }: ActivationRecord, signal: AbortSignal): Promise<void> {
    if (customer === null) return;
    const gateway = await this.#parts.gateways.find(customer.gatewayId, signal);
    if (gateway?.activationId === activationId) await this.#parts.gateways.deregister(customer.gatewayId, signal);
  }

  /** The activation whose device signed the request. @throws conflict `activation-withdrawn` */
  async #authenticate(
    message: SignedMessageName,
    request: Signed<unknown>,
    signal: AbortSignal,
  ): Promise<ActivationRecord> {
    const record = await this.#read(request.signer, signal);
    if (record === undefined) throw keyUnknown();
    this.#parts.signatures.verify(record.publicKey, message, request);
    if (record.state === 'withdrawn') throw withdrawn();
    return record;
  }

  async #read(activationId: string, signal: AbortSignal): Promise<ActivationRecord | undefined> {
    if (!/^act-[0-9a-f]{32}$/.test(activationId)) return undefined;
    const { blocks } = this.#parts.context;
    return (await readDocument<ActivationRecord>(blocks, serviceKeys.activation(activationId), signal))?.value;
  }

  async #byKey(typed: string, signal: AbortSignal): Promise<ActivationRecord> {
    const activationKey = readActivationKey(typed);
    if (activationKey === undefined) throw keyUnknown();
    const { blocks } = this.#parts.context;
    const token = await readDocument<Token>(blocks, serviceKeys.token(hashOf(activationKey)), signal);
    const record = token === undefined ? undefined : await this.#read(token.value.activationId, signal);
    if (record === undefined) throw keyUnknown();
    return requireKey(record, activationKey);
  }

  async #change(
    activationId: string,
    change: (now: ActivationRecord) => ActivationRecord,
    signal: AbortSignal,
  ): Promise<ActivationRecord> {
    const { blocks } = this.#parts.context;
    return await changeDocument<ActivationRecord>(blocks, serviceKeys.activation(activationId), change, signal);
  }

  /** An activation whose key can be claimed now. */
  #requireShown(record: ActivationRecord): ActivationRecord {
    if (record.state === 'withdrawn') throw withdrawn();
    if (record.state !== 'shown') throw keyUsed();
    if (record.expiresAt === null || Date.parse(record.expiresAt) <= this.#parts.context.blocks.clock.nowMs())
      throw keyExpired(record.expiresAt);
    return record;
  }
}

function requireUnclaimed(record: ActivationRecord): ActivationRecord {
  if (record.state === 'withdrawn') throw withdrawn();
  if (record.state === 'claimed' || record.state === 'issued') throw claimed();
  return record;
}

/** Whether it was claimed by the same account in the same words. */
function isSameClaim(
  { state, customer }: ActivationRecord,
  { gatewayId, gatewayName, accountId, mode, region }: MessageInput<'activation.claim'>,
): boolean {
  if (customer === null || (state !== 'claimed' && state !== 'issued')) return false;
  const said = { gatewayId: gatewayId ?? customer.gatewayId, gatewayName, accountId, mode, region };
  return canonicalJson(said) === canonicalJson({ ...customer });
}

/** A key that a newer one replaced is as unknown as one that never was. */
function requireKey(record: ActivationRecord, typed: string): ActivationRecord {
  if (!isKeyOf(record, typed)) throw keyUnknown();
  return record;
}

function isKeyOf(record: ActivationRecord, typed: string): boolean {
  const activationKey = readActivationKey(typed);
  return activationKey !== undefined && record.keyHash !== null && isSame(hashOf(activationKey), record.keyHash);
}
