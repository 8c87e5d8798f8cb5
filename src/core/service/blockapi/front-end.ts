/**
 * The block API (docs/BLOCK_API.md): volumes without a gateway, for other people's appliances. Its routes are made of the table
 * in `protocol/blockapi`; each verifies who asks, holds the request against its schema, and makes one call.
 *
 * Who asks is known before anything of a block is kept; a block is read whole into memory within a slot, held against its
 * length and checksum, and only then stored.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { API_BLOCK_BYTES, type SnapshotEntry } from '../../blockstore/index.ts';
import { Deadline, isSnapshotId, isVolumeId, problemOfName, NAME_HINT, SgwError } from '../../kit/index.ts';
import {
  BLOCK_API,
  NewSnapshot,
  NewVolume,
  PAGE_MAX,
  type BlockApiName,
  type BlockApiOperation,
  type BlockList,
  type BlocksQuery,
  type ChangesQuery,
  type Deleted,
  type PageQuery,
  type Snapshot,
  type SnapshotList,
  type SnapshotsQuery,
  type Volume,
  type VolumeList,
} from '../../protocol/blockapi/index.ts';
import type { ReadBlock } from '../../blockstore/blocks/index.ts';
import { BlockMemory, freeWhenSent } from '../blocks/block-memory.ts';
import { drained, readBlockBody, readBody, requireBlock } from '../blocks/body.ts';
import { Slots, type SlotLimits } from '../blocks/slots.ts';
import { SnapshotBlocks, type BlockPage } from '../blocks/snapshot-blocks.ts';
import { BlockTokens } from '../blocks/tokens.ts';
import type { Asker } from '../exportcontrol/export-control.ts';
import { sendFailure } from '../server/failures.ts';
import type { FrontEnd, ServerParts } from '../server/front-end.ts';
import { ApiSnapshots, type ShownSnapshot } from './api-snapshots.ts';
import { BlockVolumes, requireInside } from './block-volumes.ts';
import { ReadingTimes } from './reading-times.ts';
import { afterOf, blockOf, digestHeader, digestOf, documentOf, queryOf } from './requests.ts';
import type { VolumeRecord } from './volume-records.ts';

export type BlockApiParts = Pick<
  ServerParts,
  'context' | 'log' | 'authenticator' | 'exports' | 'quotas' | 'serviceKey'
>;

const PURPOSE = 'sgw-block-api-tokens-1';
const JSON_BYTES_MAX = 64 * 1024;
const DEADLINE_MS = 100_000;

interface Call {
  readonly asker: Asker;
  readonly params: Readonly<Record<'volumeId' | 'snapshotId' | 'block', string>>;
  readonly query: unknown;
  readonly body: Buffer;
  readonly signal: AbortSignal;
}

/** What an operation answers with: a document, or a block. */
type Answer = object | ReadBlock;

export function blockApi(parts: BlockApiParts, limits: Partial<SlotLimits> = {}): FrontEnd {
  const routes = new BlockApiRoutes(parts, limits);
  return {
    name: 'blocks',
    listener: 'api',
    add: (app) => {
      routes.add(app);
    },
    close: async () => {
      await routes.close();
    },
  };
}

class BlockApiRoutes {
  readonly #parts: BlockApiParts;
  readonly #volumes: BlockVolumes;
  readonly #snapshots: ApiSnapshots;
  readonly #blocks: SnapshotBlocks;
  readonly #reading: ReadingTimes;
  readonly #slots: Slots;
  readonly #memory = new BlockMemory();
  readonly #closed = new AbortController();
  #resuming: Promise<void> = Promise.resolve();

  constructor(parts: BlockApiParts, limits: Partial<SlotLimits>) {
    const { context, exports, quotas, serviceKey, log } = parts;
    const { clock } = context.blocks;
    this.#parts = parts;
    this.#volumes = new BlockVolumes({ context, exports, quotas, log });
    this.#snapshots = new ApiSnapshots(context, exports);
    this.#blocks = new SnapshotBlocks(
      context,
      exports,
      new BlockTokens(serviceKey.derive(PURPOSE), clock),
      this.#closed.signal,
    );
    this.#reading = new ReadingTimes(clock);
    this.#slots = new Slots(limits);
  }

  add(app: FastifyInstance): void {
    // As they come: what is signed are the bytes, and a block is a stream.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, payload, done) => {
      done(null, payload);
    });
    app.setErrorHandler(async (error, request, reply) => await this.#fail(error, request, reply));
    for (const [name, operation] of Object.entries(BLOCK_API))
      app.route({
        method: operation.method,
        url: operation.path.replaceAll(/\{(\w+)\}/g, ':$1'),
        bodyLimit: API_BLOCK_BYTES + 1,
        handler: async (request, reply) => await this.#handle(name as BlockApiName, operation, request, reply),
      });
    this.#resuming = this.#resume();
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#volumes.close();
    await this.#resuming;
  }

  async #resume(): Promise<void> {
    try {
      await this.#volumes.resume(this.#closed.signal);
    } catch (error) {
      if (!this.#closed.signal.aborted)
        this.#parts.log.warn({ err: error }, 'volumes that another server left could not be looked for');
    }
  }

  async #handle(
    name: BlockApiName,
    operation: BlockApiOperation,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    using deadline = new Deadline(this.#closed.signal, DEADLINE_MS, this.#parts.context.blocks.clock);
    const { signal } = deadline;
    const params = request.params as Call['params'];
    if (operation.request === 'block') {
      await this.#put(request, params, signal);
      return await reply.code(operation.status).send();
    }
    const { bytes: body } = await readBody(request.body, JSON_BYTES_MAX);
    const asker = (await this.#verify(request, body)).asker;
    const query = queryOf(operation.query, request.query);
    const call: Call = { asker, params, query, body, signal };
    const answer = await this.#operations[name](call);
    void reply.code(operation.status).header('cache-control', 'no-store');
    if (operation.answer !== 'block') return await reply.send(answer);
    const { bytes, sha256 } = answer as ReadBlock;
    freeWhenSent(reply, bytes);
    return await reply.header('content-digest', digestHeader(sha256)).type('application/octet-stream').send(bytes);
  }

  readonly #operations: Readonly<Record<BlockApiName, (call: Call) => Promise<Answer>>> = {
    createVolume: async (call) => await this.#createVolume(call),
    listVolumes: async (call) => await this.#listVolumes(call),
    showVolume: async ({ asker, params, signal }) => volumeOf(await this.#volumes.show(asker, params.volumeId, signal)),
    deleteVolume: async ({ asker, params, signal }): Promise<Deleted> => ({
      id: params.volumeId,
      deleted: await this.#volumes.delete(asker, params.volumeId, signal),
    }),
    listVolumeBlocks: async (call) => await this.#listVolumeBlocks(call),
    putBlock: async () => Promise.reject(new SgwError('internal', 'assertion', 'a block that is put is a stream')),
    getBlock: async ({ asker, params, signal }) => {
      const block = blockOf(params.block);
      return await this.#slots.run(
        asker.accountId,
        signal,
        async () => await this.#volumes.read(asker, params.volumeId, block, signal),
      );
    },
    createSnapshot: async (call) => await this.#createSnapshot(call),
    listSnapshots: async (call) => await this.#listSnapshots(call),
    showSnapshot: async ({ asker, params, signal }) =>
      snapshotOf(await this.#snapshots.show(asker, params.snapshotId, signal)),
    deleteSnapshot: async ({ asker, params, signal }): Promise<Deleted> => ({
      id: params.snapshotId,
      deleted: await this.#snapshots.delete(asker, params.snapshotId, signal),
    }),
    listSnapshotBlocks: async ({ asker, params, query, signal }) =>
      blockListOf(await this.#blocks.list(asker, params.snapshotId, pageWishOf(query as BlocksQuery), signal)),
    listChangedBlocks: async ({ asker, params, query, signal }) => {
      const { since, ...page } = query as ChangesQuery;
      const of = { first: since, second: params.snapshotId };
      return blockListOf(await this.#blocks.listChanged(asker, of, pageWishOf(page), signal));
    },
    getSnapshotBlock: async (call) => await this.#getSnapshotBlock(call),
  };

  async #createVolume({ asker, body, signal }: Call): Promise<Volume> {
    const wish = documentOf(NewVolume, body);
    requireName(wish.name);
    const record = await this.#volumes.create(
      asker,
      {
        name: wish.name,
        sizeBytes: wish.sizeBytes ?? null,
        fromSnapshotId: wish.fromSnapshotId ?? null,
        ...{ description: wish.description ?? '', tags: wish.tags ?? {}, clientToken: wish.clientToken ?? null },
      },
      signal,
    );
    return volumeOf(record);
  }

  async #listVolumes({ asker, query, signal }: Call): Promise<VolumeList> {
    const { maxResults = PAGE_MAX.documents, nextToken } = query as PageQuery;
    const page = { after: afterOf(nextToken, isVolumeId), max: maxResults };
    const listed = await this.#volumes.list(asker, page, signal);
    return { volumes: listed.records.map(volumeOf), nextToken: listed.nextToken };
  }

  async #listVolumeBlocks({ asker, params, query, signal }: Call): Promise<BlockList> {
    const { maxResults = PAGE_MAX.blocks, startBlock = 0, nextToken } = query as BlocksQuery;
    const fromBlock = nextToken === undefined ? startBlock : blockOf(nextToken);
    const listed = await this.#volumes.listBlocks(asker, params.volumeId, { fromBlock, max: maxResults }, signal);
    const { blocks, sizeBytes, nextToken: next } = listed;
    return { blocks: [...blocks], sizeBytes, blockBytes: API_BLOCK_BYTES, nextToken: next };
  }

  async #createSnapshot({ asker, params, body, signal }: Call): Promise<Snapshot> {
    const { name, description = '', tags = {}, clientToken } = documentOf(NewSnapshot, body);
    if (name !== undefined) requireName(name);
    const wish = { name: name ?? null, description, tags, clientToken: clientToken ?? null };
    const entry = await this.#volumes.snapshot(asker, params.volumeId, wish, signal);
    return snapshotOf(this.#snapshots.shown(asker.accountId, entry));
  }

  async #listSnapshots({ asker, query, signal }: Call): Promise<SnapshotList> {
    const { maxResults = PAGE_MAX.documents, nextToken, volumeId } = query as SnapshotsQuery;
    const page = { volumeId: volumeId ?? null, after: afterOf(nextToken, isSnapshotId), max: maxResults };
    const listed = await this.#snapshots.list(asker, page, signal);
    return { snapshots: listed.snapshots.map(snapshotOf), nextToken: listed.nextToken };
  }

  async #getSnapshotBlock({ asker, params, signal }: Call): Promise<ReadBlock> {
    const { snapshotId } = params;
    const block = blockOf(params.block);
    return await this.#slots.run(
      asker.accountId,
      signal,
      async () =>
        await this.#reading.run(
          asker,
          snapshotId,
          async (recorded) => await this.#blocks.readOpen(asker, { snapshotId, block, recorded }, signal),
        ),
    );
  }

  async #put(request: FastifyRequest, params: Call['params'], signal: AbortSignal): Promise<void> {
    const { asker, payloadSha256 } = await this.#verify(request, null);
    const block = blockOf(params.block);
    const sha256 = digestOf(request.headers);
    await this.#slots.run(asker.accountId, signal, async () => {
      const record = await this.#volumes.show(asker, params.volumeId, signal);
      requireInside(record, block);
      await this.#memory.run(async (memory) => {
        const body = await readBlockBody(request.body, memory);
        requireBlock(body, sha256, payloadSha256);
        await this.#volumes.put(record, { block, bytes: body.bytes, sha256 }, signal);
      });
    });
  }

  async #verify(
    { method, url, headers }: FastifyRequest,
    body: Buffer | null,
  ): Promise<{ readonly asker: Asker; readonly payloadSha256: string | null }> {
    const verdict = await this.#parts.authenticator.verify({ method, url, headers, body }, 'sgw');
    this.#volumes.requireOpenStore();
    const { accountId, accessKeyId } = verdict.user;
    return { asker: { gatewayId: null, accountId, accessKeyId }, payloadSha256: verdict.payloadSha256 };
  }

  async #fail(error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (!request.raw.complete && !(await drained(request.raw))) void reply.header('connection', 'close');
    return await sendFailure(error, reply, this.#parts.log);
  }
}

/** @throws invalid `bad-name` */
function requireName(name: string): void {
  const problem = problemOfName(name);
  if (problem === undefined) return;
  throw new SgwError('invalid', 'bad-name', `the name "${name.slice(0, 64)}" ${problem}`, { hint: NAME_HINT });
}

function volumeOf(record: VolumeRecord): Volume {
  const { volumeId, name, accountId, sizeBytes, fromSnapshotId, description, tags, createdAt } = record;
  return {
    ...{ volumeId, name, accountId, sizeBytes, blockBytes: API_BLOCK_BYTES, fromSnapshotId, description },
    ...{ tags: { ...tags }, createdAt },
  };
}

function snapshotOf({ entry, readable }: ShownSnapshot): Snapshot {
  const { snapshotId, name, reason, volumeId, volumeName, accountId, sizeBytes, description, tags } = entry;
  return {
    ...{ snapshotId, name, state: stateOf(entry), reason, volumeId, volumeName, accountId, sizeBytes },
    ...{ blockBytes: API_BLOCK_BYTES, description, tags: { ...tags }, readable },
    ...{ createdAt: entry.createdAt, completedAt: entry.completedAt },
  };
}

/** One that was deleted meanwhile is as good as failed. */
const stateOf = ({ state }: SnapshotEntry): Snapshot['state'] => (state === 'deleted' ? 'failed' : state);

const pageWishOf = ({
  startBlock = 0,
  maxResults = PAGE_MAX.blocks,
  nextToken,
}: BlocksQuery): { readonly pageToken: string | null; readonly fromBlock: number; readonly max: number } => ({
  pageToken: nextToken ?? null,
  fromBlock: startBlock,
  max: maxResults,
});

function blockListOf(page: BlockPage<{ readonly block: number }>): BlockList {
  const { blocks, sizeBytes, nextToken } = page;
  return { blocks: blocks.map(({ block }) => block), sizeBytes, blockBytes: API_BLOCK_BYTES, nextToken };
}
