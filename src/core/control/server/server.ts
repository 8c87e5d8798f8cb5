/**
 * The local API over HTTP on a unix socket, by fastify: see `localapi/wire.ts`.
 *
 * States: made -> listening -> refusing (no new calls) -> closed. Invariants: at most `CALLS_MAX` calls are under way; a call
 * whose caller goes away is told so by its signal; bodies are never logged.
 */
import { once } from 'node:events';
import type { Server } from 'node:http';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { ERROR_KINDS, ownerOnly, SgwError, toSgwError, type Clock, type Logger } from '../../kit/index.ts';
import {
  METRICS_PATH,
  notBegun,
  PING_PATH,
  type CallContext,
  type CallRequest,
  type Handlers,
  type OperationName,
  type SecretAnswer,
} from '../../localapi/index.ts';
import { listenError } from '../../sockets/index.ts';
import { Asks } from './asks.ts';
import { CallReply } from './call-reply.ts';
import { AnswerBody, BODY_BYTES_MAX, CallBody } from './requests.ts';

const CALLS_MAX = 256;
const CONNECTIONS_MAX = 1024;
/** A request is a few lines from the same machine. */
const REQUEST_TIMEOUT_MS = 30_000;
/** How long callers may take to read what was answered, when the server closes. */
const CLOSE_GRACE_MS = 2000;
/** Operations that only look: what they did is no news. */
const LOOKING = /(?:^status|\.(?:list|show|map|diff|stats|check|logs|metrics))$/;

export interface LocalServerOptions {
  /** For an account, or the home's own. */
  readonly handlersFor: (accountId: string | undefined) => Handlers;
  /** In the text format of Prometheus. */
  readonly metrics: () => Promise<string>;
  readonly version: string;
  readonly clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly log: Logger;
}

export class LocalServer {
  readonly #options: LocalServerOptions;
  readonly #app: FastifyInstance;
  readonly #asks = new Asks();
  /** Calls under way. */
  readonly #calls = new Set<{ readonly operation: string; readonly stop: AbortController }>();
  #refusal: SgwError | undefined;

  constructor(options: LocalServerOptions) {
    this.#options = options;
    this.#app = newApp();
    this.#app.get(PING_PATH, () => ({
      pid: process.pid,
      version: options.version,
      state: this.#refusal === undefined ? 'serving' : 'stopping',
    }));
    addMetrics(this.#app, options.metrics);
    this.#app.post<{ Params: { askId: string }; Body: SecretAnswer }>(
      '/v1/answers/:askId',
      { schema: { body: AnswerBody } },
      async (request, reply) => {
        const isTaken = this.#asks.answer(request.params.askId, request.body);
        return await reply.code(isTaken ? 204 : 404).send();
      },
    );
    this.#app.post<{ Params: { operation: string }; Body: CallRequest }>(
      '/v1/:operation',
      { schema: { body: CallBody } },
      async (request, reply) => this.#answer(request.params.operation, request, reply),
    );
  }

  get callsUnderWay(): number {
    return this.#calls.size;
  }

  /** Listens on a socket at `path` that only its owner can use. The path must be free. */
  async listen(path: string): Promise<void> {
    await this.#app.ready();
    const server: Server = this.#app.server;
    server.maxConnections = CONNECTIONS_MAX;
    ownerOnly(() => {
      server.listen(path);
    });
    await once(server, 'listening');
  }

  /** From now on calls other than `gateway.*` fail with `reason`, told as not begun; those under way go on. */
  refuse(reason: SgwError): void {
    this.#refusal = reason;
  }

  /** Stops the calls under way but `gateway.*`, and waits until they ended, for at most `graceMs`. */
  async stopCalls(reason: SgwError, graceMs: number): Promise<void> {
    const others = (): boolean => [...this.#calls].some(({ operation }) => !isOfProcess(operation));
    for (const { operation, stop } of this.#calls) if (!isOfProcess(operation)) stop.abort(reason);
    const { clock } = this.#options;
    const endMs = clock.monotonicMs() + graceMs;
    while (others() && clock.monotonicMs() < endMs) await clock.sleep(5);
  }

  /** Closes when what was answered has been read. Idempotent. */
  async close(): Promise<void> {
    const cut = setTimeout(() => {
      this.#app.server.closeAllConnections();
    }, CLOSE_GRACE_MS);
    try {
      await this.#app.close();
    } finally {
      clearTimeout(cut);
    }
  }

  async #answer(name: string, request: FastifyRequest<{ Body: CallRequest }>, reply: FastifyReply): Promise<void> {
    const { clock } = this.#options;
    reply.hijack();
    const answer = new CallReply(reply.raw, () => clock.monotonicMs());
    const gone = new AbortController();
    const onGone = (): void => {
      if (!reply.raw.writableFinished) gone.abort(new SgwError('aborted', 'caller-gone', 'the caller went away'));
    };
    reply.raw.once('close', onGone);
    const { secrets: names, ...call } = request.body;
    try {
      const result = await this.call(name, call, gone.signal, (signal) => ({
        signal,
        onProgress: answer.progress.bind(answer),
        ...this.#asks.secretsOf(names, answer, signal),
      }));
      answer.result(result);
    } catch (error) {
      answer.failure(toSgwError(error));
    } finally {
      reply.raw.off('close', onGone);
    }
  }

  /**
   * Runs a call, which may have come another way than over the socket: under the same limits, and told to stop with the others.
   * `surroundings` says what goes with it; the signal that it gets fires with `caller`, and when calls are stopped.
   */
  async call(
    name: string,
    call: Omit<CallRequest, 'secrets'>,
    caller: AbortSignal,
    surroundings: (signal: AbortSignal) => Omit<CallContext, 'lockTimeoutMs'>,
  ): Promise<unknown> {
    const { clock, log } = this.#options;
    const startedMs = clock.monotonicMs();
    const stop = new AbortController();
    const running = { operation: name, stop };
    this.#calls.add(running);
    const tell = (outcome: object): void => {
      const durationMs = Math.round(clock.monotonicMs() - startedMs);
      log[LOOKING.test(name) ? 'debug' : 'info']({ operation: name, durationMs, ...outcome }, 'call');
    };
    try {
      const signal = AbortSignal.any([caller, stop.signal]);
      const { lockTimeoutMs } = call;
      const result = await this.#run(name, call, { ...surroundings(signal), lockTimeoutMs });
      tell({ outcome: 'ok' });
      return result;
    } catch (error) {
      const failure = toSgwError(error);
      if (failure.kind === 'internal') log.error({ operation: name, err: failure }, 'a call found a bug');
      tell({ outcome: failure.code, reason: failure.message });
      throw failure;
    } finally {
      this.#calls.delete(running);
    }
  }

  async #run(name: string, { accountId, input }: Omit<CallRequest, 'secrets'>, context: CallContext): Promise<unknown> {
    const handlers = this.#options.handlersFor(accountId) as unknown as Record<string, Handlers[OperationName]>;
    const handler = Object.hasOwn(handlers, name) ? handlers[name] : undefined;
    if (handler === undefined) throw unknownOperation(name);
    if (this.#refusal !== undefined && !isOfProcess(name)) throw notBegun(this.#refusal);
    if (this.#calls.size > CALLS_MAX) throw tooManyCalls();
    return await (handler as (input: unknown, call: CallContext) => Promise<unknown>)(input, context);
  }
}

/** Serves the metrics alone, to who scrapes them, until the returned function is called. Resolves with the port. */
export async function serveMetrics(
  metrics: () => Promise<string>,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const app = newApp();
  addMetrics(app, metrics);
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw listenError(`${host}:${String(port)}`, '--metrics-listen PORT', error);
  }
  const address = app.server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    close: async () => {
      await app.close();
    },
  };
}

const isOfProcess = (operation: string): boolean => operation.startsWith('gateway.');

function newApp(): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
  });
  app.setErrorHandler(async (error, _request, reply) => {
    const failure = asFailure(error as FastifyError);
    return await reply.code(ERROR_KINDS[failure.kind].httpStatus).send({ error: failure.toDocument() });
  });
  app.setNotFoundHandler(async (_request, reply) => {
    const failure = new SgwError('notFound', 'unknown-path', 'there is nothing at this path');
    return await reply.code(404).send({ error: failure.toDocument() });
  });
  return app;
}

function addMetrics(app: FastifyInstance, metrics: () => Promise<string>): void {
  app.get(METRICS_PATH, async (_request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(await metrics()),
  );
}

/** fastify's own refusals: of a body that is too long, no JSON, or not as its schema says. */
function asFailure(error: FastifyError): SgwError {
  if (error.statusCode === undefined || error.statusCode >= 500) return toSgwError(error);
  return new SgwError('invalid', 'bad-request', `the request can not be read: ${error.message}`, {
    hint: 'sgw and its daemon may be of different versions: sgw gateway restart',
  });
}

const unknownOperation = (name: string): SgwError =>
  new SgwError('unsupported', 'unknown-operation', `the daemon knows no operation "${name.slice(0, 64)}"`, {
    hint: 'It may be of an older version than the command: sgw gateway restart',
  });

const tooManyCalls = (): SgwError =>
  new SgwError('unavailable', 'too-many-calls', `${String(CALLS_MAX)} calls are under way`, {
    hint: 'Wait until some of them are done.',
  });
