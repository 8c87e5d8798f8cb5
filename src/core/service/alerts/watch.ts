/**
 * Watches the gateways that alerts are about, and calls the webhooks.
 *
 * One server at a time looks at a gateway: the one that holds its connection; where none does, whichever claims it first.
 * Invariants: a claim ends by itself, so that another server goes on when its holder is gone; what fires and what is to be
 * told is in the store before it is told, and each change there is one compare-and-set, so that two servers that both think
 * it is theirs, for whatever reason, tell nothing twice. A server that dies between calling a webhook and noting that is the
 * one exception: the message is sent again then, under the same id. With no alerts, a round is one list of the store.
 */
import { createDocument, replaceDocument, type Stored } from '../../blockstore/index.ts';
import { Semaphore, SgwError, toSgwError, type Logger } from '../../kit/index.ts';
import type { ServiceContext } from '../context.ts';
import type { GatewayCalls } from '../controlplane/gateway-calls.ts';
import type { GatewayRecord } from '../identity/gateways.ts';
import { serviceKeys } from '../keys.ts';
import type { SecretSealing } from './alerts.ts';
import { attempted, evaluate, isDue, sent } from './evaluate.ts';
import { askGateway, measure, notConnected, type GatewayReport } from './measure.ts';
import { messageBody } from './message.ts';
import { Documents } from './reading.ts';
import type { FiringState, StoredAlert, WatchState } from './records.ts';
import { callWebhook, type WebhookParts } from './webhook.ts';

const EVERY_MS = 60_000;
/** A claim outlives so many rounds that its holder misses. */
const CLAIM_ROUNDS = 3;
/** Gateways that are looked at side by side. */
const GATEWAYS_MAX = 16;
/** Webhooks that are called side by side. */
const CALLS_MAX = 8;
const MESSAGE_ID_BYTES = 12;

export interface WatchParts {
  readonly context: ServiceContext;
  readonly calls: GatewayCalls;
  /** Whether this server holds the connection of a gateway. */
  readonly holds: (gatewayId: string) => boolean;
  /** Of this server. */
  readonly serverId: string;
  readonly sealing: SecretSealing;
  readonly webhooks: WebhookParts;
  readonly log: Logger;
  /** From one round to the next. Default a minute. */
  readonly everyMs?: number;
}

export class AlertWatch implements AsyncDisposable {
  readonly #parts: WatchParts;
  readonly #everyMs: number;
  readonly #alerts: Documents<StoredAlert>;
  readonly #states: Documents<WatchState>;
  readonly #gateways: Documents<GatewayRecord>;
  readonly #calls = new Semaphore(CALLS_MAX);
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(parts: WatchParts) {
    const { blocks } = parts.context;
    this.#parts = parts;
    this.#everyMs = parts.everyMs ?? EVERY_MS;
    this.#alerts = new Documents(blocks, serviceKeys.alerts);
    this.#states = new Documents(blocks, serviceKeys.alertStates);
    this.#gateways = new Documents(blocks, serviceKeys.gateways);
  }

  /** Goes round until it is closed. Once. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(): Promise<void> {
    const { context, log } = this.#parts;
    const { clock, random } = context.blocks;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        // Servers that started together do not all come at the same moment.
        await clock.sleep(this.#everyMs * (0.9 + random.float() / 5), signal);
        await this.round(signal);
      } catch (error) {
        const { kind, code, message } = toSgwError(error);
        if (kind !== 'aborted') log.warn({ code }, `alerts could not be looked at: ${message}`);
      }
    }
  }

  /** Looks once at each gateway that is this server's to look at. @throws what keeps it from reading the store */
  async round(signal: AbortSignal): Promise<void> {
    const alerts = [...(await this.#alerts.read(signal)).values()].map(({ value }) => value);
    if (alerts.length === 0) return;
    const [gateways, states] = await Promise.all([this.#gateways.read(signal), this.#states.read(signal)]);
    const places = new Semaphore(GATEWAYS_MAX);
    const looking = [...gateways.values()].map(async ({ value: gateway }) => {
      const { gatewayId, accountId, state } = gateway;
      const key = serviceKeys.alertState(accountId, gatewayId);
      const of = alerts.filter(
        (alert) => alert.accountId === accountId && (alert.gatewayId ?? gatewayId) === gatewayId,
      );
      if (state !== 'active') {
        await this.#forget(key, states.get(key), signal);
        return;
      }
      if (of.length === 0 && (states.get(key)?.value.firing.length ?? 0) === 0) return;
      const release = await places.acquire(1, signal);
      try {
        await this.#look({ gateway, alerts: of, key }, states.get(key), signal);
      } catch (error) {
        const { kind, code, message } = toSgwError(error);
        if (kind === 'aborted') throw error;
        this.#parts.log.warn({ gatewayId, code }, `alerts of a gateway could not be looked at: ${message}`);
      } finally {
        release();
      }
    });
    const ended = await Promise.allSettled(looking);
    const failed = ended.find((each) => each.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  async #look(of: Watched, stored: Stored<WatchState> | undefined, signal: AbortSignal): Promise<void> {
    const { calls, holds } = this.#parts;
    const { gateway } = of;
    const { gatewayId } = gateway;
    const isHeld = holds(gatewayId);
    const isConnected = isHeld || (await calls.isConnected(gatewayId, signal));
    const before = stored?.value ?? newState(gateway);
    if (isConnected && !isHeld) {
      await this.#release(of, before, stored, signal);
      return;
    }
    if (!this.#mayClaim(before)) return;
    const wanted = { schedules: of.alerts.some(({ thresholds }) => thresholds.restoreProof !== undefined) };
    const report = isConnected ? await askGateway(calls, gateway, wanted, signal) : notConnected();
    if (report.failure !== null)
      this.#parts.log.info({ gatewayId }, `a gateway did not say how it does: ${report.failure}`);
    const after = this.#seen(of, before, report);
    const kept = await this.#keep(of.key, stored, before, after, signal);
    if (kept !== undefined) await this.#tell(of, kept, signal);
  }

  /** Another server holds the gateway: it need not wait for our claim to end. */
  async #release(
    of: Watched,
    before: WatchState,
    stored: Stored<WatchState> | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (before.watcher?.serverId !== this.#parts.serverId) return;
    await this.#keep(of.key, stored, before, { ...before, watcher: null }, signal);
  }

  #mayClaim({ watcher }: WatchState): boolean {
    return watcher === null || watcher.serverId === this.#parts.serverId || Date.parse(watcher.until) <= this.#nowMs();
  }

  #seen({ alerts }: Watched, before: WatchState, report: GatewayReport): WatchState {
    const nowMs = this.#nowMs();
    const now = new Date(nowMs).toISOString();
    const disconnectedSince = report.isConnected ? null : (before.disconnectedSince ?? now);
    const disconnectedMs = disconnectedSince === null ? null : Math.max(0, nowMs - Date.parse(disconnectedSince));
    const sights = alerts.map((alert) => ({ alert, measurements: measure(report, alert.thresholds, disconnectedMs) }));
    const firing = evaluate(before.firing, sights, { nowMs, newMessageId: () => this.#newMessageId() });
    return { ...before, disconnectedSince, watcher: this.#claim(before, nowMs), firing };
  }

  /** Renewed only when half of it is over, so that a gateway which does well is not written down every minute. */
  #claim({ watcher }: WatchState, nowMs: number): WatchState['watcher'] {
    const claimMs = CLAIM_ROUNDS * this.#everyMs;
    const { serverId } = this.#parts;
    const isGood = watcher?.serverId === serverId && Date.parse(watcher.until) - nowMs > claimMs / 2;
    return isGood ? watcher : { serverId, until: new Date(nowMs + claimMs).toISOString() };
  }

  /** Undefined when somebody else changed it: then it is theirs. */
  async #keep(
    key: string,
    stored: Stored<WatchState> | undefined,
    before: WatchState,
    after: WatchState,
    signal: AbortSignal,
  ): Promise<Stored<WatchState> | undefined> {
    const { blocks } = this.#parts.context;
    if (stored === undefined) {
      if (!(await createDocument(blocks, key, after, signal))) return undefined;
      return (await this.#states.readOne(key, signal)) ?? undefined;
    }
    if (sameButValues(before, after)) return stored;
    const result = await replaceDocument(blocks, key, stored, after, signal);
    return result.outcome === 'stored' ? { value: after, etag: result.etag, version: result.version } : undefined;
  }

  async #tell(of: Watched, stored: Stored<WatchState>, signal: AbortSignal): Promise<void> {
    let now = stored;
    for (const { alertId, threshold } of stored.value.firing.filter((each) => isDue(each, this.#nowMs()))) {
      const alert = of.alerts.find((each) => each.alertId === alertId);
      const firing = now.value.firing.find((each) => each.alertId === alertId && each.threshold === threshold);
      if (alert === undefined || firing === undefined || firing.message === null) continue;
      const begun = attempted(firing, this.#nowMs(), this.#parts.context.blocks.random.float());
      const marked = await this.#replace(of.key, now, firing, begun, signal);
      if (marked === undefined) return;
      const failure = await this.#send(of.gateway, alert, begun, signal);
      const told = sent(begun, firing.message.messageId, this.#nowMs(), failure);
      const noted = await this.#replace(of.key, marked, begun, told, signal);
      if (noted === undefined) return;
      now = noted;
    }
  }

  async #replace(
    key: string,
    now: Stored<WatchState>,
    firing: FiringState,
    next: FiringState | undefined,
    signal: AbortSignal,
  ): Promise<Stored<WatchState> | undefined> {
    const others = now.value.firing.filter(
      ({ alertId, threshold }) => alertId !== firing.alertId || threshold !== firing.threshold,
    );
    const value = { ...now.value, firing: next === undefined ? others : [...others, next] };
    const result = await replaceDocument(this.#parts.context.blocks, key, now, value, signal);
    return result.outcome === 'stored' ? { value, etag: result.etag, version: result.version } : undefined;
  }

  /** Why the webhook did not take it; null when it did. */
  async #send(
    gateway: GatewayRecord,
    alert: StoredAlert,
    firing: FiringState,
    signal: AbortSignal,
  ): Promise<string | null> {
    const { sealing, webhooks, log } = this.#parts;
    const { gatewayId } = gateway;
    const { alertId } = alert;
    const release = await this.#calls.acquire(1, signal);
    try {
      const secret = sealing.unseal(alert.sealedSecret, serviceKeys.alert(alert.accountId, alertId)).toString('utf8');
      const body = messageBody(gateway, alert, firing);
      await callWebhook(webhooks, { url: alert.webhookUrl, secret, body }, signal);
      log.info({ gatewayId, alertId, threshold: firing.threshold }, `an alert was told: ${firing.state}`);
      return null;
    } catch (error) {
      const failure = toSgwError(error);
      if (failure.kind === 'aborted') throw error;
      log.warn({ gatewayId, alertId, code: failure.code }, 'an alert could not be told');
      return failure.message;
    } finally {
      release();
    }
  }

  async #forget(key: string, stored: Stored<WatchState> | undefined, signal: AbortSignal): Promise<void> {
    if (stored === undefined) return;
    try {
      await this.#parts.context.blocks.objects.delete(key, { signal, ifMatch: stored.etag });
    } catch (error) {
      // Changed meanwhile: the next round sees it again.
      if (!(error instanceof SgwError) || error.code !== 'etag-mismatch') throw error;
    }
  }

  #newMessageId(): string {
    return `msg-${this.#parts.context.blocks.random.bytes(MESSAGE_ID_BYTES).toString('hex')}`;
  }

  #nowMs(): number {
    return this.#parts.context.blocks.clock.nowMs();
  }
}

interface Watched {
  readonly gateway: GatewayRecord;
  readonly alerts: readonly StoredAlert[];
  /** Of its state. */
  readonly key: string;
}

const newState = ({ gatewayId, accountId }: GatewayRecord): WatchState => ({
  gatewayId,
  accountId,
  watcher: null,
  disconnectedSince: null,
  firing: [],
});

/** A value that went up and down alone is not worth a write. */
function sameButValues(before: WatchState, after: WatchState): boolean {
  const bare = (state: WatchState): string =>
    JSON.stringify({ ...state, firing: state.firing.map((each) => ({ ...each, value: null })) });
  return bare(before) === bare(after);
}
