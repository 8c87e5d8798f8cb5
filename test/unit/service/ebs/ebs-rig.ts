/** The EBS direct API over a store, on loopback without TLS, with real signatures; and AWS's own client of it. */
import { createHash } from 'node:crypto';
import {
  CompleteSnapshotCommand,
  EBSClient,
  GetSnapshotBlockCommand,
  ListChangedBlocksCommand,
  ListSnapshotBlocksCommand,
  PutSnapshotBlockCommand,
  StartSnapshotCommand,
} from '@aws-sdk/client-ebs';
import fastify, { type FastifyInstance } from 'fastify';
import type { BlockStoreOptions, KeyRing } from '../../../../src/core/blockstore/index.ts';
import { seededRandom, systemClock } from '../../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../../src/core/objectstore/index.ts';
import { ebsFrontEnd } from '../../../../src/core/service/aws/ebs/front-end.ts';
import type { SlotLimits } from '../../../../src/core/service/blocks/slots.ts';
import type { FrontEnd } from '../../../../src/core/service/server/front-end.ts';
import { openProviderStore } from '../../../../src/core/service/providerkeys/index.ts';
import { openNetworkService, ServiceKey, type NetworkService } from '../../../../src/core/service/server/index.ts';

export const BLOCK = 512 * 1024;
export const REGION = 'lab-1';
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

export interface User {
  readonly accountId: string;
  readonly client: EBSClient;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

export class EbsRig implements AsyncDisposable {
  readonly objects: ObjectStore;
  readonly blocks: BlockStoreOptions;
  readonly service: NetworkService;
  readonly root: { readonly accessKeyId: string; readonly secretAccessKey: string };
  endpoint = '';
  readonly #serviceKey: ServiceKey;
  readonly #clients: EBSClient[] = [];
  readonly #servers: { readonly app: FastifyInstance; readonly frontEnd: FrontEnd }[] = [];

  private constructor(blocks: BlockStoreOptions, service: NetworkService, serviceKey: ServiceKey) {
    this.objects = blocks.objects;
    this.blocks = blocks;
    this.service = service;
    this.#serviceKey = serviceKey;
    const { accessKeyId = '', secretAccessKey = '' } = service.rootKey ?? {};
    this.root = { accessKeyId, secretAccessKey };
  }

  /** `keys`: of a store that has one. `isSealed`: whether the service seals what it stores in `below`. */
  static async start(
    below: ObjectStore = memoryStore(),
    limits: Partial<SlotLimits> = {},
    { keys, isSealed = false }: { readonly keys?: KeyRing; readonly isSealed?: boolean } = {},
  ): Promise<EbsRig> {
    const random = seededRandom(Date.now() % 0x7fff_ffff);
    const serviceKey = new ServiceKey(Buffer.alloc(32, 7), random);
    const signal = new AbortController().signal;
    const plain = { objects: below, clock: systemClock, random };
    const sealed = isSealed ? await openProviderStore(plain, serviceKey, { mayBegin: true, signal }) : undefined;
    const objects = sealed?.objects ?? below;
    const blocks = { ...plain, objects, ...(keys === undefined ? {} : { keys }) };
    const context = { ...sealed, blocks, serviceId: 'store-0123456789abcdef', isEmbedded: false };
    const service = await openNetworkService(context, serviceKey, { newRootKey: false }, signal);
    const rig = new EbsRig(blocks, service, serviceKey);
    rig.endpoint = await rig.server(limits);
    return rig;
  }

  /** One more server over the same store. Resolves with its address. */
  async server(limits: Partial<SlotLimits> = {}): Promise<string> {
    const { context, authenticator, exports, quotas } = this.service;
    const frontEnd = ebsFrontEnd(
      { context, log: silent, authenticator, exports, quotas, serviceKey: this.#serviceKey },
      limits,
    );
    const app = fastify({ exposeHeadRoutes: false });
    await app.register(async (inner) => {
      await frontEnd.add(inner);
    });
    this.#servers.push({ app, frontEnd });
    return await app.listen({ host: '127.0.0.1', port: 0 });
  }

  async user(name: string, endpoint = this.endpoint): Promise<User> {
    const signal = new AbortController().signal;
    const { accountId } = await this.service.accounts.create({ name, accountId: null, clientToken: null }, signal);
    const { accessKeyId, secretAccessKey } = await this.service.keys.create({ accountId, userName: 'main' }, signal);
    const credentials = { accessKeyId, secretAccessKey };
    return { accountId, credentials, client: this.client(credentials, endpoint) };
  }

  client(credentials: User['credentials'], endpoint = this.endpoint): EBSClient {
    const client = new EBSClient({ endpoint, region: REGION, credentials, maxAttempts: 2 });
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
    for (const { app, frontEnd } of this.#servers) {
      await app.close();
      await frontEnd.close?.();
    }
    await this.objects.close();
  }
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64');

/** What blocks hold, to be compared: whole buffers take a test's comparison long. */
export const digests = (blocks: ReadonlyMap<number, Uint8Array>): Map<number, string> =>
  new Map([...blocks].sort(([a], [b]) => a - b).map(([index, bytes]) => [index, sha256(bytes)]));

/** A block that no other one is like. */
export function blockOf(value: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  for (let at = 0; at < BLOCK; at += 4096) bytes.write(`<${String(value)} ${String(at)}>`, at);
  return bytes;
}

export const aggregate = (blocks: readonly Uint8Array[]): string =>
  sha256(Buffer.concat(blocks.map((bytes) => createHash('sha256').update(bytes).digest())));

export async function startSnapshot(
  client: EBSClient,
  wish: Partial<ConstructorParameters<typeof StartSnapshotCommand>[0]> = {},
): Promise<string> {
  const { SnapshotId = '' } = await client.send(new StartSnapshotCommand({ VolumeSize: 1, ...wish }));
  return SnapshotId;
}

export async function putBlock(client: EBSClient, snapshotId: string, index: number, bytes: Buffer): Promise<void> {
  await client.send(
    new PutSnapshotBlockCommand({
      SnapshotId: snapshotId,
      BlockIndex: index,
      BlockData: bytes,
      DataLength: bytes.length,
      Checksum: sha256(bytes),
      ChecksumAlgorithm: 'SHA256',
    }),
  );
}

/** Writes a whole snapshot. */
export async function writeSnapshot(
  client: EBSClient,
  blocks: ReadonlyMap<number, Buffer>,
  wish: Partial<ConstructorParameters<typeof StartSnapshotCommand>[0]> = {},
): Promise<string> {
  const snapshotId = await startSnapshot(client, wish);
  for (const [index, bytes] of blocks) await putBlock(client, snapshotId, index, bytes);
  const ordered = [...blocks].sort(([a], [b]) => a - b).map(([, bytes]) => bytes);
  await client.send(
    new CompleteSnapshotCommand({
      SnapshotId: snapshotId,
      ChangedBlocksCount: blocks.size,
      Checksum: aggregate(ordered),
      ChecksumAlgorithm: 'SHA256',
      ChecksumAggregationMethod: 'LINEAR',
    }),
  );
  return snapshotId;
}

export async function getBlock(client: EBSClient, snapshotId: string, index: number, token: string): Promise<Buffer> {
  const got = await client.send(
    new GetSnapshotBlockCommand({ SnapshotId: snapshotId, BlockIndex: index, BlockToken: token }),
  );
  const bytes = Buffer.from((await got.BlockData?.transformToByteArray()) ?? []);
  // The client itself does not look.
  if (got.Checksum !== sha256(bytes) || got.DataLength !== bytes.length) throw new Error('the checksum is wrong');
  return bytes;
}

/** The index and token of every written block, page by page. */
export async function listBlocks(client: EBSClient, snapshotId: string): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  for (let NextToken: string | undefined; ;) {
    const page = await client.send(
      new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, MaxResults: 100, NextToken }),
    );
    for (const { BlockIndex = -1, BlockToken = '' } of page.Blocks ?? []) found.set(BlockIndex, BlockToken);
    if (page.NextToken === undefined) return found;
    NextToken = page.NextToken;
  }
}

/** Every written block. */
export async function readSnapshot(client: EBSClient, snapshotId: string): Promise<Map<number, Buffer>> {
  const blocks = new Map<number, Buffer>();
  for (const [index, token] of await listBlocks(client, snapshotId))
    blocks.set(index, await getBlock(client, snapshotId, index, token));
  return blocks;
}

export async function changedBlocks(
  client: EBSClient,
  first: string | undefined,
  second: string,
): Promise<{ readonly index: number; readonly first: string | undefined; readonly second: string | undefined }[]> {
  const found: { index: number; first: string | undefined; second: string | undefined }[] = [];
  for (let NextToken: string | undefined; ;) {
    const page = await client.send(
      new ListChangedBlocksCommand({ FirstSnapshotId: first, SecondSnapshotId: second, MaxResults: 100, NextToken }),
    );
    for (const { BlockIndex = -1, FirstBlockToken, SecondBlockToken } of page.ChangedBlocks ?? [])
      found.push({ index: BlockIndex, first: FirstBlockToken, second: SecondBlockToken });
    if (page.NextToken === undefined) return found;
    NextToken = page.NextToken;
  }
}
