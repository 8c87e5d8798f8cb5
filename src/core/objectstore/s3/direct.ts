/**
 * GET and PUT of objects at a server that is named by its endpoint, without the SDK's layers: those take a millisecond of the
 * processor for each request, as much as all else of a request for some 100 KiB. Everything else is the SDK's: credentials, all
 * other operations, and servers that are found by their region. What is thrown has the form of what the SDK throws.
 *
 * @see AWS, "Authenticating Requests (AWS Signature Version 4)" of Amazon S3
 */
import { createHash } from 'node:crypto';
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { PutObjectCommandInput, S3ClientResolvedConfig } from '@aws-sdk/client-s3';
import { SIGV4, Sigv4Signer, scopeText, sigv4Escape, type Clock } from '../../kit/index.ts';
import type { OnRequest } from '../meter.ts';
import type { OutgoingBody } from './body.ts';
import type { Connections } from './connections.ts';
import type { S3Place } from './place.ts';

export interface DirectOptions {
  readonly place: S3Place & { readonly endpoint: string };
  readonly config: Pick<S3ClientResolvedConfig, 'credentials' | 'region'>;
  readonly connections: Connections;
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Told of the headers of each answer, and when it was asked. */
  readonly onAnswer: (headers: Readonly<Record<string, string | undefined>>, sentMs: number) => void;
  /** Time of the server less time of this machine, as its answers tell. */
  readonly clockOffsetMs: () => number | undefined;
  readonly onRequest?: OnRequest | undefined;
}

/** What is used of an answer to GET. */
export interface DirectObject {
  /** A `Readable`. */
  readonly Body?: unknown;
  readonly ContentLength?: number | undefined;
  readonly ContentRange?: string | undefined;
  readonly ETag?: string | undefined;
  readonly Metadata?: Readonly<Record<string, string>> | undefined;
}

/** Servers take requests of this age. */
const SKEW_MS = 4 * 60_000;
const ERROR_BYTES_MAX = 64 * 1024;
const META = 'x-amz-meta-';
const EMPTY_SHA256 = createHash('sha256').digest('hex');

type Headers = Record<string, string>;

interface Asked {
  readonly method: 'GET' | 'PUT';
  /** As it is in the bucket. */
  readonly key: string;
  readonly headers: Headers;
  readonly sha256: string;
  readonly pieces: readonly Uint8Array[];
}

export class DirectRequests {
  readonly #options: DirectOptions;
  readonly #url: URL;
  readonly #base: string;
  readonly #signer = new Sigv4Signer();

  constructor(options: DirectOptions) {
    this.#options = options;
    const { endpoint, bucket, pathStyle } = options.place;
    this.#url = new URL(endpoint);
    if (!pathStyle) this.#url.hostname = `${bucket}.${this.#url.hostname}`;
    this.#base = this.#url.pathname.replace(/\/$/, '') + (pathStyle ? `/${bucket}/` : '/');
  }

  /** The answer to GET, its body unread. */
  async get(key: string, range: string | undefined, signal: AbortSignal): Promise<DirectObject> {
    let downBytes = 0;
    try {
      const headers = range === undefined ? {} : { range };
      const answer = await this.#send({ method: 'GET', key, headers, sha256: EMPTY_SHA256, pieces: [] }, signal);
      const { 'content-length': length, 'content-range': contentRange, etag } = answer.headers;
      downBytes = Number(length ?? 0);
      return {
        Body: answer,
        ContentLength: length === undefined ? undefined : downBytes,
        ContentRange: contentRange,
        ETag: etag,
        Metadata: metadataOf(answer),
      };
    } finally {
      this.#tell('get', key, 0, downBytes);
    }
  }

  async put(
    { Key: key = '', Metadata = {}, IfMatch, IfNoneMatch }: PutObjectCommandInput,
    { pieces = [], sha256, sizeBytes }: OutgoingBody,
    signal: AbortSignal,
  ): Promise<{ readonly ETag: string | undefined }> {
    try {
      const headers: Headers = {
        ...Object.fromEntries(Object.entries(Metadata).map(([name, value]) => [META + name, value])),
        ...(IfMatch === undefined ? {} : { 'if-match': IfMatch }),
        ...(IfNoneMatch === undefined ? {} : { 'if-none-match': IfNoneMatch }),
        'content-length': String(sizeBytes),
        'content-type': 'application/octet-stream',
      };
      const answer = await this.#send({ method: 'PUT', key, headers, sha256, pieces }, signal);
      for await (const _ of answer) continue;
      return { ETag: answer.headers.etag };
    } finally {
      this.#tell('put', key, sizeBytes, 0);
    }
  }

  #tell(operation: 'get' | 'put', key: string, upBytes: number, downBytes: number): void {
    const { onRequest, place } = this.#options;
    onRequest?.({ operation, key: place.prefix === '' ? key : key.slice(place.prefix.length + 1), upBytes, downBytes });
  }

  /** @throws what the SDK would throw, also for an answer that is not a success */
  async #send(asked: Asked, signal: AbortSignal): Promise<IncomingMessage> {
    const { clock, connections, onAnswer } = this.#options;
    const request = await this.#request(asked);
    const sentMs = clock.nowMs();
    let answer: IncomingMessage;
    try {
      answer = await answered(request, asked.pieces, signal, this.#options.connectTimeoutMs);
    } catch (error) {
      // One that was stopped says nothing of the way.
      if (!signal.aborted) connections.dropIdle();
      throw error;
    }
    onAnswer(answer.headers as Readonly<Record<string, string | undefined>>, sentMs);
    if (answer.statusCode !== undefined && answer.statusCode < 300) return answer;
    throw await failureOf(answer);
  }

  async #request({ method, key, headers, sha256 }: Asked): Promise<ClientRequest> {
    const { connections, idleTimeoutMs } = this.#options;
    const path = this.#base + key.split('/').map(sigv4Escape).join('/');
    const { protocol, hostname, port } = this.#url;
    const isTls = protocol === 'https:';
    const { httpAgent, httpsAgent } = connections.agents;
    return (isTls ? httpsRequest : httpRequest)({
      ...{ method, path, hostname: hostname.replace(/^\[|\]$/g, ''), port, timeout: idleTimeoutMs },
      agent: isTls ? httpsAgent : httpAgent,
      headers: await this.#signed(method, path, { ...headers, host: this.#url.host, 'x-amz-content-sha256': sha256 }),
    });
  }

  async #signed(method: string, path: string, headers: Headers): Promise<Headers> {
    const { config, clock, clockOffsetMs } = this.#options;
    const [credentials, region] = await Promise.all([config.credentials(), config.region()]);
    const { sessionToken } = credentials;
    const offsetMs = clockOffsetMs() ?? 0;
    const nowMs = clock.nowMs() + (Math.abs(offsetMs) > SKEW_MS ? offsetMs : 0);
    const timestamp = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d{3}/g, '');
    const all: Headers = {
      ...headers,
      'x-amz-date': timestamp,
      ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
    };
    const names = Object.keys(all).sort();
    const lines = names.map((name) => `${name}:${all[name] ?? ''}\n`).join('');
    const canonical = [method, path, '', lines, names.join(';'), all['x-amz-content-sha256']].join('\n');
    const scope = { date: timestamp.slice(0, 8), region, service: 's3' };
    const signature = this.#signer.signature(credentials, scope, timestamp, canonical);
    all['authorization'] =
      `${SIGV4} Credential=${credentials.accessKeyId}/${scopeText(scope)}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
    return all;
  }
}

/** Sends the request; resolves with the answer once its headers are there. */
async function answered(
  request: ClientRequest,
  pieces: readonly Uint8Array[],
  signal: AbortSignal,
  connectTimeoutMs: number,
): Promise<IncomingMessage> {
  const onAbort = (): void => {
    request.destroy(Object.assign(new Error('Request aborted'), { name: 'AbortError' }));
  };
  try {
    return await new Promise((resolve, reject) => {
      let answer: IncomingMessage | undefined;
      request.once('response', (response) => {
        answer = response;
        resolve(response);
      });
      request.on('error', reject);
      // Who reads the body is told by the body.
      request.on('timeout', () => {
        (answer ?? request).destroy(timeoutError('nothing moved on the connection'));
      });
      request.once('socket', (socket) => {
        if (!socket.connecting) return;
        const timer = setTimeout(() => {
          request.destroy(timeoutError('there was no connection'));
        }, connectTimeoutMs);
        const settled = (): void => {
          clearTimeout(timer);
        };
        socket.once('connect', settled);
        request.once('close', settled);
      });
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
      request.cork();
      for (const piece of pieces) request.write(piece);
      request.end();
      request.uncork();
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

const timeoutError = (what: string): Error => Object.assign(new Error(`${what} in time`), { name: 'TimeoutError' });

function metadataOf({ headers }: IncomingMessage): Record<string, string> {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    if (name.startsWith(META) && typeof value === 'string') metadata[name.slice(META.length)] = value;
  return metadata;
}

/** An answer that is not a success, as the SDK throws it. */
async function failureOf(answer: IncomingMessage): Promise<Error> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length <= ERROR_BYTES_MAX) chunks.push(chunk);
  }
  const code = /<Error>[^]*?<Code>(\w+)<\/Code>/.exec(Buffer.concat(chunks).toString('utf8'))?.[1];
  const requestId = answer.headers['x-amz-request-id'];
  return Object.assign(new Error(code ?? 'UnknownError'), {
    ...(code === undefined ? {} : { name: code, Code: code }),
    $metadata: { httpStatusCode: answer.statusCode, ...(typeof requestId === 'string' ? { requestId } : {}) },
  });
}
