/**
 * The EBS direct API: six operations over `service/blocks`, wire-exact, so that unmodified AWS SDKs and CLIs read and write
 * snapshots (docs/SERVICE.md; the service's published model).
 *
 * Who asks is known before anything of a body is kept; a block is read whole into memory within a slot, held against its
 * length and both checksums, and only then stored.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { API_BLOCK_BYTES } from '../../../blockstore/index.ts';
import type { UploadEntry } from '../../../blockstore/uploads/index.ts';
import { Deadline, GIB, problemOfName } from '../../../kit/index.ts';
import { SnapshotBlocks, type BlockPage } from '../../blocks/snapshot-blocks.ts';
import { SnapshotUploads } from '../../blocks/snapshot-uploads.ts';
import { BlockTokens } from '../../blocks/tokens.ts';
import type { Asker } from '../../exportcontrol/export-control.ts';
import type { FrontEnd, ServerParts } from '../../server/front-end.ts';
import { BlockMemory, freeWhenSent } from '../../blocks/block-memory.ts';
import { drained, readBlockBody, readBody, requireBlock } from '../../blocks/body.ts';
import { ebsAnswerOf } from './errors.ts';
import {
  blockIndexOf,
  blockTokenOf,
  claimOf,
  firstSnapshotOf,
  pageWishOf,
  putRequestOf,
  snapshotIdOf,
  startRequestOf,
} from './requests.ts';
import { Slots, type SlotLimits } from '../../blocks/slots.ts';

export type EbsParts = Pick<ServerParts, 'context' | 'log' | 'authenticator' | 'exports' | 'quotas' | 'serviceKey'>;

const PURPOSE = 'sgw-block-tokens-1';
/** Of a request to start a snapshot. */
const JSON_BYTES_MAX = 64 * 1024;
/** A listing reads what it lists; a block waits for a slot, and then for the store. */
const DEADLINE_MS = 100_000;

interface BlockPath {
  readonly snapshotId: string;
  readonly blockIndex: string;
}

export function ebsFrontEnd(parts: EbsParts, limits: Partial<SlotLimits> = {}): FrontEnd {
  const routes = new EbsRoutes(parts, limits);
  return {
    name: 'ebs',
    listener: 'api',
    add: (app) => {
      routes.add(app);
    },
    close: async () => {
      await routes.close();
    },
  };
}

class EbsRoutes {
  readonly #parts: EbsParts;
  readonly #blocks: SnapshotBlocks;
  readonly #uploads: SnapshotUploads;
  readonly #slots: Slots;
  readonly #memory = new BlockMemory();
  readonly #closed = new AbortController();
  #resuming: Promise<void> = Promise.resolve();

  constructor(parts: EbsParts, limits: Partial<SlotLimits>) {
    const { context, exports, quotas, serviceKey, log } = parts;
    this.#parts = parts;
    const tokens = new BlockTokens(serviceKey.derive(PURPOSE), context.blocks.clock);
    this.#blocks = new SnapshotBlocks(context, exports, tokens, this.#closed.signal);
    this.#uploads = new SnapshotUploads({ context, exports, quotas, log });
    this.#slots = new Slots(limits);
  }

  add(app: FastifyInstance): void {
    // As they come: what is signed are the bytes, and a block is a stream.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, payload, done) => {
      done(null, payload);
    });
    app.setErrorHandler(async (error, request, reply) => await this.#fail(error, request, reply));
    app.addHook('onSend', async (request, reply) => {
      void reply.header('x-amzn-requestid', request.id);
      return Promise.resolve();
    });
    app.post('/snapshots', async (request, reply) => await this.#start(request, reply));
    app.post<{ Params: { snapshotId: string } }>('/snapshots/completion/:snapshotId', async (request, reply) =>
      this.#complete(request, request.params.snapshotId, reply),
    );
    app.get<{ Params: { snapshotId: string } }>('/snapshots/:snapshotId/blocks', async (request, reply) =>
      this.#list(request, request.params.snapshotId, reply),
    );
    app.get<{ Params: { snapshotId: string } }>('/snapshots/:snapshotId/changedblocks', async (request, reply) =>
      this.#listChanged(request, request.params.snapshotId, reply),
    );
    app.get<{ Params: BlockPath }>('/snapshots/:snapshotId/blocks/:blockIndex', async (request, reply) =>
      this.#get(request, request.params, reply),
    );
    app.put<{ Params: BlockPath }>(
      '/snapshots/:snapshotId/blocks/:blockIndex',
      { bodyLimit: API_BLOCK_BYTES + 1 },
      async (request, reply) => this.#put(request, request.params, reply),
    );
    this.#resuming = this.#resume();
  }

  async #resume(): Promise<void> {
    try {
      await this.#uploads.resume(this.#closed.signal);
    } catch (error) {
      if (!this.#closed.signal.aborted)
        this.#parts.log.warn({ err: error }, 'snapshots that are being completed could not be looked for');
    }
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#uploads.close();
    await this.#resuming;
  }

  async #start(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { bytes } = await readBody(request.body, JSON_BYTES_MAX);
    const asker = await this.#askerOf(request, bytes);
    const wish = startRequestOf(bytes);
    const { sizeGib, timeoutMinutes, tags, ...rest } = wish;
    const name = tags['Name'];
    using deadline = this.#deadline();
    const entry = await this.#uploads.start(
      asker,
      {
        ...rest,
        tags,
        // Whoever lists snapshots at a gateway sees it under this name.
        name: name !== undefined && problemOfName(name) === undefined ? name : '',
        sizeBytes: sizeGib * GIB,
        timeoutMs: timeoutMinutes * 60_000,
      },
      deadline.signal,
    );
    return await reply.code(201).send(startedOf(entry));
  }

  async #put(request: FastifyRequest, path: BlockPath, reply: FastifyReply): Promise<FastifyReply> {
    const isNamed = request.headers['x-amz-content-sha256'] !== undefined;
    using deadline = this.#deadline();
    const { signal } = deadline;
    // What does not say how its body is signed can only be checked with the body.
    const early = isNamed
      ? undefined
      : await this.#slots.run(null, signal, async () =>
          readBlockBody(request.body, Buffer.allocUnsafeSlow(API_BLOCK_BYTES)),
        );
    const { user, payloadSha256 } = await this.#verify(request, early?.bytes ?? null);
    const asker = askerOf(user);
    const snapshotId = snapshotIdOf(path.snapshotId);
    const block = blockIndexOf(path.blockIndex);
    const { sha256 } = putRequestOf(request.headers);
    await this.#slots.run(asker.accountId, signal, async () => {
      const entry = await this.#uploads.find(asker, snapshotId, signal);
      await this.#memory.run(async (memory) => {
        const body = early ?? (await readBlockBody(request.body, memory));
        requireBlock(body, sha256, payloadSha256);
        await this.#uploads.put(entry, { block, bytes: body.bytes, sha256 }, signal);
      });
    });
    return await reply.code(201).headers(checksumHeaders(sha256)).send();
  }

  async #complete(request: FastifyRequest, snapshotId: string, reply: FastifyReply): Promise<FastifyReply> {
    const asker = await this.#askerOf(request, (await readBody(request.body, JSON_BYTES_MAX)).bytes);
    const id = snapshotIdOf(snapshotId);
    using deadline = this.#deadline();
    const status = await this.#uploads.complete(asker, id, claimOf(request.headers), deadline.signal);
    return await reply.code(202).send({ Status: status });
  }

  async #list(request: FastifyRequest, snapshotId: string, reply: FastifyReply): Promise<FastifyReply> {
    const asker = await this.#askerOf(request, Buffer.alloc(0));
    const wish = pageWishOf(request.query as Record<string, string>);
    using deadline = this.#deadline();
    const page = await this.#blocks.list(asker, snapshotIdOf(snapshotId), wish, deadline.signal);
    const blocks = page.blocks.map(({ block, token }) => ({ BlockIndex: block, BlockToken: token }));
    return await reply.send({ Blocks: blocks, ...pageOf(page) });
  }

  async #listChanged(request: FastifyRequest, snapshotId: string, reply: FastifyReply): Promise<FastifyReply> {
    const asker = await this.#askerOf(request, Buffer.alloc(0));
    const query = request.query as Record<string, string>;
    const of = { first: firstSnapshotOf(query), second: snapshotIdOf(snapshotId) };
    using deadline = this.#deadline();
    const page = await this.#blocks.listChanged(asker, of, pageWishOf(query), deadline.signal);
    const changed = page.blocks.map(({ block, firstToken, secondToken }) => ({
      BlockIndex: block,
      ...(firstToken === null ? {} : { FirstBlockToken: firstToken }),
      ...(secondToken === null ? {} : { SecondBlockToken: secondToken }),
    }));
    return await reply.send({ ChangedBlocks: changed, ...pageOf(page) });
  }

  async #get(request: FastifyRequest, path: BlockPath, reply: FastifyReply): Promise<FastifyReply> {
    const asker = await this.#askerOf(request, Buffer.alloc(0));
    const token = blockTokenOf(request.query as Record<string, string>);
    const of = { snapshotId: snapshotIdOf(path.snapshotId), block: blockIndexOf(path.blockIndex), token };
    using deadline = this.#deadline();
    const { signal } = deadline;
    const { bytes, sha256 } = await this.#slots.run(
      asker.accountId,
      signal,
      async () => await this.#blocks.read(asker, of, signal),
    );
    freeWhenSent(reply, bytes);
    return await reply
      .headers({ ...checksumHeaders(sha256), 'x-amz-Data-Length': String(bytes.length) })
      .type('application/octet-stream')
      .send(bytes);
  }

  async #askerOf(request: FastifyRequest, body: Buffer): Promise<Asker> {
    return askerOf((await this.#verify(request, body)).user);
  }

  async #verify(
    { method, url, headers }: FastifyRequest,
    body: Buffer | null,
  ): Promise<Awaited<ReturnType<EbsParts['authenticator']['verify']>>> {
    return await this.#parts.authenticator.verify({ method, url, headers, body }, 'ebs');
  }

  #deadline(): Deadline {
    return new Deadline(this.#closed.signal, DEADLINE_MS, this.#parts.context.blocks.clock);
  }

  async #fail(error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { status, type, body, bug } = ebsAnswerOf(error);
    if (bug !== null) this.#parts.log.error({ requestId: request.id, err: bug }, 'a request could not be answered');
    if (!request.raw.complete && !(await drained(request.raw))) void reply.header('connection', 'close');
    return await reply.code(status).header('x-amzn-errortype', type).send(body);
  }
}

type User = Awaited<ReturnType<EbsParts['authenticator']['verify']>>['user'];

const askerOf = ({ accountId, accessKeyId }: User): Asker => ({ gatewayId: null, accountId, accessKeyId });

/** `sha256` in hex. */
const checksumHeaders = (sha256: string): Record<string, string> => ({
  'x-amz-Checksum': Buffer.from(sha256, 'hex').toString('base64'),
  'x-amz-Checksum-Algorithm': 'SHA256',
});

function pageOf({ goodUntilMs, sizeBytes, nextToken }: BlockPage<unknown>): object {
  return {
    ExpiryTime: goodUntilMs / 1000,
    VolumeSize: Math.ceil(sizeBytes / GIB),
    BlockSize: API_BLOCK_BYTES,
    ...(nextToken === null ? {} : { NextToken: nextToken }),
  };
}

function startedOf({ snapshotId, accountId, sizeBytes, createdAt, description, tags, upload }: UploadEntry): object {
  return {
    SnapshotId: snapshotId,
    OwnerId: accountId,
    Status: 'pending',
    StartTime: Math.floor(Date.parse(createdAt) / 1000),
    VolumeSize: sizeBytes / GIB,
    BlockSize: API_BLOCK_BYTES,
    Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
    ...(description === '' ? {} : { Description: description }),
    ...(upload.parent === null ? {} : { ParentSnapshotId: upload.parent.snapshotId }),
    SseType: 'none',
  };
}
