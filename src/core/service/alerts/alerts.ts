/** The alerts of accounts: made, listed with what fires, removed. What watches the gateways is in watch.ts. */
import { createHash } from 'node:crypto';
import { createDocument, readDocument, replaceDocument } from '../../blockstore/index.ts';
import { SgwError, problemOfName } from '../../kit/index.ts';
import type { AlertFiring, AlertRecord, AlertThresholds, AlertWish } from '../../protocol/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { notFoundResource } from '../identity/authorization.ts';
import type { Gateways } from '../identity/gateways.ts';
import { serviceKeys } from '../keys.ts';
import { readAll } from './reading.ts';
import type { StoredAlert, WatchState } from './records.ts';
import { checkWebhookUrl } from './webhook.ts';

const MINUTE_MS = 60_000;
const YEAR_MS = 366 * 24 * 60 * MINUTE_MS;
/** Of an account. Each is looked at every minute, for each of its gateways. */
const ALERTS_MAX = 100;
const SECRET_BYTES = 32;
const TRIES = 16;

/** Seals secrets for the place of their document; the service key. */
export interface SecretSealing {
  seal(secret: Uint8Array, place: string): string;
  unseal(sealed: string, place: string): Buffer;
}

export interface AlertParts {
  readonly context: ServiceContext;
  readonly gateways: Gateways;
  readonly sealing: SecretSealing;
  /** Webhooks may be at addresses of loopback, link-local and private networks. */
  readonly allowPrivate: boolean;
}

export class Alerts {
  readonly #parts: AlertParts;

  constructor(parts: AlertParts) {
    this.#parts = parts;
  }

  /**
   * Makes an alert, or changes the one of that name. The secret is returned only where it was made here. Durable when it
   * resolves.
   * @throws invalid `bad-name`, `bad-threshold`, `bad-webhook`, `bad-repeat`, `bad-alert-secret`; notFound
   * `gateway-not-found`; exhausted `too-many-alerts`
   */
  async set(
    accountId: string,
    wish: AlertWish,
    signal: AbortSignal,
  ): Promise<AlertRecord & { readonly created: boolean; readonly secret: string | null }> {
    const { context } = this.#parts;
    const webhookUrl = this.#checked(wish);
    const { name, gatewayId, thresholds, repeatMs } = wish;
    if (gatewayId !== null) await this.#requireGateway(accountId, gatewayId, signal);
    const alertId = alertIdOf(accountId, name);
    const key = serviceKeys.alert(accountId, alertId);
    const fresh = context.blocks.random.bytes(SECRET_BYTES).toString('base64url');
    const seal = (secret: string): string => this.#parts.sealing.seal(Buffer.from(secret, 'utf8'), key);
    const settings = { alertId, accountId, name, gatewayId, thresholds: known(thresholds), webhookUrl, repeatMs };
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const now = await readDocument<StoredAlert>(context.blocks, key, signal);
      if (now === undefined) {
        await this.#requireRoom(accountId, signal);
        const alert = { ...settings, sealedSecret: seal(wish.secret ?? fresh), createdAt: timeOf(context) };
        if (await createDocument(context.blocks, key, alert, signal))
          return { ...recordOf(alert, []), created: true, secret: wish.secret === null ? fresh : null };
        continue;
      }
      const { sealedSecret, createdAt } = now.value;
      const alert = { ...settings, createdAt, sealedSecret: wish.secret === null ? sealedSecret : seal(wish.secret) };
      if ((await replaceDocument(context.blocks, key, now, alert, signal)).outcome === 'stored')
        return { ...recordOf(alert, await this.#states(accountId, signal)), created: false, secret: null };
    }
    throw new SgwError('unavailable', 'document-contended', `alert "${name}" is changed by others all the time`, {
      hint: 'Try again.',
    });
  }

  /** In the order of their names. */
  async list(accountId: string, signal: AbortSignal): Promise<AlertRecord[]> {
    const alerts = await readAll<StoredAlert>(this.#parts.context.blocks, serviceKeys.alertsOf(accountId), signal);
    if (alerts.length === 0) return [];
    const states = await this.#states(accountId, signal);
    return alerts.map((alert) => recordOf(alert, states)).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Nothing is told of it any more. False when there is none. Durable when it resolves. */
  async remove(accountId: string, name: string, signal: AbortSignal): Promise<boolean> {
    const key = serviceKeys.alert(accountId, alertIdOf(accountId, name));
    return await this.#parts.context.blocks.objects.delete(key, { signal });
  }

  async #states(accountId: string, signal: AbortSignal): Promise<WatchState[]> {
    return await readAll<WatchState>(this.#parts.context.blocks, serviceKeys.alertStatesOf(accountId), signal);
  }

  /** The URL as it is kept. */
  #checked({ name, thresholds, repeatMs, webhookUrl, secret }: AlertWish): string {
    const problem = typeof name === 'string' ? problemOfName(name) : 'is none';
    if (problem !== undefined) throw new SgwError('invalid', 'bad-name', `the name of the alert ${problem}`);
    checkThresholds(thresholds);
    if (repeatMs !== null && !isWithin(repeatMs, MINUTE_MS, YEAR_MS))
      throw new SgwError(
        'invalid',
        'bad-repeat',
        'an alert is repeated after a minute at the soonest, and a year at the latest',
      );
    if (secret !== null && !(typeof secret === 'string' && /^[\x21-\x7e]{16,256}$/.test(secret)))
      throw new SgwError('invalid', 'bad-alert-secret', 'the secret of the alert is not usable', {
        hint: 'A secret has 16 to 256 characters of ASCII without blanks.',
      });
    return checkWebhookUrl(webhookUrl, this.#parts);
  }

  async #requireGateway(accountId: string, gatewayId: string, signal: AbortSignal): Promise<void> {
    const gateway = await this.#parts.gateways.find(gatewayId, signal);
    if (gateway?.state !== 'active' || gateway.accountId !== accountId)
      throw notFoundResource({ kind: 'gateway', id: gatewayId });
  }

  async #requireRoom(accountId: string, signal: AbortSignal): Promise<void> {
    let count = 0;
    for await (const _alert of this.#parts.context.blocks.objects.list(serviceKeys.alertsOf(accountId), {
      signal,
      limit: ALERTS_MAX,
    }))
      count += 1;
    if (count < ALERTS_MAX) return;
    throw new SgwError(
      'exhausted',
      'too-many-alerts',
      `account ${accountId} has ${String(ALERTS_MAX)} alerts already`,
      {
        hint: 'Remove one first: sgw alert remove',
      },
    );
  }
}

/** One name is one alert, so that setting it twice at once makes one. */
function alertIdOf(accountId: string, name: string): string {
  const digest = createHash('sha256').update(`${accountId}\n${name}`, 'utf8').digest('hex');
  return `alert-${digest.slice(0, 16)}`;
}

function recordOf(alert: StoredAlert, states: readonly WatchState[]): AlertRecord {
  const { alertId, accountId, name, gatewayId, thresholds, webhookUrl, repeatMs, createdAt } = alert;
  const firing = states.flatMap((state) =>
    state.firing.flatMap((each): AlertFiring[] => {
      if (each.alertId !== alertId || thresholds[each.threshold] === undefined) return [];
      const { threshold, since, deliveredAt, failure, subjects, value } = each;
      return [
        { gatewayId: state.gatewayId, threshold, state: each.state, since, value, subjects, deliveredAt, failure },
      ];
    }),
  );
  return { alertId, accountId, name, gatewayId, thresholds, webhookUrl, repeatMs, createdAt, firing };
}

const isWithin = (value: unknown, min: number, max: number): boolean =>
  Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;

const LIMITS: Readonly<Record<Exclude<keyof AlertThresholds, 'restoreProof'>, readonly [number, number]>> = {
  exposureBytes: [0, Number.MAX_SAFE_INTEGER],
  exposureMs: [0, YEAR_MS],
  timeToFullMs: [0, YEAR_MS],
  notConnectedMs: [0, YEAR_MS],
};

/** @throws invalid `bad-threshold` */
function checkThresholds(thresholds: unknown): void {
  const given = typeof thresholds === 'object' && thresholds !== null ? Object.entries(thresholds) : [];
  if (given.length === 0) throw badThreshold('an alert needs a threshold');
  for (const [name, value] of given) {
    const limits = Object.hasOwn(LIMITS, name) ? LIMITS[name as keyof typeof LIMITS] : undefined;
    const isGood = limits === undefined ? name === 'restoreProof' && value === true : isWithin(value, ...limits);
    if (!isGood) throw badThreshold(`${JSON.stringify(name.slice(0, 64))} is not usable as a threshold so`);
  }
}

/** In one order, whichever they came in. */
function known({
  exposureBytes,
  exposureMs,
  timeToFullMs,
  notConnectedMs,
  restoreProof,
}: AlertThresholds): AlertThresholds {
  return {
    ...(exposureBytes === undefined ? {} : { exposureBytes }),
    ...(exposureMs === undefined ? {} : { exposureMs }),
    ...(timeToFullMs === undefined ? {} : { timeToFullMs }),
    ...(notConnectedMs === undefined ? {} : { notConnectedMs }),
    ...(restoreProof === undefined ? {} : { restoreProof }),
  };
}

const badThreshold = (message: string): SgwError =>
  new SgwError('invalid', 'bad-threshold', message, {
    hint: 'Thresholds are the exposure in bytes or its age, the time to a full buffer, the time without a connection, and failed restore proofs.',
  });
