/** Servers that watch gateways over one store; gateways that say what they are told to; one webhook. */
import type {
  Input,
  OperationName,
  Result,
  GatewayDocument,
  ScheduleList,
} from '../../../../src/core/localapi/index.ts';
import { SgwError, type Logger } from '../../../../src/core/kit/index.ts';
import type { AlertThresholds, AlertWish, MessageResult } from '../../../../src/core/protocol/index.ts';
import { Alerts } from '../../../../src/core/service/alerts/alerts.ts';
import { AlertWatch } from '../../../../src/core/service/alerts/watch.ts';
import type { GatewayCallOptions, GatewayCalls } from '../../../../src/core/service/controlplane/gateway-calls.ts';
import { Gateways } from '../../../../src/core/service/identity/gateways.ts';
import { ServiceKey } from '../../../../src/core/service/identity/service-key.ts';
import { SignatureCheck } from '../../../../src/core/service/identity/signature-check.ts';
import { ANNA, SERVICE_ID, ServiceRig } from '../rig.ts';
import { Receiver } from './receiver.ts';

const SILENT: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
export const MINUTE_MS = 60_000;

type AlertSet = MessageResult<'alert.set'>;

/** What a gateway would say. */
export interface Telling {
  /** The server that holds its connection; null: none does. */
  holder: string | null;
  volumes: { name: string; readOnly: boolean; dirtyBytes: number; dirtyMs: number; fullInMs: number | null }[];
  schedules: { name: string; ok: boolean | null; failure: string | null }[];
  refuses: SgwError | null;
  asked: OperationName[];
}

export class WatchRig implements AsyncDisposable {
  readonly service = new ServiceRig();
  readonly receiver: Receiver;
  readonly tellings = new Map<string, Telling>();
  readonly alerts: Alerts;
  readonly gateways: Gateways;
  readonly #key = new ServiceKey(Buffer.alloc(32, 7), this.service.random);
  readonly #context = { blocks: this.service.blocks, serviceId: SERVICE_ID, isEmbedded: false };

  private constructor(receiver: Receiver) {
    this.receiver = receiver;
    this.gateways = new Gateways(this.#context, new SignatureCheck(this.#context));
    this.alerts = new Alerts({
      context: this.#context,
      gateways: this.gateways,
      sealing: this.#key,
      allowPrivate: true,
    });
  }

  static async start(): Promise<WatchRig> {
    const rig = new WatchRig(await Receiver.start());
    await rig.service.accounts();
    return rig;
  }

  async gateway(accountId = ANNA, holder: string | null = 'one'): Promise<string> {
    const { credential } = await this.service.activated(accountId);
    const gatewayId = credential?.gatewayId ?? '';
    this.tellings.set(gatewayId, { holder, volumes: [], schedules: [], refuses: null, asked: [] });
    return gatewayId;
  }

  telling(gatewayId: string): Telling {
    const telling = this.tellings.get(gatewayId);
    if (telling === undefined) throw new Error(`no gateway ${gatewayId}`);
    return telling;
  }

  /** Of the only volume. */
  exposes(gatewayId: string, dirtyBytes: number, more: Partial<Telling['volumes'][number]> = {}): void {
    this.telling(gatewayId).volumes = [
      { name: 'db', readOnly: false, dirtyBytes, dirtyMs: 0, fullInMs: null, ...more },
    ];
  }

  async alert(thresholds: AlertThresholds, change: Partial<AlertWish> = {}, accountId = ANNA): Promise<AlertSet> {
    const wish = {
      name: 'watch',
      gatewayId: null,
      thresholds,
      webhookUrl: this.receiver.url,
      repeatMs: null,
      secret: null,
    };
    return await this.alerts.set(accountId, { ...wish, ...change }, this.service.signal);
  }

  /** A server that has just started. */
  server(serverId = 'one'): AlertWatch {
    return new AlertWatch({
      context: this.#context,
      calls: this.#calls(),
      holds: (gatewayId) => this.tellings.get(gatewayId)?.holder === serverId,
      serverId,
      sealing: this.#key,
      webhooks: { clock: this.service.clock, version: '0.0.0', allowPrivate: true, ca: this.receiver.ca },
      log: SILENT,
    });
  }

  /** One round of each, side by side, and a minute goes by. */
  async minute(...servers: AlertWatch[]): Promise<void> {
    await Promise.all(servers.map(async (server) => server.round(this.service.signal)));
    this.service.clock.ms += MINUTE_MS;
  }

  async minutes(count: number, ...servers: AlertWatch[]): Promise<void> {
    for (let i = 0; i < count; i++) await this.minute(...servers);
  }

  /** What the webhook was told, in short. */
  told(): string[] {
    return this.receiver.received.map(({ body }) => `${String(body['kind'])} ${String(body['threshold'])}`);
  }

  #calls(): GatewayCalls {
    const call = (
      gatewayId: string,
      operation: OperationName,
      _input: object,
      options: GatewayCallOptions,
    ): unknown => {
      const telling = this.telling(gatewayId);
      telling.asked.push(operation);
      if (options.accountId === '') throw new Error('nobody is acted for');
      if (telling.refuses !== null) throw telling.refuses;
      if (telling.holder === null)
        throw new SgwError('unavailable', 'gateway-not-connected', `gateway ${gatewayId} is not connected`);
      return operation === 'gateway.show' ? shown(telling) : scheduled(telling);
    };
    return {
      call: async <N extends OperationName>(id: string, name: N, input: Input<N>, options: GatewayCallOptions) =>
        Promise.resolve().then(() => call(id, name, input, options) as Result<N>),
      isConnected: async (gatewayId) => Promise.resolve(this.tellings.get(gatewayId)?.holder !== null),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.receiver[Symbol.asyncDispose]();
  }
}

/** As much of the documents as alerts look at. */
const shown = ({ volumes }: Telling): Partial<GatewayDocument> => ({
  volumes: volumes as unknown as GatewayDocument['volumes'],
});

const scheduled = ({ schedules }: Telling): ScheduleList =>
  ({
    schedules: schedules.map(({ name, ok, failure }) => ({
      name,
      verify: { last: ok === null ? null : { ok }, failure: failure === null ? null : { message: failure } },
    })),
  }) as unknown as ScheduleList;
