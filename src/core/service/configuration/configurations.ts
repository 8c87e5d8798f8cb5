/**
 * The configurations of gateways, which the provider owns (docs/formats/service.md, DESIGN section 9).
 *
 * Invariants: what is wanted of a gateway, what its operator asks for, and what is in force there are in one document, the
 * gateway's, and each change is one compare-and-set; a version is never given twice. The document is changed before anybody
 * looks for the gateway's connection, and a new connection is registered before its gateway's document is read: so either
 * the change finds the connection, or the connection finds the change. What was lost on the way comes with the next one.
 */
import { changeDocument } from '../../blockstore/index.ts';
import { SgwError, toSgwError } from '../../kit/index.ts';
import {
  canonicalJson,
  DEFAULT_PROVIDED_SERVING,
  type ConfigurationChanges,
  type ConfigurationEffect,
  type ConfigurationReceipt,
  type ConfigurationRequest,
  type ConfigurationStanding,
  type GatewayConfiguration,
  type RequestAnswer,
} from '../../protocol/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { notFoundResource } from '../identity/authorization.ts';
import type { GatewayRecord, Gateways } from '../identity/gateways.ts';
import { serviceKeys } from '../keys.ts';
import { checkChanges } from './checks.ts';
import type { ConfigurationDelivery } from './delivery.ts';

/** How long whoever changes a configuration waits for its gateway. */
const DELIVERY_MS = 10_000;
const REASON_LENGTH_MAX = 500;
const FAILURE_LENGTH_MAX = 1000;

/** What the provider wants of a gateway. */
export interface ConfigurationOrder {
  readonly changes: ConfigurationChanges;
  /** To the pending request; `requestId` null: to whichever it is. */
  readonly answer: {
    readonly requestId: string | null;
    readonly accept: boolean;
    readonly reason: string | null;
  } | null;
  /** Only while that is the newest version; null: whatever is. */
  readonly expectedVersion: number | null;
}

export interface ConfigurationOutcome extends ConfigurationEffect {
  readonly record: GatewayRecord;
}

export class Configurations {
  readonly #context: ServiceContext;
  readonly #gateways: Gateways;
  #delivery: ConfigurationDelivery | undefined;

  constructor(context: ServiceContext, gateways: Gateways) {
    this.#context = context;
    this.#gateways = gateways;
  }

  /** From now on gateways that are connected are told at once; where nobody says this, they ask. */
  deliverBy(delivery: ConfigurationDelivery): void {
    this.#delivery = delivery;
  }

  /** @throws notFound `gateway-not-found`, also of one that has left */
  async standing(gatewayId: string, signal: AbortSignal): Promise<ConfigurationStanding> {
    return standingOf(await this.#find(gatewayId, signal));
  }

  /** What a gateway is to be sent that has `appliedVersion` in force; undefined when it has the newest. */
  async newerThan(
    gatewayId: string,
    appliedVersion: number,
    signal: AbortSignal,
  ): Promise<GatewayConfiguration | undefined> {
    const wanted = configurationOf(await this.#find(gatewayId, signal));
    return wanted.version > appliedVersion ? wanted : undefined;
  }

  /**
   * Changes what is wanted, or answers what was asked for, and delivers it to a gateway that is connected. Durable before it
   * is delivered. An order that changes nothing makes no version.
   * @throws notFound `gateway-not-found`, `request-not-found`; conflict `configuration-changed`; invalid, as
   * `checkChanges`; unsupported `operator-owned` for a gateway of the embedded form
   */
  async change(gatewayId: string, order: ConfigurationOrder, signal: AbortSignal): Promise<ConfigurationOutcome> {
    requireProvider(this.#context);
    checkChanges(order.changes);
    await this.#find(gatewayId, signal);
    let before: GatewayConfiguration | undefined;
    const after = await this.#change(
      gatewayId,
      (now) => {
        before = configurationOf(now);
        return changedBy(now, order, timeOf(this.#context));
      },
      signal,
    );
    const wanted = configurationOf(after);
    const changed = before === undefined ? [] : changedNames(before, wanted);
    const { record, undelivered } = await this.#deliver(after, signal);
    return {
      ...{ record, standing: standingOf(record), undelivered },
      ...{ changed: after.configurationVersion !== before?.version, changedSettings: changed },
    };
  }

  /**
   * Keeps what the operator at the gateway wants otherwise, until somebody answers; added to what is still pending of him.
   * Asking for what is pending already is the same request. Durable when it resolves.
   * @throws invalid, as `checkChanges`; conflict `nothing-requested` when all of it is wanted so already; unsupported `operator-owned`
   */
  async request(gatewayId: string, changes: ConfigurationChanges, signal: AbortSignal): Promise<ConfigurationRequest> {
    const context = this.#context;
    requireProvider(context);
    checkChanges(changes);
    const requestId = `req-${context.blocks.random.bytes(8).toString('hex')}`;
    const requestedAt = timeOf(context);
    const { request = null } = await this.#change(
      gatewayId,
      (now) => {
        const pending = now.request ?? null;
        const merged = differing(now, merge(pending?.changes ?? {}, changes));
        if (Object.keys(merged).length === 0) {
          if (pending === null) throw nothingRequested(gatewayId);
          return { ...now, request: null };
        }
        if (pending !== null && canonicalJson(merged) === canonicalJson(pending.changes)) return now;
        return { ...now, request: { requestId, requestedAt, changes: merged } };
      },
      signal,
    );
    if (request === null) throw nothingRequested(gatewayId);
    return request;
  }

  /** Notes what a gateway says of a version that it was sent; of an older one than it spoke of before: nothing. */
  async acknowledge(gatewayId: string, receipt: ConfigurationReceipt, signal: AbortSignal): Promise<GatewayRecord> {
    const noted = { ...checkedReceipt(receipt), at: timeOf(this.#context) };
    return await this.#change(
      gatewayId,
      (now) => {
        const isNews =
          now.receipt === undefined ||
          now.receipt === null ||
          receipt.version > now.receipt.version ||
          (receipt.version === now.receipt.version && !isSameReceipt(now.receipt, noted));
        return isNews && receipt.version <= now.configurationVersion ? { ...now, receipt: noted } : now;
      },
      signal,
    );
  }

  async #deliver(
    record: GatewayRecord,
    signal: AbortSignal,
  ): Promise<{ readonly record: GatewayRecord; readonly undelivered: ConfigurationOutcome['undelivered'] }> {
    const wanted = configurationOf(record);
    if (record.receipt?.version === wanted.version && record.receipt.failure === null)
      return { record, undelivered: null };
    const delivery = this.#delivery;
    if (delivery === undefined) {
      const message = `gateway ${record.gatewayId} takes it when it asks`;
      return { record, undelivered: { code: 'gateway-not-connected', message } };
    }
    try {
      const receipt = await delivery.deliver(record.gatewayId, wanted, { deadlineMs: DELIVERY_MS, signal });
      return { record: await this.acknowledge(record.gatewayId, receipt, signal), undelivered: null };
    } catch (error) {
      const { kind, code, message } = toSgwError(error);
      // It is durable: whoever stopped waiting hears of the end of that, not of a failure.
      if (kind === 'aborted') throw error;
      return { record, undelivered: { code, message } };
    }
  }

  async #find(gatewayId: string, signal: AbortSignal): Promise<GatewayRecord> {
    const record = await this.#gateways.find(gatewayId, signal);
    if (record?.state !== 'active') throw notFoundResource({ kind: 'gateway', id: gatewayId });
    return record;
  }

  async #change(
    gatewayId: string,
    change: (now: GatewayRecord) => GatewayRecord,
    signal: AbortSignal,
  ): Promise<GatewayRecord> {
    return await changeDocument<GatewayRecord>(
      this.#context.blocks,
      serviceKeys.gateway(gatewayId),
      (now) => {
        if (now.state !== 'active') throw notFoundResource({ kind: 'gateway', id: gatewayId });
        return change(now);
      },
      signal,
    );
  }
}

/** As the gateway is sent it. */
export const configurationOf = (record: GatewayRecord): GatewayConfiguration => ({
  version: record.configurationVersion,
  name: record.gatewayName,
  mode: record.mode,
  region: record.region,
  serving: { ...DEFAULT_PROVIDED_SERVING, ...record.serving },
  answer: record.answer ?? null,
});

const standingOf = (record: GatewayRecord): ConfigurationStanding => ({
  gatewayId: record.gatewayId,
  configuration: configurationOf(record),
  receipt: record.receipt ?? null,
  request: record.request ?? null,
});

function changedBy(now: GatewayRecord, order: ConfigurationOrder, answeredAt: string): GatewayRecord {
  const { changes, answer, expectedVersion } = order;
  if (expectedVersion !== null && expectedVersion !== now.configurationVersion)
    throw changedMeanwhile(now, expectedVersion);
  const pending = now.request ?? null;
  const asked = answer?.requestId ?? pending?.requestId;
  if (answer !== null && (pending === null || pending.requestId !== asked)) return requireAnswered(now, answer);
  const accepted = answer?.accept === true && pending !== null ? pending.changes : {};
  // What the provider says himself is his last word, also on what he accepts.
  const wanted = merge(accepted, changes);
  if (answer === null || pending === null)
    return Object.keys(differing(now, wanted)).length === 0 ? now : nextVersion(now, wanted);
  const { accept, reason } = answer;
  const given = { requestId: pending.requestId, accepted: accept, answeredAt, reason: reasonOf(reason) };
  return { ...nextVersion(now, wanted), request: null, answer: given };
}

const nextVersion = (now: GatewayRecord, wanted: ConfigurationChanges): GatewayRecord => ({
  ...now,
  gatewayName: wanted.name ?? now.gatewayName,
  region: wanted.region ?? now.region,
  serving: { ...DEFAULT_PROVIDED_SERVING, ...now.serving, ...wanted.serving },
  configurationVersion: now.configurationVersion + 1,
});

const isAnswer = (given: RequestAnswer, { requestId, accept }: NonNullable<ConfigurationOrder['answer']>): boolean =>
  given.requestId === requestId && given.accepted === accept;

/** The same answer once more changes nothing. @throws notFound `request-not-found` */
function requireAnswered(now: GatewayRecord, answer: NonNullable<ConfigurationOrder['answer']>): GatewayRecord {
  const given: RequestAnswer | null = now.answer ?? null;
  const isSame = given !== null && isAnswer(given, answer);
  if (isSame) return now;
  const which = answer.requestId === null ? 'no request' : `no request ${answer.requestId.slice(0, 32)}`;
  throw new SgwError('notFound', 'request-not-found', `${which} of gateway ${now.gatewayId} is pending`, {
    hint: `\`sgw service gateway show ${now.gatewayId}\` shows what is.`,
    details: { gatewayId: now.gatewayId },
  });
}

const reasonOf = (reason: string | null): string | null =>
  reason === null ? null : reason.slice(0, REASON_LENGTH_MAX);

function merge(before: ConfigurationChanges, after: ConfigurationChanges): ConfigurationChanges {
  const serving = { ...before.serving, ...after.serving };
  return { ...before, ...after, ...(Object.keys(serving).length === 0 ? {} : { serving }) };
}

/** What of the changes is not so already. */
function differing(now: GatewayRecord, { name, region, serving = {} }: ConfigurationChanges): ConfigurationChanges {
  const present = configurationOf(now).serving;
  const others = Object.entries(serving).filter(
    ([setting, value]) => present[setting as keyof typeof present] !== value,
  );
  return {
    ...(name === undefined || name === now.gatewayName ? {} : { name }),
    ...(region === undefined || region === now.region ? {} : { region }),
    ...(others.length === 0 ? {} : { serving: Object.fromEntries(others) }),
  };
}

function changedNames(before: GatewayConfiguration, after: GatewayConfiguration): string[] {
  const settings = Object.keys(DEFAULT_PROVIDED_SERVING) as (keyof typeof DEFAULT_PROVIDED_SERVING)[];
  return [
    ...(['name', 'region'] as const).filter((name) => before[name] !== after[name]),
    ...settings.filter((name) => before.serving[name] !== after.serving[name]),
  ];
}

/** @throws invalid `bad-message` */
function checkedReceipt({ version, appliedVersion, failure }: ConfigurationReceipt): ConfigurationReceipt {
  const areVersions = [version, appliedVersion].every((each) => Number.isSafeInteger(each) && each >= 0);
  if (!areVersions) throw new SgwError('invalid', 'bad-message', 'the receipt names no version');
  if (failure === null) return { version, appliedVersion, failure };
  const cut = (text: unknown): string => (typeof text === 'string' ? text.slice(0, FAILURE_LENGTH_MAX) : '');
  const { code, message, hint } = failure;
  return {
    version,
    appliedVersion,
    failure: { code: cut(code), message: cut(message), hint: hint === null ? null : cut(hint) },
  };
}

const isSameReceipt = (a: ConfigurationReceipt, b: ConfigurationReceipt): boolean =>
  a.version === b.version &&
  a.appliedVersion === b.appliedVersion &&
  canonicalJson({ f: a.failure }) === canonicalJson({ f: b.failure });

/** @throws unsupported `operator-owned` */
function requireProvider({ isEmbedded }: ServiceContext): void {
  if (!isEmbedded) return;
  throw new SgwError(
    'unsupported',
    'operator-owned',
    "the configuration of a gateway with its service in it is its own operator's",
    {
      hint: 'Change it at the gateway: sgw configure',
    },
  );
}

const changedMeanwhile = ({ gatewayId, configurationVersion }: GatewayRecord, expected: number): SgwError =>
  new SgwError(
    'conflict',
    'configuration-changed',
    `the configuration of gateway ${gatewayId} has version ${String(configurationVersion)}, not ${String(expected)}`,
    { hint: 'Look at it again, then change it.', details: { gatewayId, version: configurationVersion } },
  );

const nothingRequested = (gatewayId: string): SgwError =>
  new SgwError('conflict', 'nothing-requested', `gateway ${gatewayId} is wanted so already`, {
    details: { gatewayId },
  });
