/** The block API over a store, on loopback without TLS, with real signatures. */
import { createHash } from 'node:crypto';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import fastify, { type FastifyInstance } from 'fastify';
import type { BlockStoreOptions, KeyRing } from '../../../../src/core/blockstore/index.ts';
import { seededRandom, systemClock } from '../../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../../src/core/objectstore/index.ts';
import type { BlockList, Snapshot, Volume } from '../../../../src/core/protocol/blockapi/index.ts';
import { blockApi } from '../../../../src/core/service/blockapi/index.ts';
import type { FrontEnd } from '../../../../src/core/service/server/front-end.ts';
import { openNetworkService, ServiceKey, type NetworkService } from '../../../../src/core/service/server/index.ts';

export const BLOCK = 512 * 1024;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  /** Of JSON; else an empty object. */
  readonly document: Record<string, unknown>;
}

export interface Ask {
  readonly query?: Record<string, string>;
  readonly body?: Buffer | object;
  readonly headers?: Record<string, string>;
  readonly signingName?: string;
}

export class BlockRig implements AsyncDisposable {
  readonly blocks: BlockStoreOptions;
  readonly service: NetworkService;
  readonly logged: unknown[] = [];
  readonly root: { readonly accessKeyId: string; readonly secretAccessKey: string };
  endpoint = '';
  readonly #serviceKey: ServiceKey;
  readonly #servers: { readonly app: FastifyInstance; readonly frontEnd: FrontEnd }[] = [];

  private constructor(blocks: BlockStoreOptions, service: NetworkService, serviceKey: ServiceKey) {
    this.blocks = blocks;
    this.service = service;
    this.#serviceKey = serviceKey;
    const { accessKeyId = '', secretAccessKey = '' } = service.rootKey ?? {};
    this.root = { accessKeyId, secretAccessKey };
  }

  static async start(objects: ObjectStore = memoryStore()): Promise<BlockRig> {
    const blocks = { objects, clock: systemClock, random: seededRandom(Date.now() % 0x7fff_ffff) };
    const serviceKey = new ServiceKey(Buffer.alloc(32, 7), blocks.random);
    const context = { blocks, serviceId: 'store-0123456789abcdef', isEmbedded: false };
    const signal = new AbortController().signal;
    const service = await openNetworkService(context, serviceKey, { newRootKey: false }, signal);
    const rig = new BlockRig(blocks, service, serviceKey);
    rig.endpoint = await rig.server();
    return rig;
  }

  /** One more server over the same store, or over what stands before it. Resolves with its address. */
  async server(objects?: ObjectStore, keys?: KeyRing): Promise<string> {
    const { context, authenticator, exports, quotas } = this.service;
    const sealed = keys === undefined ? {} : { keys };
    const parts = { ...context, blocks: { ...this.blocks, objects: objects ?? this.blocks.objects, ...sealed } };
    const log = {
      ...{ debug: () => undefined, info: () => undefined, warn: () => undefined },
      error: (fields: unknown) => this.logged.push(fields),
    };
    const frontEnd = blockApi({ context: parts, log, authenticator, exports, quotas, serviceKey: this.#serviceKey });
    const app = fastify({ exposeHeadRoutes: false });
    await app.register(async (inner) => {
      await frontEnd.add(inner);
    });
    this.#servers.push({ app, frontEnd });
    return await app.listen({ host: '127.0.0.1', port: 0 });
  }

  async user(name: string, endpoint = this.endpoint): Promise<BlockUser> {
    const signal = new AbortController().signal;
    const { accountId } = await this.service.accounts.create({ name, accountId: null, clientToken: null }, signal);
    const key = await this.service.keys.create({ accountId, userName: 'main' }, signal);
    return new BlockUser(endpoint, accountId, key);
  }

  /** Every document under a prefix. */
  async documents(prefix: string): Promise<Record<string, unknown>[]> {
    const found: Record<string, unknown>[] = [];
    for await (const { key } of this.blocks.objects.list(prefix)) {
      if (!key.endsWith('.json')) continue;
      const object = await this.blocks.objects.get(key);
      found.push(JSON.parse((object?.bytes ?? Buffer.alloc(0)).toString('utf8')) as Record<string, unknown>);
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { app, frontEnd } of this.#servers) {
      await app.close();
      await frontEnd.close?.();
    }
    await this.blocks.objects.close();
  }
}

export class BlockUser {
  readonly endpoint: string;
  readonly accountId: string;
  readonly #credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };

  constructor(
    endpoint: string,
    accountId: string,
    credentials: { readonly accessKeyId: string; readonly secretAccessKey: string },
  ) {
    this.endpoint = endpoint;
    this.accountId = accountId;
    this.#credentials = credentials;
  }

  at(endpoint: string): BlockUser {
    return new BlockUser(endpoint, this.accountId, this.#credentials);
  }

  async ask(
    method: string,
    path: string,
    { query = {}, body, headers = {}, signingName = 'sgw' }: Ask = {},
  ): Promise<Answer> {
    const url = new URL(path, this.endpoint);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    const hash = createHash('sha256')
      .update(bytes ?? '')
      .digest('hex');
    const signer = new SignatureV4({
      ...{ service: signingName, region: 'local', credentials: this.#credentials, sha256: Sha256 },
    });
    const signed = await signer.sign({
      ...{ method, protocol: 'http:', hostname: url.hostname, path: url.pathname, query },
      headers: { host: url.host, 'x-amz-content-sha256': hash, ...headers },
      ...(bytes === undefined ? {} : { body: bytes }),
    });
    const { host: _, ...sent } = signed.headers;
    const response = await fetch(url, { method, headers: sent, ...(bytes === undefined ? {} : { body: bytes }) });
    return await answerOf(response);
  }

  async create(wish: object = {}): Promise<Volume> {
    return await this.#wanted('POST', '/v1/volumes', { body: { name: 'disk', sizeBytes: 64 * BLOCK, ...wish } });
  }

  async put(
    volumeId: string,
    block: number | string,
    bytes: Buffer,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    return await this.ask('PUT', `/v1/volumes/${volumeId}/blocks/${String(block)}`, {
      body: bytes,
      headers: { 'content-digest': digest(bytes), ...headers },
    });
  }

  /** A block of a volume or a snapshot. */
  async get(id: string, block: number): Promise<Buffer> {
    const answer = await this.ask('GET', `/v1/${placeOf(id)}/blocks/${String(block)}`);
    if (answer.status !== 200) throw new Error(JSON.stringify(answer.document));
    if (answer.headers.get('content-digest') !== digest(answer.bytes)) throw new Error('the digest is wrong');
    return answer.bytes;
  }

  async snapshot(volumeId: string, wish: object = {}): Promise<Snapshot> {
    return await this.#wanted('POST', `/v1/volumes/${volumeId}/snapshots`, { body: wish });
  }

  /** All pages. */
  async list(path: string, query: Record<string, string> = {}): Promise<number[]> {
    const blocks: number[] = [];
    for (let next: Record<string, string> = {}; ;) {
      const page: BlockList = await this.#wanted('GET', path, { query: { ...query, ...next } });
      blocks.push(...page.blocks);
      if (page.nextToken === null) return blocks;
      next = { nextToken: page.nextToken };
    }
  }

  async written(id: string, query: Record<string, string> = {}): Promise<number[]> {
    return await this.list(`/v1/${placeOf(id)}/blocks`, query);
  }

  async #wanted<T>(method: string, path: string, ask: Ask): Promise<T> {
    const answer = await this.ask(method, path, ask);
    if (answer.status >= 300) throw new Error(`${String(answer.status)} ${JSON.stringify(answer.document)}`);
    return answer.document as T;
  }
}

const placeOf = (id: string): string => (id.startsWith('vol-') ? `volumes/${id}` : `snapshots/${id}`);

export const digest = (bytes: Uint8Array): string => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;

export async function answerOf(response: Response): Promise<Answer> {
  const bytes = Buffer.from(await response.arrayBuffer());
  const isJson = response.headers.get('content-type')?.includes('json') === true;
  const document = isJson ? (JSON.parse(bytes.toString('utf8')) as Record<string, unknown>) : {};
  return { status: response.status, headers: response.headers, bytes, document };
}

/** A block that no other one is like. */
export function blockOf(value: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  for (let at = 0; at < BLOCK; at += 4096) bytes.write(`<${String(value)} ${String(at)}>`, at);
  return bytes;
}

export const codeOf = ({ document }: Answer): unknown => (document['error'] as { code?: unknown } | undefined)?.code;
