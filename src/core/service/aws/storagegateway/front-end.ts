/**
 * The Storage Gateway API (reference/aws-wire.md): `POST /` on the listener of customers, JSON 1.1, the operation in
 * `X-Amz-Target`. Every request is authenticated, then held against the published model, then answered; whatever fails becomes
 * one of the model's errors.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { parseShallowJson, SgwError, toSgwError, type ErrorKind } from '../../../kit/index.ts';
import type { FrontEnd } from '../../server/front-end.ts';
import { Background } from './background.ts';
import type { ApiParts, Caller } from './caller.ts';
import { answerTo, answerToServer, isFault, NotAuthenticated, notServed, unknownOperation } from './errors.ts';
import { INPUTS, OTHER_OPERATIONS, TARGET_PREFIX } from './model-names.ts';
import { OPERATIONS, type OperationName } from './operations.ts';
import { checkShape, SerializationError } from './shapes.ts';

const CONTENT_TYPE = 'application/x-amz-json-1.1';
/** The largest request has lists of ARNs. */
const BODY_BYTES_MAX = 1024 * 1024;
/** Clients give up after a minute. */
const REQUEST_MS = 55_000;

/** Kinds of failures that are the sender's, and not of what knows the keys. */
const UNPROVED: readonly ErrorKind[] = ['denied', 'invalid', 'unsupported'];

/** What the front end needs of the server. */
export function storageGatewayApi(parts: ApiParts): FrontEnd {
  const background = new Background(parts.log);
  return {
    name: 'storagegateway',
    listener: 'api',
    add: (app) => {
      addRoute(app, parts, background);
    },
    close: async () => {
      await background.close();
    },
  };
}

function addRoute(app: FastifyInstance, parts: ApiParts, background: Background): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: BODY_BYTES_MAX }, (_request, body, done) => {
    done(null, body);
  });
  app.setErrorHandler(async (error, request, reply) => {
    const { status, body } = answerToServer(error);
    if (status === 500) parts.log.error({ requestId: request.id, err: toSgwError(error) }, 'a request failed');
    await send(reply, status, JSON.stringify(body));
  });
  app.post('/', { bodyLimit: BODY_BYTES_MAX }, async (request, reply) => {
    const target = request.headers['x-amz-target'];
    const name = typeof target === 'string' ? target : '';
    const operation = name.startsWith(TARGET_PREFIX) ? name.slice(TARGET_PREFIX.length) : '';
    try {
      const result = await answer(parts, background, request, operation);
      await send(reply, 200, JSON.stringify(result, epochSeconds));
    } catch (error) {
      await answerError(parts, request, reply, operation, error);
    }
  });
}

async function answer(
  parts: ApiParts,
  background: Background,
  request: FastifyRequest,
  operation: string,
): Promise<object> {
  const { method, url, headers } = request.raw;
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const signed = { method: method ?? 'POST', url: url ?? '/', headers, body };
  const { user } = await parts.authenticator.verify(signed, 'storagegateway').catch((error: unknown) => {
    const failure = toSgwError(error);
    throw UNPROVED.includes(failure.kind) ? new NotAuthenticated(failure) : failure;
  });
  if (!isServed(operation))
    throw OTHER_OPERATIONS.includes(operation) ? notServed(operation) : unknownOperation(operation);
  const input = checkShape(INPUTS[operation], parse(body));
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(REQUEST_MS)]);
  const onClose = (): void => {
    if (!request.raw.complete || request.socket.destroyed)
      ended.abort(new SgwError('aborted', 'aborted', 'the client is gone'));
  };
  request.socket.once('close', onClose);
  const deadlineMs = parts.context.blocks.clock.nowMs() + REQUEST_MS;
  const caller: Caller = { parts, background, user, accountId: user.accountId, signal, deadlineMs };
  try {
    // The input has the shape that the operation's model gives it.
    return await (OPERATIONS[operation] as (input: unknown, caller: Caller) => Promise<object>)(input, caller);
  } finally {
    request.socket.off('close', onClose);
  }
}

const isServed = (operation: string): operation is OperationName => Object.hasOwn(OPERATIONS, operation);

/** @throws SerializationError */
function parse(body: Buffer): unknown {
  try {
    return parseShallowJson(body.toString('utf8'));
  } catch {
    throw new SerializationError('the body is no JSON');
  }
}

/** Times are seconds. `this` has the value before it was made text. */
function epochSeconds(this: Readonly<Record<string, unknown>>, key: string, value: unknown): unknown {
  const original = this[key];
  return original instanceof Date ? original.getTime() / 1000 : value;
}

async function answerError(
  { log }: ApiParts,
  { id }: FastifyRequest,
  reply: FastifyReply,
  operation: string,
  error: unknown,
): Promise<void> {
  const failure = toSgwError(error);
  const { status, body } = answerTo(operation, error);
  if (isFault(failure)) log.error({ requestId: id, operation, err: failure }, 'a request failed');
  await send(reply, status, JSON.stringify(body));
}

async function send(reply: FastifyReply, status: number, body: string): Promise<void> {
  await reply.code(status).header('x-amzn-requestid', reply.request.id).type(CONTENT_TYPE).send(body);
}
