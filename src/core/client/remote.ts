/**
 * The local API of a daemon, over its socket, by node:http, which loads faster than other clients do: a command lives for a
 * third of a second. See `localapi/wire.ts`.
 *
 * Invariants: a failure of the daemon arrives whole; a call whose signal fires is ended there as well; an answer that was cut
 * off is `gateway-gone`, never a result.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { SgwError, throwIfAborted, toSgwError } from '../kit/index.ts';
import {
  answerPath,
  callPath,
  notBegun,
  PING_PATH,
  type CallContext,
  type CallLine,
  type CallRequest,
  type Input,
  type LocalApi,
  type OperationName,
  type Pong,
  type Result,
  type SecretAnswer,
  type SecretName,
} from '../localapi/index.ts';
import type { GatewayRecord } from '../state/index.ts';

type Http = typeof import('node:http');

/** A daemon that is well answers in a millisecond. */
const PING_TIMEOUT_MS = 5000;
/** Codes of a socket behind which nobody is. */
const NO_CONNECTION: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOENT']);
const NOBODY: ReadonlySet<string> = new Set([...NO_CONNECTION, 'ECONNRESET', 'EPIPE']);

export class RemoteApi implements LocalApi {
  readonly #record: GatewayRecord;
  readonly #accountId: string | undefined;
  readonly #http: Http;
  readonly #agent: InstanceType<Http['Agent']>;

  private constructor(record: GatewayRecord, accountId: string | undefined, http: Http) {
    this.#record = record;
    this.#accountId = accountId;
    this.#http = http;
    this.#agent = new http.Agent({ keepAlive: true });
  }

  /** Undefined when nobody answers at the daemon's socket, or it takes no more calls. @throws denied when the socket is another user's */
  static async reach(record: GatewayRecord, accountId: string | undefined): Promise<RemoteApi | undefined> {
    const api = new RemoteApi(record, accountId, await import('node:http'));
    try {
      const pong = JSON.parse(
        await textOf(await api.#send('GET', PING_PATH, undefined, AbortSignal.timeout(PING_TIMEOUT_MS))),
      ) as Pong;
      if (pong.pid === record.pid && pong.state === 'serving') return api;
    } catch (error) {
      // One that hangs counts as one that is not there yet.
      if ((error as Error).name !== 'TimeoutError' && !NOBODY.has((error as NodeJS.ErrnoException).code ?? ''))
        throw toSgwError(error);
    }
    await api[Symbol.asyncDispose]();
    return undefined;
  }

  async call<N extends OperationName>(name: N, input: Input<N>, context: CallContext): Promise<Result<N>> {
    const { signal, secrets, lockTimeoutMs } = context;
    throwIfAborted(signal);
    const body: CallRequest = {
      input,
      lockTimeoutMs,
      secrets: (['unlock', 'renew'] as const).filter((secret) => secrets?.[secret] !== undefined),
      ...(this.#accountId === undefined ? {} : { accountId: this.#accountId }),
    };
    let response: IncomingMessage | undefined;
    try {
      response = await this.#send('POST', callPath(name), body, signal);
      for await (const line of linesOf(response)) {
        if (line.error !== undefined) throw SgwError.fromDocument(line.error);
        if ('result' in line) return line.result as Result<N>;
        if (line.progress !== undefined) context.onProgress(line.progress);
        if (line.ask !== undefined) await this.#answer(line.ask, context);
      }
    } catch (error) {
      throwIfAborted(signal);
      if (error instanceof SgwError) throw error;
      const gone = this.#gone(name, error);
      throw response === undefined && mayBeRepeated(name, error) ? notBegun(gone) : gone;
    }
    throwIfAborted(signal);
    throw this.#gone(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    return Promise.resolve();
  }

  /** Resolves when the head of the answer is here. */
  async #send(
    method: 'GET' | 'POST',
    path: string,
    body: object | undefined,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const request = this.#http.request({
      socketPath: this.#record.socket,
      method,
      path,
      agent: this.#agent,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' } }),
    });
    const stop = (): void => {
      request.destroy(signal?.reason instanceof Error ? signal.reason : undefined);
    };
    signal?.addEventListener('abort', stop, { once: true });
    request.once('close', () => signal?.removeEventListener('abort', stop));
    return await headOf(request, body);
  }

  async #answer(
    ask: { readonly id: string; readonly secret: SecretName },
    { secrets, signal }: CallContext,
  ): Promise<void> {
    const answer = await secrets?.[ask.secret]?.().then(
      (secret): SecretAnswer => ({ secret }),
      (error: unknown): SecretAnswer => ({ error: toSgwError(error).toDocument() }),
    );
    const response = await this.#send('POST', answerPath(ask.id), answer ?? noSecret(), signal);
    response.resume();
  }

  #gone(name: string, cause?: unknown): SgwError {
    const { pid } = this.#record;
    const message = `the gateway daemon, process ${String(pid)}, ended before it answered ${name.replace('.', ' ')}`;
    return new SgwError('unavailable', 'gateway-gone', message, {
      hint: 'Nothing that was acknowledged is lost. Run the same command again; sgw gateway logs says why the daemon ended.',
      details: { pid, operation: name },
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/** There was no connection, so nothing came of it; or what came of it changed nothing. */
function mayBeRepeated(name: OperationName, error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return NO_CONNECTION.has(code) || name === 'status' || /\.(?:list|show)$/.test(name);
}

const noSecret = (): SecretAnswer => ({
  error: new SgwError('invalid', 'key-missing', 'the secret was not given').toDocument(),
});

async function headOf(request: ClientRequest, body: object | undefined): Promise<IncomingMessage> {
  return await new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  response.setEncoding('utf8');
  for await (const part of response) text += part as string;
  return text;
}

/** The lines of an answer as they come. */
async function* linesOf(response: IncomingMessage): AsyncGenerator<CallLine> {
  let rest = '';
  response.setEncoding('utf8');
  for await (const part of response) {
    const lines = (rest + (part as string)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') yield JSON.parse(line) as CallLine;
  }
}
