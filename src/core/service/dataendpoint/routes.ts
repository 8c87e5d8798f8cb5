/**
 * The store contract over HTTP (docs/formats/data-endpoint.md), for whatever store a request is given. It knows nothing of
 * rights: those are in the store that it asks for.
 */
import { crc32 } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ERROR_KINDS, SgwError, toSgwError, type Clock, type Logger } from '../../kit/index.ts';
import type {
  ByteSpan,
  CallOptions,
  ObjectBody,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  PutResult,
  StreamedBody,
} from '../../objectstore/index.ts';
import {
  crcText,
  FOLDERS_PATH,
  HEADERS,
  OBJECTS_PATH,
  OUTCOMES,
  refusalText,
  REPLY_BYTES_MAX,
} from '../../objectstore/service/index.ts';
import type { Budget } from './budget.ts';
import { incomingBody } from './incoming.ts';

/** The largest object that is taken. */
const OBJECT_BYTES_MAX = 256 * 1024 * 1024;
/** An answer that nobody reads on for so long is given up. */
const STALLED_MS = 60_000;

export interface Served {
  readonly store: ObjectStore;
  /** Whose request it is, for the bounds. */
  readonly asker: { readonly gatewayId: string; readonly accountId: string };
}

export interface RouteParts {
  readonly budget: Budget;
  readonly clock: Clock;
  readonly log: Logger;
  /** What a request may work on. @throws denied */
  readonly serve: (request: FastifyRequest) => Promise<Served>;
}

/** One request with what it holds. */
interface Work extends Served {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly signal: AbortSignal;
  readonly call: CallOptions;
}

export function addRoutes(app: FastifyInstance, parts: RouteParts): void {
  // Bodies are read by who stores them.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => {
    done(null);
  });
  app.setErrorHandler((error, request, reply) => {
    const failure = toSgwError(error);
    if (failure.kind === 'internal' || failure.kind === 'corrupt')
      parts.log.error({ code: failure.code, reason: failure.message, url: request.url }, 'data endpoint failed');
    if (!reply.raw.destroyed) sendFailure(reply, failure);
  });
  const route = (method: 'GET' | 'HEAD' | 'PUT' | 'DELETE', url: string, work: (work: Work) => Promise<void>): void => {
    app.route({
      method,
      url,
      exposeHeadRoute: false,
      handler: async (request, reply) => {
        await run(parts, request, reply, work);
        return reply;
      },
    });
  };
  route('GET', `${OBJECTS_PATH}/*`, async (work) => getObject(parts, work));
  route('HEAD', `${OBJECTS_PATH}/*`, headObject);
  route('PUT', `${OBJECTS_PATH}/*`, async (work) => putObject(parts, work));
  route('DELETE', `${OBJECTS_PATH}/*`, deleteObject);
  route('GET', OBJECTS_PATH, listObjects);
  route('GET', FOLDERS_PATH, listFolders);
}

/** Within the bounds of its gateway, and until who asked goes away. */
async function run(
  parts: RouteParts,
  request: FastifyRequest,
  reply: FastifyReply,
  work: (work: Work) => Promise<void>,
): Promise<void> {
  const served = await parts.serve(request);
  const leave = parts.budget.enter(served.asker);
  const gone = new AbortController();
  const onClose = (): void => {
    gone.abort(new SgwError('aborted', 'aborted', 'whoever asked has gone'));
  };
  reply.raw.once('close', onClose);
  try {
    await work({ ...served, request, reply, signal: gone.signal, call: { signal: gone.signal } });
  } finally {
    reply.raw.off('close', onClose);
    leave();
  }
}

/** The key in the path, as it stands there: keys need no escapes. */
function keyOf(request: FastifyRequest): string {
  const path = request.raw.url ?? '';
  return path.slice(OBJECTS_PATH.length + 1).split('?', 1)[0] ?? '';
}

async function getObject(parts: RouteParts, work: Work): Promise<void> {
  const { request, reply, store, asker, signal, call } = work;
  const key = keyOf(request);
  const span = spanOf(request.headers.range);
  const wanted = etagOf(request.headers['if-match']);
  const mostBytes = span === undefined ? REPLY_BYTES_MAX : 'suffix' in span ? span.suffix : span.length;
  const release = await parts.budget.take(asker, Math.min(mostBytes, REPLY_BYTES_MAX), signal);
  try {
    const part = await readPart(store, key, span, call);
    if (part === undefined) {
      sendAbsent(reply);
      return;
    }
    const { body, start } = part;
    if (wanted !== undefined && wanted !== body.etag) {
      reply.code(412).header(HEADERS.outcome, OUTCOMES.preconditionFailed).send();
      return;
    }
    const { bytes, sizeBytes } = body;
    const isWhole = bytes.length === sizeBytes;
    describe(reply, body)
      .code(isWhole ? 200 : 206)
      .header('content-type', 'application/octet-stream')
      .header(HEADERS.crc32, crcText(crc32(bytes)));
    if (!isWhole)
      reply.header('content-range', `bytes ${String(start)}-${String(start + bytes.length - 1)}/${String(sizeBytes)}`);
    reply.send(bytes);
    await finished(reply, parts.clock);
  } finally {
    release();
  }
}

/** What was asked for, cut to what one answer carries; where it begins is known once the size is. */
async function readPart(
  store: ObjectStore,
  key: string,
  span: ByteSpan | undefined,
  call: CallOptions,
): Promise<{ readonly body: ObjectBody; readonly start: number } | undefined> {
  if (span !== undefined && 'suffix' in span && span.suffix > REPLY_BYTES_MAX) {
    const info = await store.head(key, call);
    if (info === undefined) return undefined;
    const start = Math.max(0, info.sizeBytes - span.suffix);
    const body = await store.get(key, { ...call, span: { offset: start, length: REPLY_BYTES_MAX } });
    if (body !== undefined && body.etag !== info.etag)
      throw new SgwError('unavailable', 'object-changed', `${key} was replaced while it was read`);
    return body === undefined ? undefined : { body, start };
  }
  if (span !== undefined) {
    const cut = 'suffix' in span ? span : { offset: span.offset, length: Math.min(span.length, REPLY_BYTES_MAX) };
    const body = await store.get(key, { ...call, span: cut });
    if (body === undefined) return undefined;
    return { body, start: 'suffix' in span ? body.sizeBytes - body.bytes.length : span.offset };
  }
  // Of nothing no part can be asked for.
  const body = await store
    .get(key, { ...call, span: { offset: 0, length: REPLY_BYTES_MAX } })
    .catch((error: unknown) => {
      if (toSgwError(error).code !== 'span-past-end') throw error;
      return store.get(key, call);
    });
  return body === undefined ? undefined : { body, start: 0 };
}

/** Until what was sent is with the sockets, or nobody takes it. */
async function finished(reply: FastifyReply, clock: Pick<Clock, 'sleep'>): Promise<void> {
  const { raw } = reply;
  const done = new AbortController();
  await new Promise<void>((resolve) => {
    if (raw.writableFinished || raw.destroyed) resolve();
    raw.once('finish', resolve);
    raw.once('close', resolve);
    clock.sleep(STALLED_MS, done.signal).then(
      () => {
        raw.destroy();
        resolve();
      },
      () => undefined,
    );
  });
  done.abort();
}

async function headObject({ request, reply, store, call }: Work): Promise<void> {
  const info = await store.head(keyOf(request), call);
  if (info === undefined) sendAbsent(reply);
  else describe(reply, info).code(200).send();
}

async function putObject(parts: RouteParts, work: Work): Promise<void> {
  const { request, reply, store, signal, asker } = work;
  const key = keyOf(request);
  const body = incomingBody(request.headers, request.raw, OBJECT_BYTES_MAX, parts.clock);
  const options: PutOptions = { signal, ...conditionOf(request), ...callIdOf(request) };
  const result = await storeBody(parts, { store, asker, signal }, key, body, options).finally(() => {
    // What nobody wants any more goes by, so that the answer reaches who sends it.
    request.raw.resume();
  });
  if (result.outcome === 'stored') {
    reply.code(200).header(HEADERS.outcome, OUTCOMES.stored).header('etag', `"${result.etag}"`).send();
    return;
  }
  const outcome = result.ambiguous === true ? OUTCOMES.ambiguous : OUTCOMES.preconditionFailed;
  reply.code(412).header(HEADERS.outcome, outcome).send();
}

async function storeBody(
  parts: RouteParts,
  { store, asker, signal }: Pick<Work, 'store' | 'asker' | 'signal'>,
  key: string,
  body: StreamedBody,
  options: PutOptions,
): Promise<PutResult> {
  if (store.putStream !== undefined) return await store.putStream(key, body, options);
  const release = await parts.budget.take(asker, body.sizeBytes, signal);
  try {
    return await store.put(key, await collect(body), options);
  } finally {
    release();
  }
}

/** A body in memory: who asks for it has taken its bytes from the budget. */
async function collect(body: StreamedBody): Promise<Uint8Array[]> {
  return await Array.fromAsync(body.pieces);
}

async function deleteObject({ request, reply, store, call }: Work): Promise<void> {
  const ifMatch = etagOf(request.headers['if-match']);
  const isDeleted = await store.delete(keyOf(request), ifMatch === undefined ? call : { ...call, ifMatch });
  if (isDeleted) reply.code(200).header(HEADERS.outcome, OUTCOMES.deleted).send();
  else sendAbsent(reply);
}

async function listObjects(work: Work): Promise<void> {
  const { prefix, startAfter, limit } = queryOf(work.request);
  const objects = work.store.list(prefix, {
    ...work.call,
    ...(startAfter === '' ? {} : { startAfter }),
    ...(limit === undefined ? {} : { limit }),
  });
  await sendLines(work, objects, ({ key, sizeBytes, etag }) => [key, sizeBytes, etag]);
}

async function listFolders(work: Work): Promise<void> {
  await sendLines(work, work.store.listFolders(queryOf(work.request).prefix, work.call), (folder) => folder);
}

/** Line by line, as fast as they are taken; the last one says that the list is whole, or what it failed with. */
async function sendLines<T>({ reply }: Work, items: AsyncIterable<T>, lineOf: (item: T) => unknown): Promise<void> {
  const iterator = items[Symbol.asyncIterator]();
  // What fails at once is answered as any other call.
  let next = await iterator.next();
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, { 'content-type': 'application/x-ndjson', [HEADERS.outcome]: OUTCOMES.found });
  try {
    while (next.done !== true) {
      await writeLine(raw, lineOf(next.value));
      if (raw.destroyed) return;
      next = await iterator.next();
    }
    await writeLine(raw, { end: true });
  } catch (error) {
    await writeLine(raw, { error: toSgwError(error).toDocument() });
  } finally {
    await iterator.return?.(undefined);
    raw.end();
  }
}

type RawReply = FastifyReply['raw'];

async function writeLine(raw: RawReply, line: unknown): Promise<void> {
  if (raw.destroyed || raw.write(`${JSON.stringify(line)}\n`)) return;
  await new Promise<void>((resolve) => {
    raw.once('drain', resolve);
    raw.once('close', resolve);
  });
}

const describe = (reply: FastifyReply, { sizeBytes, etag }: ObjectInfo): FastifyReply =>
  reply.header(HEADERS.outcome, OUTCOMES.found).header(HEADERS.size, String(sizeBytes)).header('etag', `"${etag}"`);

function sendAbsent(reply: FastifyReply): void {
  reply.code(404).header(HEADERS.outcome, OUTCOMES.absent).send();
}

function sendFailure(reply: FastifyReply, failure: SgwError): void {
  const body = JSON.stringify({ error: failure.toDocument() });
  const text = reply.request.method === 'HEAD' ? refusalText(body) : undefined;
  if (text !== undefined) void reply.header(HEADERS.refusal, text);
  reply.code(ERROR_KINDS[failure.kind].httpStatus).header('content-type', 'application/json; charset=utf-8').send(body);
}

/** @throws invalid `bad-request` for a range of another form than those of the contract */
function spanOf(range: string | undefined): ByteSpan | undefined {
  if (range === undefined) return undefined;
  const [, from, to] = /^bytes=(\d{0,16})-(\d{0,16})$/.exec(range) ?? [];
  if (from === '' && to !== undefined && to !== '') return { suffix: Number(to) };
  if (from !== undefined && from !== '' && to !== undefined && to !== '' && Number(to) >= Number(from))
    return { offset: Number(from), length: Number(to) - Number(from) + 1 };
  throw badRequest('its range is none');
}

function etagOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const etag = /^"([^\s",*]+)"$/.exec(header)?.[1];
  if (etag === undefined) throw badRequest('its If-Match is not one etag in quotes');
  return etag;
}

function conditionOf(request: FastifyRequest): Pick<PutOptions, 'condition'> {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers;
  const etag = etagOf(ifMatch);
  if (etag !== undefined && ifNoneMatch === undefined) return { condition: { ifMatch: etag } };
  if (etag === undefined && ifNoneMatch === '*') return { condition: { ifAbsent: true } };
  if (etag === undefined && ifNoneMatch === undefined) return {};
  throw badRequest('its conditions are none that a store knows');
}

function callIdOf(request: FastifyRequest): Pick<PutOptions, 'callId'> {
  const callId = request.headers[HEADERS.callId];
  if (callId === undefined) return {};
  if (typeof callId === 'string' && /^[\w-]{1,100}$/.test(callId)) return { callId };
  throw badRequest('its call id is none');
}

function queryOf(request: FastifyRequest): {
  readonly prefix: string;
  readonly startAfter: string;
  readonly limit: number | undefined;
} {
  const query = new URLSearchParams((request.raw.url ?? '').split('?')[1] ?? '');
  const limit = query.get('limit');
  return {
    prefix: query.get('prefix') ?? '',
    startAfter: query.get('startAfter') ?? '',
    limit: limit === null ? undefined : Number(limit),
  };
}

const badRequest = (what: string): SgwError =>
  new SgwError('invalid', 'bad-request', `the request can not be read: ${what}`);
