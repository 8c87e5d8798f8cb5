/**
 * Whether a request is signed by who it says, for this service, now, and for the first time.
 *
 * Invariant: a nonce is remembered until its request would be too old anyway, by this process; where the service is many
 * processes, a request that is repeated to another one within that time is answered again, which changes nothing: docs/adr/0010.
 * Those few where it would are spent besides: their nonces are objects in the store, which all processes see (docs/adr/0018).
 * Nobody fills the memory of nonces for others: devices that wait to be claimed, who may be anybody, have one of their own,
 * and no sender has more than a part of either.
 */
import { createDocument } from '../../blockstore/index.ts';
import { SgwError } from '../../kit/index.ts';
import { isSignatureOf, type Signed, type SignedMessageName } from '../../protocol/index.ts';
import type { ServiceContext } from '../context.ts';
import { serviceKeys } from '../keys.ts';
import { hashOf } from '../secrets.ts';

/** How far a request's time may be from ours, either way. */
const SKEW_MS = 5 * 60 * 1000;
const NONCES: NonceLimits = { max: 65_536, ofSignerMax: 8192 };
const NONCE_DIGITS = 32;
const NONCES_FORGOTTEN_MAX = 100;

export class SignatureCheck {
  readonly #context: ServiceContext;
  readonly #ofGateways: Nonces;
  readonly #ofDevices: Nonces;

  constructor(context: ServiceContext, limits = NONCES) {
    this.#context = context;
    this.#ofGateways = new Nonces(limits);
    this.#ofDevices = new Nonces(limits);
  }

  /**
   * @throws denied `signature-wrong`, `request-stale`, `request-replayed`; invalid `bad-message`; unavailable
   * `too-many-requests` when more requests came than can be remembered
   */
  verify(publicKey: string, message: SignedMessageName, request: Signed<unknown>): void {
    const fields = [request.signer, request.timestamp, request.nonce, request.signature] as readonly unknown[];
    const { credentialId, body } = request as { readonly credentialId: unknown; readonly body: unknown };
    const isFormed =
      fields.every((field) => typeof field === 'string' && field.length <= 256) &&
      (credentialId === null || typeof credentialId === 'string') &&
      typeof body === 'object' &&
      body !== null;
    if (!isFormed) throw new SgwError('invalid', 'bad-message', `${message} is not signed in the form that it needs`);
    if (!isSignatureOf(publicKey, this.#context.serviceId, message, request))
      throw denied('signature-wrong', `the signature of ${message} is not that of ${request.signer}`);
    const nowMs = this.#context.blocks.clock.nowMs();
    const sentMs = Date.parse(request.timestamp);
    if (!(Math.abs(nowMs - sentMs) <= SKEW_MS)) {
      throw denied(
        'request-stale',
        `${message} was signed at ${request.timestamp}, which is too far from now`,
        'Set the clock of the gateway right.',
      );
    }
    const nonces = request.signer.startsWith('act-') ? this.#ofDevices : this.#ofGateways;
    nonces.add(request, { nowMs, untilMs: Math.max(nowMs, sentMs) + SKEW_MS, message });
  }

  /**
   * Makes a request that was verified the only one of its nonce, for every process of the service. An embedded service
   * is one process at a time with nobody between it and its gateway. Durable when it resolves.
   * @throws denied `request-replayed`
   */
  async spend(message: SignedMessageName, request: Signed<unknown>, signal: AbortSignal): Promise<void> {
    const { isEmbedded, blocks } = this.#context;
    if (isEmbedded) return;
    const { signer, nonce, timestamp } = request;
    const spentAt = new Date(Date.parse(timestamp)).toISOString();
    const name = `${compact(spentAt)}-${hashOf(`${signer} ${nonce}`).slice(0, NONCE_DIGITS)}`;
    const isFirst = await createDocument(blocks, serviceKeys.nonce(name), { message, signer, spentAt }, signal);
    if (!isFirst) throw denied('request-replayed', `this ${message} was sent before`);
    await this.#forgetSpent(signal);
  }

  /** Those that would be refused for their age. They are few: only what is spent makes one, and makes this run. */
  async #forgetSpent(signal: AbortSignal): Promise<void> {
    const { objects, clock } = this.#context.blocks;
    const oldest = compact(new Date(clock.nowMs() - 2 * SKEW_MS).toISOString());
    for await (const { key } of objects.list(serviceKeys.nonces, { signal, limit: NONCES_FORGOTTEN_MAX })) {
      if (key.slice(serviceKeys.nonces.length) >= oldest) break;
      await objects.delete(key, { signal });
    }
  }
}

interface NonceLimits {
  readonly max: number;
  readonly ofSignerMax: number;
}

interface Seen {
  readonly signer: string;
  readonly untilMs: number;
}

/** Nonces that came, until they may be forgotten. */
class Nonces {
  readonly #limits: NonceLimits;
  /** Oldest first. */
  readonly #seen = new Map<string, Seen>();
  readonly #counts = new Map<string, number>();

  constructor(limits: NonceLimits) {
    this.#limits = limits;
  }

  /** @throws denied `request-replayed`; unavailable `too-many-requests` */
  add(
    { signer, nonce }: Pick<Signed<unknown>, 'signer' | 'nonce'>,
    { nowMs, untilMs, message }: { readonly nowMs: number; readonly untilMs: number; readonly message: string },
  ): void {
    this.#forget(nowMs);
    const name = `${signer} ${nonce}`;
    if (this.#seen.has(name)) throw denied('request-replayed', `this ${message} was sent before`);
    const count = this.#counts.get(signer) ?? 0;
    if (this.#seen.size >= this.#limits.max || count >= this.#limits.ofSignerMax) {
      throw new SgwError('unavailable', 'too-many-requests', 'the service has more requests than it can check', {
        hint: 'Try again in a few minutes.',
      });
    }
    this.#seen.set(name, { signer, untilMs });
    this.#counts.set(signer, count + 1);
  }

  #forget(nowMs: number): void {
    for (const [name, { signer, untilMs }] of this.#seen) {
      if (untilMs >= nowMs) break;
      this.#seen.delete(name);
      const left = (this.#counts.get(signer) ?? 1) - 1;
      if (left > 0) this.#counts.set(signer, left);
      else this.#counts.delete(signer);
    }
  }
}

/** In the order of time as a name. */
const compact = (time: string): string => time.replaceAll(/[-:]/g, '');

const denied = (code: string, message: string, hint?: string): SgwError =>
  new SgwError('denied', code, message, hint === undefined ? {} : { hint });
