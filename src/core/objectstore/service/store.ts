/**
 * An object store behind the data endpoint of a service (docs/formats/data-endpoint.md), over HTTP/2 with mutual TLS. One
 * call is one request, but for objects that do not fit into one answer: their parts are asked for under the etag of the
 * first. Nothing is tried again here; over it belongs `withRetry`, as over a bucket.
 *
 * Bounds: requests under way and the bytes of their bodies, by semaphores, taken in this order. What is sent and what is
 * received have bounds and sessions of their own, so that no read waits for a slow upload. Every request has a time to
 * connect, one in which nothing moves, after which the session is asked whether it is alive, and one in all.
 *
 * An answer counts only with the service's own header: anything else is from something in between, and a failure.
 */
import { crc32 } from 'node:zlib';
import { Deadline, Semaphore, SgwError, throwIfAborted, type Clock, type Random } from '../../kit/index.ts';
import { checkFolder, checkKey, checkLimit, checkPrefix, checkSpan, etagMismatch, resolveSpan } from '../arguments.ts';
import { bodyPieces } from '../contract.ts';
import type {
  ByteSpan,
  CallOptions,
  Etag,
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectStore,
  PutBody,
  PutOptions,
  PutResult,
  StoreFacts,
} from '../contract.ts';
import type { OnRequest, StoreOperation } from '../meter.ts';
import { outgoing } from '../s3/body.ts';
import { isSendable, plainEtag } from '../s3/etag.ts';
import { rangeOf, spanLength } from '../s3/span.ts';
import { Connection } from './connection.ts';
import { ask, receiveInto, receiveLines, receiveText, type Answer, type Question } from './exchange.ts';
import { refusal, shortReply, toldError, tooSlow, unanswered } from './failure.ts';
import type { ServiceIdentity } from './identity.ts';
import { formatServicePlace, type ServicePlace } from './place.ts';
import { crcText, FOLDERS_PATH, HEADERS, OBJECTS_PATH, OUTCOMES, REPLY_BYTES_MAX } from './wire.ts';

export interface ServiceStoreOptions {
  readonly place: ServicePlace;
  readonly identity: () => Promise<ServiceIdentity>;
  readonly clock: Clock;
  readonly random: Random;
  /** Requests under way that send, and as many that receive. Default 64. */
  readonly requestsMax?: number;
  /** Bytes of bodies that are being sent, and as many that are being received. Default 64 MiB. */
  readonly bytesMax?: number;
  /** Time of a whole request beside that for its bytes. Default 60 000. */
  readonly requestTimeoutMs?: number;
  /** Without any progress, until the session is asked whether it is alive; after it was, the same once more. Default 15 000. */
  readonly idleTimeoutMs?: number;
  /** Told of each request. */
  readonly onRequest?: OnRequest;
}

const SLOWEST_BYTES_PER_SECOND = 64 * 1024;
/** Of one object. */
const PARTS_AT_ONCE = 4;
const HALF_SECOND_MS = 500;

interface Asked {
  readonly what: string;
  readonly operation: StoreOperation;
  readonly key: string;
  readonly sizeBytes?: number;
  readonly signal: AbortSignal | undefined;
}

/** A way to the service, with its bounds. */
interface Way {
  readonly requests: Semaphore;
  readonly bytes: Semaphore;
  readonly connection: Connection;
}

interface Part extends ObjectInfo {
  readonly bytes: Buffer;
  readonly start: number;
}

export class ServiceStore implements ObjectStore {
  readonly description: string;
  readonly #options: ServiceStoreOptions;
  readonly #sent: Way;
  readonly #received: Way;
  #clockOffsetMs: number | null = null;
  #closing: Promise<void> | undefined;

  constructor(options: ServiceStoreOptions) {
    const { requestsMax = 64, bytesMax = 64 * 1024 * 1024 } = options;
    this.description = formatServicePlace(options.place);
    this.#options = options;
    const way = (): Way => ({
      requests: new Semaphore(requestsMax),
      bytes: new Semaphore(bytesMax),
      connection: new Connection(options),
    });
    this.#sent = way();
    this.#received = way();
  }

  facts(): StoreFacts {
    return { provider: 'sgw service', limits: [], clockOffsetMs: this.#clockOffsetMs };
  }

  async put(key: string, body: PutBody, options: PutOptions = {}): Promise<PutResult> {
    checkKey(key);
    const { condition, signal, callId } = options;
    throwIfAborted(signal);
    if (condition !== undefined && 'ifMatch' in condition && !isSendable(condition.ifMatch))
      return { outcome: 'preconditionFailed' };
    const { sizeBytes, sha256, crc32: check } = await outgoing(body);
    const question: Question = {
      headers: {
        ':method': 'PUT',
        ':path': `${OBJECTS_PATH}/${key}`,
        'content-type': 'application/octet-stream',
        'content-length': String(sizeBytes),
        [HEADERS.sha256]: sha256,
        [HEADERS.crc32]: check,
        ...(callId === undefined ? {} : { [HEADERS.callId]: callId }),
        ...(condition === undefined ? {} : conditionHeaders(condition)),
      },
      pieces: bodyPieces(body),
    };
    const asked: Asked = { what: `put ${key}`, operation: 'put', key, sizeBytes, signal };
    return await this.#request(this.#sent, asked, question, async (answer) => {
      const outcome = answer.header(HEADERS.outcome);
      if (outcome === OUTCOMES.preconditionFailed) return { outcome: 'preconditionFailed' };
      if (outcome === OUTCOMES.ambiguous) return { outcome: 'preconditionFailed', ambiguous: true };
      await this.#require(answer, asked, OUTCOMES.stored);
      return { outcome: 'stored', etag: plainEtag(answer.header('etag')) };
    });
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectBody | undefined> {
    checkKey(key);
    checkSpan(key, options.span);
    const { span, signal } = options;
    const first = await this.#part(key, span, undefined, signal);
    if (first === undefined) return undefined;
    const { sizeBytes, etag } = first;
    const { start, end } = resolveSpan(key, span, sizeBytes);
    if (first.start !== start) throw shortReply(0, end - start, key);
    if (first.bytes.length === end - start) return { key, sizeBytes, etag, bytes: first.bytes };
    const bytes = Buffer.allocUnsafeSlow(end - start);
    first.bytes.copy(bytes);
    await this.#rest(key, etag, { bytes, start, from: start + first.bytes.length, end }, signal);
    return { key, sizeBytes, etag, bytes };
  }

  /** What did not fit into the first answer, a few parts at once. */
  async #rest(
    key: string,
    etag: Etag,
    into: { readonly bytes: Buffer; readonly start: number; readonly from: number; readonly end: number },
    signal: AbortSignal | undefined,
  ): Promise<void> {
    let next = into.from;
    const stop = new AbortController();
    const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const reader = async (): Promise<void> => {
      while (next < into.end) {
        const offset = next;
        const length = Math.min(REPLY_BYTES_MAX, into.end - offset);
        next += length;
        const part = await this.#part(key, { offset, length }, etag, both);
        if (part?.bytes.length !== length) throw shortReply(part?.bytes.length ?? 0, length, key);
        part.bytes.copy(into.bytes, offset - into.start);
      }
    };
    try {
      await Promise.all(Array.from({ length: PARTS_AT_ONCE }, reader));
    } catch (error) {
      stop.abort();
      throw error;
    }
  }

  /** One answer's worth of an object, perhaps less than was asked for; under `etag` only of that version. */
  async #part(
    key: string,
    span: ByteSpan | undefined,
    etag: Etag | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Part | undefined> {
    const question: Question = {
      headers: {
        ':method': 'GET',
        ':path': `${OBJECTS_PATH}/${key}`,
        ...(span === undefined ? {} : { range: rangeOf(span) }),
        ...(etag === undefined ? {} : { 'if-match': `"${etag}"` }),
      },
    };
    const sizeBytes = Math.min(REPLY_BYTES_MAX, spanLength(span));
    const asked: Asked = { what: `get ${key}`, operation: 'get', key, sizeBytes, signal };
    return await this.#request(this.#received, asked, question, async (answer, onBytes, stop) => {
      const outcome = answer.header(HEADERS.outcome);
      if (outcome === OUTCOMES.absent) return undefined;
      if (outcome === OUTCOMES.preconditionFailed)
        throw new SgwError('unavailable', 'object-changed', `${key} was replaced while it was read`, {
          details: { key },
        });
      await this.#require(answer, asked, OUTCOMES.found);
      const info = infoOf(key, answer);
      const length = Number(answer.header('content-length') ?? Number.NaN);
      const start = startOf(answer);
      if (!(length >= 0 && length <= REPLY_BYTES_MAX) || start + length > info.sizeBytes)
        throw shortReply(length, sizeBytes, key);
      const release = await this.#received.bytes.acquire(length, stop);
      try {
        const bytes = Buffer.allocUnsafeSlow(length);
        const got = await receiveInto(answer, bytes, 0, onBytes);
        if (got !== length) throw shortReply(got, length, key);
        if (answer.header(HEADERS.crc32) !== crcText(crc32(bytes)))
          throw new SgwError('unavailable', 'body-damaged', `${key} was damaged on its way`, { details: { key } });
        return { ...info, bytes, start };
      } finally {
        release();
      }
    });
  }

  async head(key: string, options: CallOptions = {}): Promise<ObjectInfo | undefined> {
    checkKey(key);
    const asked: Asked = { what: `look at ${key}`, operation: 'head', key, signal: options.signal };
    const question = { headers: { ':method': 'HEAD', ':path': `${OBJECTS_PATH}/${key}` } };
    return await this.#request(this.#received, asked, question, async (answer) => {
      if (answer.header(HEADERS.outcome) === OUTCOMES.absent) return undefined;
      await this.#require(answer, asked, OUTCOMES.found);
      return infoOf(key, answer);
    });
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    const { startAfter = '', limit, signal } = options;
    checkPrefix(prefix);
    checkLimit(limit);
    throwIfAborted(signal);
    if (limit === 0) return;
    const query = new URLSearchParams({
      prefix,
      ...(startAfter === '' ? {} : { startAfter }),
      ...(limit === undefined ? {} : { limit: String(limit) }),
    });
    for await (const line of this.#lines(OBJECTS_PATH, query, prefix, signal)) {
      const [key, sizeBytes, etag] = line as [string, number, string];
      yield { key, sizeBytes, etag };
    }
  }

  async *listFolders(prefix: string, options: CallOptions = {}): AsyncGenerator<string> {
    checkFolder(prefix);
    throwIfAborted(options.signal);
    const query = new URLSearchParams({ prefix });
    for await (const line of this.#lines(FOLDERS_PATH, query, prefix, options.signal)) yield line as string;
  }

  /** What a list's lines say, up to the one that tells that it is whole. */
  async *#lines(path: string, query: URLSearchParams, prefix: string, signal: AbortSignal | undefined): AsyncGenerator {
    const what = `list ${prefix}`;
    const release = await this.#received.requests.acquire(1, signal);
    const watch = new Watch(this.#options, this.#received.connection, signal, undefined);
    try {
      const headers = { ':method': 'GET', ':path': `${path}?${query.toString()}` };
      const answer = await watch.ask({ headers });
      this.#note(answer);
      await this.#require(answer, { what }, OUTCOMES.found);
      let isWhole = false;
      for await (const line of receiveLines(answer, watch.moved)) {
        // Who takes the list may take his time with each line.
        watch.pause();
        const told: unknown = JSON.parse(line);
        if (Array.isArray(told) || typeof told === 'string') yield told;
        else if ((told as { readonly end?: unknown }).end === true) isWhole = true;
        else throw toldError(line) ?? new SgwError('unavailable', 'short-reply', `a line of the list is none: ${what}`);
        watch.moved();
      }
      if (!isWhole) throw new SgwError('unavailable', 'short-reply', `the service ended before its list did: ${what}`);
    } catch (error) {
      throw watch.failure(error, what);
    } finally {
      watch[Symbol.dispose]();
      release();
      this.#options.onRequest?.({ operation: 'list', key: prefix, upBytes: 0, downBytes: 0 });
    }
  }

  async delete(key: string, options: CallOptions & { readonly ifMatch?: Etag } = {}): Promise<boolean> {
    checkKey(key);
    const { ifMatch, signal } = options;
    if (ifMatch !== undefined && !isSendable(ifMatch)) {
      if ((await this.head(key, signal === undefined ? {} : { signal })) === undefined) return false;
      throw etagMismatch(key);
    }
    const asked: Asked = { what: `delete ${key}`, operation: 'delete', key, signal };
    const headers = {
      ':method': 'DELETE',
      ':path': `${OBJECTS_PATH}/${key}`,
      ...(ifMatch === undefined ? {} : { 'if-match': `"${ifMatch}"` }),
    };
    return await this.#request(this.#sent, asked, { headers }, async (answer) => {
      if (answer.header(HEADERS.outcome) === OUTCOMES.absent) return false;
      await this.#require(answer, asked, OUTCOMES.deleted);
      return true;
    });
  }

  async close(): Promise<void> {
    this.#closing ??= Promise.all([this.#sent.connection.close(), this.#received.connection.close()]).then(
      () => undefined,
    );
    await this.#closing;
  }

  /** @throws what the service refuses with, when the answer is another than this one */
  async #require(answer: Answer, { what }: { readonly what: string }, outcome: string): Promise<void> {
    if (answer.header(HEADERS.outcome) === outcome) return;
    const said = answer.header(HEADERS.refusal);
    const body = said === undefined ? await receiveText(answer) : Buffer.from(said, 'base64url').toString('utf8');
    throw refusal(answer.status, body, what, this.#options.place);
  }

  /** Runs one request within the bounds, and turns what fails into an error of ours. */
  async #request<T>(
    way: Way,
    asked: Asked,
    question: Question,
    take: (answer: Answer, onBytes: () => void, stop: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { what, operation, key, sizeBytes = 0, signal } = asked;
    const release = await way.requests.acquire(1, signal);
    const watch = new Watch(this.#options, way.connection, signal, sizeBytes);
    let releaseBytes: (() => void) | undefined;
    let downBytes = 0;
    try {
      if (question.pieces !== undefined) releaseBytes = await way.bytes.acquire(sizeBytes, watch.signal);
      const answer = await watch.ask(question);
      this.#note(answer);
      try {
        const result = await take(answer, watch.moved, watch.signal);
        if (operation === 'get' && result !== undefined) downBytes = (result as Part).bytes.length;
        return result;
      } finally {
        // Also when the body that was to be sent is not wanted to its end.
        if (!answer.stream.readableEnded || !answer.stream.writableFinished) answer.stream.destroy();
      }
    } catch (error) {
      throw watch.failure(error, what);
    } finally {
      watch[Symbol.dispose]();
      releaseBytes?.();
      release();
      this.#options.onRequest?.({ operation, key, upBytes: operation === 'put' ? sizeBytes : 0, downBytes });
    }
  }

  #note(answer: Answer): void {
    const serverMs = Date.parse(answer.header('date') ?? '');
    if (Number.isFinite(serverMs)) this.#clockOffsetMs = serverMs + HALF_SECOND_MS - this.#options.clock.nowMs();
  }
}

/** The times of one request: in all, and without progress. */
class Watch implements Disposable {
  readonly #options: ServiceStoreOptions;
  readonly #connection: Connection;
  readonly #caller: AbortSignal | undefined;
  readonly #deadline: Deadline | undefined;
  readonly #timeoutMs: number;
  readonly #idleMs: number;
  readonly #idle = new AbortController();
  readonly #done = new AbortController();
  readonly signal: AbortSignal;
  readonly #letGo: () => void;
  #movedMs: number;
  #isPaused = false;

  /** Without `sizeBytes` there is no time in all: a list takes as long as who takes it. */
  constructor(
    options: ServiceStoreOptions,
    connection: Connection,
    caller: AbortSignal | undefined,
    sizeBytes: number | undefined,
  ) {
    const { clock, requestTimeoutMs = 60_000, idleTimeoutMs = 15_000 } = options;
    this.#options = options;
    this.#connection = connection;
    this.#caller = caller;
    this.#idleMs = idleTimeoutMs;
    this.#timeoutMs = requestTimeoutMs + ((sizeBytes ?? 0) / SLOWEST_BYTES_PER_SECOND) * 1000;
    this.#deadline = sizeBytes === undefined ? undefined : new Deadline(caller, this.#timeoutMs, clock);
    const signals = [this.#deadline?.signal ?? caller, this.#idle.signal].filter((signal) => signal !== undefined);
    this.signal = AbortSignal.any(signals);
    this.#movedMs = clock.monotonicMs();
    this.#letGo = connection.hold();
  }

  /** Sends the request; while it lasts, its session is asked whether it is alive when nothing moves. */
  async ask(question: Question): Promise<Answer> {
    const session = await this.#connection.session(this.signal);
    this.moved();
    const probing = async (): Promise<void> => {
      for (let isAsked = false; ;) {
        await this.#options.clock.sleep(this.#idleMs, this.#done.signal);
        const silentMs = this.#options.clock.monotonicMs() - this.#movedMs;
        if (this.#isPaused || silentMs < this.#idleMs) isAsked = false;
        else if (isAsked || !(await this.#connection.probe(session))) this.#idle.abort();
        else isAsked = true;
      }
    };
    probing().catch(() => undefined);
    return await ask(session, question, this.signal);
  }

  readonly moved = (): void => {
    this.#isPaused = false;
    this.#movedMs = this.#options.clock.monotonicMs();
  };

  pause(): void {
    this.#isPaused = true;
  }

  failure(error: unknown, what: string): unknown {
    if (this.#caller?.aborted === true) throwIfAborted(this.#caller);
    const { place } = this.#options;
    if (this.#deadline?.isOver === true) return tooSlow(what, this.#timeoutMs, place);
    if (this.#idle.signal.aborted) return tooSlow(what, this.#idleMs, place);
    return unanswered(error, what, place);
  }

  [Symbol.dispose](): void {
    this.#done.abort();
    this.#letGo();
    this.#deadline?.[Symbol.dispose]();
  }
}

function conditionHeaders(condition: NonNullable<PutOptions['condition']>): Record<string, string> {
  return 'ifAbsent' in condition ? { 'if-none-match': '*' } : { 'if-match': `"${condition.ifMatch}"` };
}

function infoOf(key: string, answer: Answer): ObjectInfo {
  const sizeBytes = Number(answer.header(HEADERS.size) ?? Number.NaN);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
    throw new SgwError('unavailable', 'short-reply', `the service sent ${key} without its size`, { details: { key } });
  return { key, sizeBytes, etag: plainEtag(answer.header('etag')) };
}

/** Where the part that was answered begins. */
const startOf = (answer: Answer): number =>
  Number(/^bytes (\d+)-/.exec(answer.header('content-range') ?? '')?.[1] ?? 0);
