/**
 * HTTPS to one service: one request, one answer. By node:https, which loads faster than other clients do.
 *
 * Invariants: no request waits longer than its deadline; an answer is held up to a bound; what goes wrong on the way has a
 * name, and says whether the service may have got the request. Nothing is repeated here.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { RequestOptions } from 'node:https';
import { abortReason, SgwError, throwIfAborted } from '../kit/index.ts';
import type { ServicePlace } from './place.ts';

/** What a client proves itself with: its certificate and those up to the CA, and its private key. PEM. */
export interface TlsIdentity {
  readonly certificate: string;
  readonly privateKey: string;
}

export interface ChannelRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal: AbortSignal;
  /** Until the head of the answer, milliseconds. Default 30 000. */
  readonly timeoutMs?: number;
}

export interface ChannelAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

const TIMEOUT_MS = 30_000;
/** Lists of gateways and accounts are what is longest. */
const ANSWER_BYTES_MAX = 16 << 20;

type Https = typeof import('node:https');

export class Channel {
  readonly place: ServicePlace;
  readonly #identity: TlsIdentity | undefined;
  readonly #isTrusting: boolean;
  #agent: Promise<{ readonly https: Https; readonly agent: InstanceType<Https['Agent']> }> | undefined;

  /** `isTrusting`: whoever answers is believed; only to fetch what is compared then. */
  constructor(
    place: ServicePlace,
    { identity, isTrusting = false }: { identity?: TlsIdentity; isTrusting?: boolean } = {},
  ) {
    this.place = place;
    this.#identity = identity;
    this.#isTrusting = isTrusting;
  }

  /** `HOST:PORT` as requests name it. */
  get host(): string {
    return new URL(this.place.url).host;
  }

  /** The whole answer. @throws unavailable `service-unreachable`; timeout `service-timed-out`; denied `service-untrusted` */
  async exchange(request: ChannelRequest): Promise<ChannelAnswer> {
    const deadline = AbortSignal.timeout(request.timeoutMs ?? TIMEOUT_MS);
    const signal = AbortSignal.any([request.signal, deadline]);
    try {
      const response = await this.#send(request, signal);
      const parts: Buffer[] = [];
      let bytes = 0;
      for await (const part of response as AsyncIterable<Buffer>) {
        bytes += part.length;
        if (bytes > ANSWER_BYTES_MAX) throw tooLong(this.place.url);
        parts.push(part);
      }
      return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) };
    } catch (error) {
      throw this.#failure(error, request.signal, deadline);
    }
  }

  /** The answer as it comes; the deadline is that of its head. The caller reads it to its end, or destroys it. @throws as `exchange` */
  async open(request: ChannelRequest): Promise<IncomingMessage> {
    const deadline = new AbortController();
    const timer = setTimeout(() => {
      deadline.abort();
    }, request.timeoutMs ?? TIMEOUT_MS);
    try {
      return await this.#send(request, AbortSignal.any([request.signal, deadline.signal]));
    } catch (error) {
      throw this.#failure(error, request.signal, deadline.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What went wrong while an answer was read. */
  failureOf(error: unknown, signal: AbortSignal): SgwError {
    return this.#failure(error, signal, undefined);
  }

  async close(): Promise<void> {
    (await this.#agent)?.agent.destroy();
  }

  async #send(request: ChannelRequest, signal: AbortSignal): Promise<IncomingMessage> {
    throwIfAborted(request.signal);
    this.#agent ??= this.#load();
    const { https, agent } = await this.#agent;
    const { hostname, port } = new URL(this.place.url);
    const options: RequestOptions = {
      host: hostname.replace(/^\[(.*)\]$/, '$1'),
      port: port === '' ? 443 : Number(port),
      method: request.method,
      path: request.path,
      headers: {
        ...request.headers,
        ...(request.body === undefined ? {} : { 'content-length': String(request.body.length) }),
      },
      agent,
    };
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = https.request(options, resolve);
      sent.once('error', reject);
      const stop = (): void => {
        sent.destroy(new Error('stopped'));
      };
      signal.addEventListener('abort', stop, { once: true });
      sent.once('close', () => {
        signal.removeEventListener('abort', stop);
      });
      if (signal.aborted) stop();
      sent.end(request.body);
    });
  }

  async #load(): Promise<{ readonly https: Https; readonly agent: InstanceType<Https['Agent']> }> {
    const https = await import('node:https');
    const agent = new https.Agent({
      keepAlive: true,
      maxSockets: 8,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: !this.#isTrusting,
      ...(this.place.ca === null ? {} : { ca: this.place.ca }),
      ...(this.#identity === undefined ? {} : { cert: this.#identity.certificate, key: this.#identity.privateKey }),
    });
    return { https, agent };
  }

  #failure(error: unknown, signal: AbortSignal, deadline: AbortSignal | undefined): SgwError {
    if (signal.aborted) return abortReason(signal);
    const { url } = this.place;
    if (deadline?.aborted === true) {
      return new SgwError('timeout', 'service-timed-out', `the service at ${url} did not answer in time`, {
        hint: 'Whether it did what was asked is not known. Try again.',
        details: { url },
        cause: error,
      });
    }
    if (error instanceof SgwError) return error;
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (isOfCertificate(code)) return untrusted(url, message, error);
    return new SgwError('unavailable', 'service-unreachable', `the service at ${url} can not be reached: ${message}`, {
      hint: 'Check the address, and that the service runs.',
      details: { url, neverSent: NEVER_SENT.has(code) },
      cause: error,
    });
  }
}

/** Codes after which the service surely did not get the request. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

const isOfCertificate = (code: string): boolean =>
  code.startsWith('ERR_TLS_CERT') || code.startsWith('CERT_') || CERTIFICATE_CODES.has(code);
const CERTIFICATE_CODES: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'HOSTNAME_MISMATCH',
]);

function untrusted(url: string, message: string, cause: unknown): SgwError {
  return new SgwError('denied', 'service-untrusted', `the certificate of ${url} is not trusted: ${message}`, {
    hint: 'Give the certificate of its CA (--service-ca FILE), or its fingerprint, as `sgw service run` prints it (--service-fingerprint sha256:HEX).',
    details: { url },
    cause,
  });
}

const tooLong = (url: string): SgwError =>
  new SgwError('unavailable', 'service-answer-bad', `the answer of ${url} is too long`, { details: { url } });
