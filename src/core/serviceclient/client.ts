/**
 * A client of the service's native API: messages (`POST /v1/messages/<name>`), and operations of gateways from afar.
 *
 * Requests of a user are signed with an access key; those of devices are signed within, and go as they are. What can be
 * repeated is, with a random delay that grows, when the service was out of reach; what is signed within is repeated only if
 * it was surely not got, since the service takes it once.
 */
import { SgwError, type Clock, type Random } from '../kit/index.ts';
import { systemClock, systemRandom } from '../kit/index.ts';
import type { MessageInput, MessageName, MessageResult, ServiceTransport } from '../protocol/index.ts';
import { badAnswer, parsed, resultOf } from './answers.ts';
import { Channel, type TlsIdentity } from './channel.ts';
import type { ServicePlace } from './place.ts';
import { signedHeaders, type AccessKey } from './sign.ts';

export interface ServiceClientOptions {
  readonly place: ServicePlace;
  /** Who asks; absent: nobody, as devices do, which sign what they say. */
  readonly accessKey?: AccessKey | undefined;
  /** For the listener of gateways. */
  readonly identity?: TlsIdentity | undefined;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Of one try, milliseconds. */
  readonly timeoutMs?: number;
}

const TRIES_MAX = 4;
const DELAY_MS = 200;
const DELAY_MAX_MS = 3000;

/** They change nothing, or the same again changes nothing more. */
const REPEATABLE: ReadonlySet<string> = new Set([
  'service.describe',
  'activation.register',
  'activation.describe',
  'activation.claim',
  'account.list',
  'account.find',
  'gateway.list',
  'gateway.find',
  'gateway.remove',
  'key.list',
  'key.revoke',
]);

export class ServiceClient implements ServiceTransport, AsyncDisposable {
  readonly #options: ServiceClientOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #channel: Channel;

  constructor(options: ServiceClientOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    this.#channel = new Channel(options.place, options.identity === undefined ? {} : { identity: options.identity });
  }

  get place(): ServicePlace {
    return this.#options.place;
  }

  /** Sends a message. @throws what the service refuses with; what `Channel` throws; `service-answer-bad` */
  async request<N extends MessageName>(
    name: N,
    input: MessageInput<N>,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<MessageResult<N>> {
    const isRepeatable = REPEATABLE.has(name) || hasToken(input);
    for (let tries = 1; ; tries++) {
      try {
        return (await this.#post(`/v1/messages/${name}`, input, signal)) as MessageResult<N>;
      } catch (error) {
        if (tries >= TRIES_MAX || !mayRepeat(error, isRepeatable)) throw error;
        const most = Math.min(DELAY_MAX_MS, DELAY_MS * 2 ** tries);
        await this.#clock.sleep((this.#random.bytes(4).readUInt32BE(0) / 2 ** 32) * most, signal);
      }
    }
  }

  /**
   * Posts JSON, and gives the lines of JSON of the answer as they come. An error comes as a line of its own (localapi/wire.ts),
   * or as what this throws. Not repeated.
   */
  async *lines(path: string, body: object, signal: AbortSignal): AsyncGenerator {
    const bytes = Buffer.from(JSON.stringify(body));
    const headers = await this.#headers('POST', path, bytes);
    const response = await this.#channel.open({ method: 'POST', path, headers, body: bytes, signal });
    let rest = '';
    response.setEncoding('utf8');
    const stop = (): void => {
      response.destroy(new Error('stopped'));
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const part of response as AsyncIterable<string>) {
        const lines = (rest + part).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > LINE_CHARACTERS_MAX) throw badAnswer(this.place.url, 200);
        for (const line of lines) if (line !== '') yield parsed(line, response.statusCode ?? 0, this.place.url);
      }
      if (rest.trim() !== '') yield parsed(rest, response.statusCode ?? 0, this.place.url);
    } catch (error) {
      throw this.#channel.failureOf(error, signal);
    } finally {
      signal.removeEventListener('abort', stop);
      response.destroy();
    }
  }

  async close(): Promise<void> {
    await this.#channel.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #post(path: string, input: unknown, signal: AbortSignal): Promise<unknown> {
    const body = Buffer.from(JSON.stringify(input));
    const headers = await this.#headers('POST', path, body);
    const { timeoutMs } = this.#options;
    const timing = timeoutMs === undefined ? {} : { timeoutMs };
    return resultOf(
      await this.#channel.exchange({ method: 'POST', path, headers, body, signal, ...timing }),
      this.place.url,
    );
  }

  async #headers(method: string, path: string, body: Uint8Array): Promise<Record<string, string>> {
    const { accessKey } = this.#options;
    if (accessKey === undefined) return { 'content-type': 'application/json' };
    const { host } = this.#channel;
    return await signedHeaders({ method, host, path, body }, accessKey, new Date(this.#clock.nowMs()));
  }
}

/** A line is a document, such as a list of volumes. */
const LINE_CHARACTERS_MAX = 64 << 20;

/** With a token of its client's, the same request again is the same. */
const hasToken = (input: unknown): boolean =>
  typeof (input as { readonly clientToken?: unknown }).clientToken === 'string';

function mayRepeat(error: unknown, isRepeatable: boolean): boolean {
  if (!(error instanceof SgwError)) return false;
  if (error.details['neverSent'] === true) return true;
  return isRepeatable && (error.kind === 'unavailable' || error.kind === 'timeout');
}
