/**
 * The Storage Gateway API over real gateways: each serves its volumes in this process, as its daemon would, over a store that
 * it shares with the service. Only who signed is taken on trust, and calls go to gateways without a network: as text, though.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StorageGatewayClient } from '@aws-sdk/client-storage-gateway';
import fastify, { type FastifyInstance } from 'fastify';
import { createHandlers } from '../../src/core/control/index.ts';
import { partsOf } from '../../src/core/daemon/parts.ts';
import { LogTail } from '../../src/core/daemon/run/log-tail.ts';
import { RunningProcess } from '../../src/core/daemon/run/gateway-process.ts';
import { servingParts } from '../../src/core/daemon/run/serving-parts.ts';
import { VolumeServing } from '../../src/core/daemon/run/serving.ts';
import { readStoreInfo, type BlockStoreOptions } from '../../src/core/blockstore/index.ts';
import { Gateway } from '../../src/core/gateway/index.ts';
import { SgwError, systemClock, systemRandom, toSgwError, type Logger } from '../../src/core/kit/index.ts';
import type {
  CallContext,
  GatewayMode,
  Handlers,
  Input,
  OperationName,
  Result,
} from '../../src/core/localapi/index.ts';
import { openObjectStore } from '../../src/core/objectstore/index.ts';
import type { MessageInput, MessageName, MessageResult } from '../../src/core/protocol/index.ts';
import { answersOf, servicePartsOf, type ServiceParts } from '../../src/core/service/answers.ts';
import { storageGatewayApi } from '../../src/core/service/aws/storagegateway/front-end.ts';
import type { ApiParts } from '../../src/core/service/aws/storagegateway/caller.ts';
import type { GatewayCallOptions, GatewayCalls } from '../../src/core/service/controlplane/gateway-calls.ts';
import type { SignedHttpRequest } from '../../src/core/service/identity/authenticator.ts';
import { authorize } from '../../src/core/service/identity/authorization.ts';
import type { User } from '../../src/core/service/identity/principal.ts';
import type { FrontEnd } from '../../src/core/service/server/front-end.ts';

export const ANNA = '111111111111';
export const BERT = '222222222222';
export const REGION = 'eu-test-1';
export const LOOPBACK = '127.0.0.1';

/** Of accounts, by access key. */
const KEYS: Readonly<Record<string, string>> = { AKIAANNA: ANNA, AKIABERT: BERT };
export const keyOf = (accountId: string): string => (accountId === ANNA ? 'AKIAANNA' : 'AKIABERT');

const ignore = (): void => undefined;
const SILENT: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const CALL: CallContext = { signal: new AbortController().signal, onProgress: ignore, lockTimeoutMs: 10_000 };

const overTheWire = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

/** A gateway that serves, in a home of its own. */
export class ServedGateway implements AsyncDisposable {
  readonly home: string;
  readonly accountId: string;
  gatewayId = '';
  isConnected = true;
  /** Operations that it was asked for. */
  readonly calls: { readonly operation: OperationName; readonly input: unknown }[] = [];
  /** Fails with it before or after it was done. */
  failing:
    { readonly operation: OperationName; readonly when: 'before' | 'after'; readonly error: SgwError } | undefined;
  #handlers: Handlers | undefined;
  #gateway: Gateway | undefined;
  #serving: VolumeServing | undefined;
  #closeThreads: () => Promise<void> = async () => Promise.resolve();

  private constructor(home: string, accountId: string) {
    this.home = home;
    this.accountId = accountId;
  }

  static async start(home: string, store: string, accountId: string, mode: GatewayMode): Promise<ServedGateway> {
    const served = new ServedGateway(home, accountId);
    const alone = createHandlers(new Gateway(await partsOf(home, accountId)));
    const { gatewayId } = await alone.activate({ name: 'attic', mode, store, region: REGION }, CALL);
    served.gatewayId = gatewayId;
    // Portals of its own, so that tests can run beside each other.
    await alone.configure({ iscsiListen: [`tcp:${LOOPBACK}:0`], cacheBytes: 64 << 20, bufferBytes: 64 << 20 }, CALL);
    await mkdir(join(home, 'disks'), { recursive: true });
    await served.serve();
    return served;
  }

  async serve(): Promise<void> {
    const { home } = this;
    const threads = servingParts(SILENT);
    const parts = { ...(await partsOf(home)), serving: async () => Promise.resolve(threads) };
    const gateway = new Gateway(parts);
    const { clock, version } = parts;
    const socketPath = join(home, 'nbd.sock');
    const serving = new VolumeServing({ home, gateway, clock, log: SILENT, call: CALL, socketPath });
    const tail = new LogTail({ write: () => undefined });
    const about = { background: false, startedMs: clock.nowMs(), drainTimeoutMs: 10_000, tail };
    const running = new RunningProcess({ home, version, clock, log: SILENT, serving, ...about });
    await serving.start();
    this.#gateway = gateway;
    this.#serving = serving;
    this.#handlers = createHandlers(gateway, running);
    this.#closeThreads = async () => threads.close();
  }

  async call<N extends OperationName>(operation: N, input: Input<N>, signal = CALL.signal): Promise<Result<N>> {
    this.calls.push({ operation, input });
    const { failing } = this;
    if (failing?.operation === operation && failing.when === 'before') throw failing.error;
    if (this.#handlers === undefined) throw new Error('it does not serve');
    const result = await this.#handlers[operation](input, { ...CALL, signal });
    if (failing?.operation === operation) throw failing.error;
    return result;
  }

  async stop(): Promise<void> {
    await this.#serving?.stop({ drain: true, signal: CALL.signal, onProgress: ignore });
    await this.#gateway?.close();
    await this.#closeThreads();
    this.#handlers = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** The service, with gateways over its store. */
export class AwsRig implements AsyncDisposable {
  readonly directory: string;
  readonly gateways = new Map<string, ServedGateway>();
  readonly blocks: BlockStoreOptions;
  readonly service: ServiceParts;
  readonly logged: string[] = [];
  readonly #app: FastifyInstance;
  #frontEnd: FrontEnd | undefined;
  endpoint = '';

  private constructor(directory: string, blocks: BlockStoreOptions, serviceId: string) {
    this.directory = directory;
    this.blocks = blocks;
    this.service = servicePartsOf({ blocks, serviceId, isEmbedded: false });
    this.#app = fastify();
  }

  /** With one gateway of account ANNA. */
  static async start(mode: GatewayMode = 'cached'): Promise<{ rig: AwsRig; gateway: ServedGateway }> {
    const directory = await mkdtemp(join(tmpdir(), 'sgw-aws-'));
    const store = join(directory, 'store');
    const gateway = await ServedGateway.start(join(directory, 'g1'), store, ANNA, mode);
    const objects = await openObjectStore(store, { create: false });
    const blocks = { objects, clock: systemClock, random: systemRandom };
    const { storeId } = await readStoreInfo(objects).then((info) => info ?? { storeId: '' });
    const rig = new AwsRig(directory, blocks, storeId);
    rig.gateways.set(gateway.gatewayId, gateway);
    for (const [name, accountId] of [
      ['anna', ANNA],
      ['bert', BERT],
    ] as const)
      await rig.service.accounts.create({ name, accountId, clientToken: null }, CALL.signal).catch(ignore);
    await rig.#listen();
    return { rig, gateway };
  }

  async addGateway(name: string, accountId: string, mode: GatewayMode): Promise<ServedGateway> {
    const gateway = await ServedGateway.start(
      join(this.directory, name),
      join(this.directory, 'store'),
      accountId,
      mode,
    );
    this.gateways.set(gateway.gatewayId, gateway);
    return gateway;
  }

  client(accountId = ANNA): StorageGatewayClient {
    return new StorageGatewayClient({
      endpoint: this.endpoint,
      region: REGION,
      maxAttempts: 1,
      credentials: { accessKeyId: keyOf(accountId), secretAccessKey: 'not-checked' },
    });
  }

  arn(gatewayId: string, accountId = ANNA): string {
    return `arn:aws:storagegateway:${REGION}:${accountId}:gateway/${gatewayId}`;
  }

  async #listen(): Promise<void> {
    const frontEnd = storageGatewayApi(this.parts);
    this.#frontEnd = frontEnd;
    await this.#app.register(async (app) => {
      await frontEnd.add(app);
    });
    await this.#app.listen({ host: LOOPBACK, port: 0 });
    this.endpoint = `http://${LOOPBACK}:${String((this.#app.server.address() as AddressInfo).port)}`;
  }

  get parts(): ApiParts {
    const { context, gateways, audit } = this.service;
    const note = (fields: object, message: string): void => {
      const { err } = fields as { err?: Error };
      this.logged.push(`${message}: ${err?.message ?? ''} ${err?.stack ?? ''}`);
    };
    const calls: GatewayCalls = {
      call: async (gatewayId, operation, input, options) => this.#call(gatewayId, operation, input, options),
      isConnected: async (gatewayId) => Promise.resolve(this.gateways.get(gatewayId)?.isConnected === true),
    };
    return {
      context,
      gateways,
      calls,
      log: { ...SILENT, warn: note, error: note },
      authenticator: { verify: async (request) => Promise.resolve({ user: userOf(request), payloadSha256: null }) },
      messages: { asUser: async (user, name, input, signal) => this.#asUser(user, name, input, signal) },
      audit,
      region: REGION,
      version: '0.1.0',
    };
  }

  async #call<N extends OperationName>(
    gatewayId: string,
    operation: N,
    input: Input<N>,
    { accountId, deadlineMs, signal }: GatewayCallOptions,
  ): Promise<Result<N>> {
    const gateway = this.gateways.get(gatewayId);
    const owner = gateway?.accountId ?? (await this.service.gateways.require(gatewayId, signal)).accountId;
    if (owner !== accountId) throw new Error(`a call for ${accountId} went to ${gatewayId}`);
    if (!(deadlineMs > 0 && deadlineMs < 24 * 3_600_000)) throw new Error('the deadline is none');
    if (gateway?.isConnected !== true)
      throw new SgwError('unavailable', 'gateway-not-connected', 'it is not connected');
    try {
      return overTheWire(await gateway.call(operation, overTheWire(input), signal));
    } catch (error) {
      throw SgwError.fromDocument(overTheWire(toSgwError(error).toDocument()));
    }
  }

  /** As the server does: an account's own. */
  async #asUser<N extends MessageName>(
    user: User,
    name: N,
    input: MessageInput<N>,
    signal: AbortSignal,
  ): Promise<MessageResult<N>> {
    const { accountId, gatewayId } = input as { accountId?: string; gatewayId?: string };
    if (name === 'activation.claim' && accountId !== user.accountId) throw new Error('claimed for another account');
    if (name !== 'activation.claim' && gatewayId !== undefined) {
      const record = await this.service.gateways.find(gatewayId, signal);
      authorize(user, 'use', { kind: 'gateway', id: gatewayId, accountId: record?.accountId ?? null });
    }
    return await answersOf(this.service)[name](input, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app.close();
    await this.#frontEnd?.close?.();
    for (const gateway of this.gateways.values()) await gateway[Symbol.asyncDispose]();
    await this.blocks.objects.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

function userOf({ headers }: SignedHttpRequest): User {
  const accessKeyId = /Credential=([^/]+)\//.exec(headers.authorization ?? '')?.[1] ?? '';
  const accountId = KEYS[accessKeyId];
  if (headers.authorization === undefined)
    throw new SgwError('denied', 'signature-missing', 'the request is not signed');
  if (accountId === undefined) throw new SgwError('denied', 'access-key-unknown', 'there is no such access key');
  return { kind: 'user', accountId, accessKeyId, isRoot: false };
}
