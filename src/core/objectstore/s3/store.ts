/**
 * An object store in an S3 bucket, or a part of one: docs/formats/s3-store.md. One call is one request, or a few where S3
 * has no single one for it; nothing is tried again here but a slow read (hedge.ts). Over it belongs `withRetry`.
 *
 * Bounds: requests under way and the bytes of their bodies, by semaphores, taken in this order. What is sent (puts and
 * removals) and what is received (all else) have bounds of their own, so that no read waits for a slow upload; there are
 * connections for both at their most. Every request has a time to connect, one without any progress, and one in all.
 *
 * An object is absent only when S3 says so: a 404 without its code, or without its request id where there is no body, is
 * from something in between, and a failure.
 *
 * Conditions are the server's: If-None-Match and If-Match. A put that is refused looks at what stands there, and takes an
 * object that carries its own call's name for its own success (PROTOCOL C3). Removing with a condition is a comparison and
 * then a removal, with If-Match for the servers that heed it.
 */
import {
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  type ListObjectsV2CommandOutput,
  type PutObjectCommandInput,
} from '@aws-sdk/client-s3';
import type { Readable } from 'node:stream';
import { Deadline, Semaphore, SgwError, systemClock, throwIfAborted, type Clock } from '../../kit/index.ts';
import {
  checkFolder,
  checkKey,
  checkLimit,
  checkPrefix,
  checkSpan,
  etagMismatch,
  isComponent,
  resolveSpan,
} from '../arguments.ts';
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
  StreamedBody,
} from '../contract.ts';
import type { OnRequest } from '../meter.ts';
import { Absent } from './absent.ts';
import type { DirectObject } from './direct.ts';
import { collect, discard, matchesCheck, outgoing, streamed, type OutgoingBody } from './body.ts';
import { rangeOf, spanLength } from './span.ts';
import { CEPH, getObject, putObject, s3Client, type S3Sender, type SeenOfServer } from './client.ts';
import { etagText, isSendable, plainEtag } from './etag.ts';
import { isAbsentToHead, isNoSuchKey, isNotFound, s3Failure, statusOf } from './failure.ts';
import { Hedging } from './hedge.ts';
import { formatS3Place, type S3Place } from './place.ts';
import { providerOf } from './providers.ts';

export interface S3StoreOptions {
  readonly place: S3Place;
  readonly clock?: Clock;
  /** Requests under way that send, and as many that receive. Default 64. */
  readonly requestsMax?: number;
  /** Bytes of bodies that are being sent, and as many that are being received. Default 64 MiB. */
  readonly bytesMax?: number;
  /** Time of a whole request beside that for its bytes. Default 60 000. */
  readonly requestTimeoutMs?: number;
  /** Without any progress. Default 15 000. */
  readonly idleTimeoutMs?: number;
  /** Whether slow reads are tried a second time. Default true. */
  readonly hedges?: boolean;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Told of each request, also of those that a call takes beside its own: looking at what refuses a put, second tries of slow reads. */
  readonly onRequest?: OnRequest;
  /** What sends the requests, and notes what answers show of the server. Default the SDK's client. */
  readonly client?: (seen: SeenOfServer) => S3Sender;
}

/** A request may take longer the more it carries: no way is slower than that. */
const SLOWEST_BYTES_PER_SECOND = 64 * 1024;
/** Connections for second tries, beside those for requests. */
const HEDGE_CONNECTIONS = 8;
const PAGE_KEYS_MAX = 1000;

const FIRST_BYTE = { offset: 0, length: 1 };
const CHECK_NAME = 'sgw-crc32';
const CALL_NAME = 'sgw-call';

/** What is there under a key. */
interface Found extends ObjectInfo {
  readonly call: string | undefined;
}

/** What may be under way in one direction. */
interface Way {
  readonly requests: Semaphore;
  readonly bytes: Semaphore;
}

interface Asked {
  readonly what: string;
  readonly way: Way;
  readonly signal: AbortSignal | undefined;
  /** Of the body, for the time of the request. */
  readonly sizeBytes?: number;
  /** Which failures say that there is no such object, or no such part of it. Default none. */
  readonly isAbsence?: (error: unknown) => boolean;
}

interface Part {
  readonly body: ObjectBody;
  /** Whether it agrees with the checksum that is kept beside the object. */
  readonly isWhole: boolean;
}

export class S3Store implements ObjectStore {
  readonly description: string;
  readonly #place: S3Place;
  readonly #prefix: string;
  readonly #client: S3Sender;
  readonly #clock: Clock;
  readonly #sent: Way;
  readonly #received: Way;
  readonly #requestTimeoutMs: number;
  readonly #hedging: Hedging | undefined;
  readonly #seen: SeenOfServer = { clockOffsetMs: undefined, server: undefined };
  /** Servers differ in whether they take an etag in its quotes. Undefined until one was accepted. */
  #quotesEtags: boolean | undefined;
  /** False once the server refused a removal for having a condition. */
  #removesConditionally = true;
  #isClosed = false;

  constructor(options: S3StoreOptions) {
    const { place, clock = systemClock, requestsMax = 64, bytesMax = 64 * 1024 * 1024, idleTimeoutMs } = options;
    this.description = formatS3Place(place);
    this.#place = place;
    this.#prefix = place.prefix === '' ? '' : `${place.prefix}/`;
    this.#sent = { requests: new Semaphore(requestsMax), bytes: new Semaphore(bytesMax) };
    this.#received = { requests: new Semaphore(requestsMax), bytes: new Semaphore(bytesMax) };
    this.#requestTimeoutMs = options.requestTimeoutMs ?? 60_000;
    this.#hedging = options.hedges === false ? undefined : new Hedging(clock);
    this.#clock = clock;
    this.#client =
      options.client?.(this.#seen) ??
      s3Client({
        place,
        clock,
        seen: this.#seen,
        connectionsMax: 2 * requestsMax + HEDGE_CONNECTIONS,
        env: options.env ?? process.env,
        ...(options.onRequest === undefined ? {} : { onRequest: options.onRequest }),
        ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
      });
  }

  facts(): StoreFacts {
    const { clockOffsetMs, server } = this.#seen;
    return { ...providerOf(this.#place, server), clockOffsetMs: clockOffsetMs ?? null };
  }

  /** Reads slower than nearly all, tried a second time. */
  get hedges(): { readonly hedged: number; readonly won: number } {
    return this.#hedging?.counters ?? { hedged: 0, won: 0 };
  }

  async put(key: string, body: PutBody, options: PutOptions = {}): Promise<PutResult> {
    checkKey(key);
    const { condition, signal } = options;
    throwIfAborted(signal);
    if (condition !== undefined && 'ifMatch' in condition && !isSendable(condition.ifMatch))
      return { outcome: 'preconditionFailed' };
    return await this.#put(key, await outgoing(body), options);
  }

  /** One request of known length, whose hash is signed. Where a replacement may have to be sent twice, it is collected first. */
  async putStream(key: string, body: StreamedBody, options: PutOptions = {}): Promise<PutResult> {
    checkKey(key);
    const { condition, signal } = options;
    throwIfAborted(signal);
    if (condition !== undefined && 'ifMatch' in condition)
      return await this.put(key, await Array.fromAsync(body.pieces), options);
    return await this.#put(key, streamed(body), options);
  }

  async #put(key: string, sent: OutgoingBody, options: PutOptions): Promise<PutResult> {
    const { condition, signal } = options;
    const input: PutObjectCommandInput = {
      ...this.#at(key),
      ContentLength: sent.sizeBytes,
      Metadata: { [CHECK_NAME]: sent.crc32, ...(options.callId === undefined ? {} : { [CALL_NAME]: options.callId }) },
    };
    const send = async (conditions: Partial<PutObjectCommandInput>): Promise<Etag | undefined> =>
      await this.#sendPut(key, { ...input, ...conditions }, sent, signal);
    if (condition === undefined) {
      const etag = await send({});
      if (etag === undefined) throw new SgwError('unavailable', 'store-error', `the store refused to put ${key}`);
      return { outcome: 'stored', etag };
    }
    if ('ifAbsent' in condition) {
      const etag = await send({ IfNoneMatch: '*' });
      return etag === undefined ? await this.#settle(key, options) : { outcome: 'stored', etag };
    }
    // Read once: the first answer may tell what server it is.
    const quotes = this.#quotesEtags ?? this.#guessesQuotes();
    const isKnown = this.#quotesEtags !== undefined;
    const etag = await send({ IfMatch: etagText(condition.ifMatch, quotes) });
    if (etag !== undefined) {
      this.#quotesEtags ??= quotes;
      return { outcome: 'stored', etag };
    }
    const found = await this.#settle(key, options, isKnown ? undefined : condition.ifMatch);
    if (found.outcome === 'stored' || found.isExpected !== true) return found;
    // The version that is there is the expected one, and yet it was refused: this server takes etags the other way.
    const other = await send({ IfMatch: etagText(condition.ifMatch, !quotes) });
    if (other === undefined) return { outcome: 'preconditionFailed' };
    this.#quotesEtags = !quotes;
    return { outcome: 'stored', etag: other };
  }

  /** What a refusal means; with `expected`, also whether that version is the one that is there. */
  async #settle(
    key: string,
    { callId, signal }: PutOptions,
    expected?: Etag,
  ): Promise<PutResult & { readonly isExpected?: boolean }> {
    if (callId === undefined && expected === undefined) return { outcome: 'preconditionFailed' };
    const found = await this.#find(key, signal);
    if (found !== undefined && callId !== undefined && found.call === callId)
      return { outcome: 'stored', etag: found.etag };
    if (expected === undefined || found?.etag !== expected) return { outcome: 'preconditionFailed' };
    return { outcome: 'preconditionFailed', isExpected: true };
  }

  /** Undefined when the condition did not hold. */
  async #sendPut(
    key: string,
    input: PutObjectCommandInput,
    body: OutgoingBody,
    signal: AbortSignal | undefined,
  ): Promise<Etag | undefined> {
    const { sizeBytes } = body;
    return await this.#ask({ what: `put ${key}`, way: this.#sent, sizeBytes, signal }, async (stop) => {
      const isConditional = input.IfMatch !== undefined || input.IfNoneMatch !== undefined;
      try {
        const release = await this.#sent.bytes.acquire(sizeBytes, stop);
        try {
          const abortSignal = body.broken === undefined ? stop : AbortSignal.any([stop, body.broken]);
          return plainEtag(await putObject(this.#client, input, body, abortSignal));
        } finally {
          release();
        }
      } catch (error) {
        if (body.broken?.aborted === true) throw body.broken.reason;
        if (isConditional && (statusOf(error) === 412 || isNoSuchKey(error))) return undefined;
        throw error;
      }
    });
  }

  /** What was damaged on its way is read once more; what is damaged in the store is left to who reads it to find. */
  async get(key: string, options: GetOptions = {}): Promise<ObjectBody | undefined> {
    checkKey(key);
    checkSpan(key, options.span);
    const first = await this.#getOnce(key, options);
    if (first === undefined || first.isWhole) return first?.body;
    return (await this.#getOnce(key, options))?.body;
  }

  async #getOnce(key: string, { span, signal }: GetOptions): Promise<Part | undefined> {
    const range = span === undefined ? undefined : rangeOf(span);
    try {
      const asked = { what: `get ${key}`, way: this.#received, sizeBytes: spanLength(span), signal };
      const isAbsence = (error: unknown): boolean => isNoSuchKey(error) || statusOf(error) === 416;
      return await this.#ask({ ...asked, isAbsence }, async (stop) => {
        const ask = async (abortSignal: AbortSignal): Promise<DirectObject> =>
          await getObject(this.#client, { ...this.#at(key), Range: range }, abortSignal);
        const output = this.#hedging === undefined ? await ask(stop) : await this.#hedging.run(ask, discard, stop);
        return await this.#receive(key, span, output, stop);
      });
    } catch (error) {
      if (!(error instanceof Absent)) throw error;
      if (error.status === 404) return undefined;
    }
    // Nothing of the object is in the range, says the server: the size tells whether that is so.
    const info = await this.head(key, signal === undefined ? {} : { signal });
    if (info === undefined) return undefined;
    resolveSpan(key, span, info.sizeBytes);
    throw new SgwError('unavailable', 'store-error', `the store gave no part of ${key}, which changed meanwhile`);
  }

  async #receive(key: string, span: ByteSpan | undefined, output: DirectObject, stop: AbortSignal): Promise<Part> {
    const stream = output.Body as Readable | undefined;
    const length = output.ContentLength;
    if (stream === undefined || length === undefined)
      throw new SgwError('unavailable', 'store-error', `the store sent ${key} without its length`);
    const release = await this.#received.bytes.acquire(length, stop);
    try {
      const bytes = await collect(stream, length, key, stop);
      const total = /\/(\d+)$/.exec(output.ContentRange ?? '')?.[1];
      const info = { key, sizeBytes: total === undefined ? length : Number(total), etag: plainEtag(output.ETag) };
      if (total !== undefined) return { body: { ...info, bytes }, isWhole: true };
      const isWhole = matchesCheck(bytes, output.Metadata?.[CHECK_NAME]);
      // A server that knows no ranges sends the whole.
      const { start, end } = resolveSpan(key, span, length);
      return {
        body: { ...info, bytes: span === undefined ? bytes : Buffer.from(bytes.subarray(start, end)) },
        isWhole,
      };
    } finally {
      release();
      stream.destroy();
    }
  }

  async head(key: string, options: CallOptions = {}): Promise<ObjectInfo | undefined> {
    checkKey(key);
    const found = await this.#find(key, options.signal);
    return found === undefined ? undefined : { key, sizeBytes: found.sizeBytes, etag: found.etag };
  }

  async #find(key: string, signal: AbortSignal | undefined): Promise<Found | undefined> {
    try {
      const asked = { what: `look at ${key}`, way: this.#received, signal, isAbsence: isAbsentToHead };
      return await this.#ask(asked, async (abortSignal) => {
        const { ContentLength, ETag, Metadata } = await this.#client.send(new HeadObjectCommand(this.#at(key)), {
          abortSignal,
        });
        return { key, sizeBytes: ContentLength ?? 0, etag: plainEtag(ETag), call: Metadata?.[CALL_NAME] };
      });
    } catch (error) {
      // Not every server names the request in its 404: a GET is answered in words.
      if (error instanceof Absent || (isNotFound(error) && (await this.#isAbsentToGet(key, signal)))) return undefined;
      throw error;
    }
  }

  async #isAbsentToGet(key: string, signal: AbortSignal | undefined): Promise<boolean> {
    const call = signal === undefined ? {} : { signal };
    return (await this.get(key, { span: FIRST_BYTE, ...call }).catch(() => null)) === undefined;
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    const { startAfter = '', limit, signal } = options;
    checkPrefix(prefix);
    checkLimit(limit);
    let left = limit ?? Number.POSITIVE_INFINITY;
    throwIfAborted(signal);
    if (left === 0) return;
    const start = startAfter === '' ? {} : { StartAfter: this.#prefix + startAfter };
    for await (const page of this.#pages(
      { Prefix: this.#prefix + prefix, ...start },
      Math.min(left, PAGE_KEYS_MAX),
      signal,
    )) {
      for (const { Key = '', Size = 0, ETag } of page.Contents ?? []) {
        const key = Key.slice(this.#prefix.length);
        // What others keep in the bucket is none of the store's.
        if (!key.split('/').every(isComponent)) continue;
        yield { key, sizeBytes: Size, etag: plainEtag(ETag) };
        left -= 1;
        if (left === 0) return;
      }
    }
  }

  async *listFolders(prefix: string, options: CallOptions = {}): AsyncGenerator<string> {
    checkFolder(prefix);
    const full = this.#prefix + prefix;
    for await (const page of this.#pages({ Prefix: full, Delimiter: '/' }, PAGE_KEYS_MAX, options.signal)) {
      for (const { Prefix = '' } of page.CommonPrefixes ?? []) {
        const folder = Prefix.slice(full.length, -1);
        if (isComponent(folder)) yield folder;
      }
    }
  }

  async *#pages(
    input: Omit<ListObjectsV2CommandInput, 'Bucket'>,
    keysMax: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ListObjectsV2CommandOutput> {
    const asked = { what: `list ${input.Prefix ?? ''}`, way: this.#received, signal };
    for (let token: string | undefined, isFirst = true; isFirst || token !== undefined; isFirst = false) {
      const command = new ListObjectsV2Command({
        Bucket: this.#place.bucket,
        ...input,
        MaxKeys: keysMax,
        ...(token === undefined ? {} : { ContinuationToken: token }),
      });
      const page = await this.#ask(asked, async (abortSignal) => this.#client.send(command, { abortSignal }));
      yield page;
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    }
  }

  async delete(key: string, options: CallOptions & { readonly ifMatch?: Etag } = {}): Promise<boolean> {
    checkKey(key);
    const { ifMatch, signal } = options;
    const found = await this.#find(key, signal);
    if (found === undefined) return false;
    if (ifMatch !== undefined && found.etag !== ifMatch) throw etagMismatch(key);
    const isConditional = ifMatch !== undefined && this.#removesConditionally;
    try {
      const asked = { what: `delete ${key}`, way: this.#sent, signal, isAbsence: isNoSuchKey };
      await this.#ask(asked, async (abortSignal) => {
        const condition = isConditional ? { IfMatch: this.#etagText(ifMatch) } : {};
        await this.#client.send(new DeleteObjectCommand({ ...this.#at(key), ...condition }), { abortSignal });
      });
      return true;
    } catch (error) {
      if (error instanceof Absent) return false;
      if (!isConditional || !(error instanceof SgwError)) throw error;
      if (error.details['status'] === 412) throw etagMismatch(key);
      if (error.code !== 'store-refused') throw error;
    }
    this.#removesConditionally = false;
    return await this.delete(key, options);
  }

  async close(): Promise<void> {
    if (!this.#isClosed) this.#client.destroy();
    this.#isClosed = true;
    await Promise.resolve();
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#place.bucket, Key: this.#prefix + key };
  }

  #etagText(etag: Etag): string {
    return etagText(etag, this.#quotesEtags ?? this.#guessesQuotes());
  }

  /** Until it is known: Ceph refuses an etag in its quotes, others are right to want it so. */
  #guessesQuotes(): boolean {
    return this.#seen.server !== CEPH;
  }

  /**
   * Runs one request within the bounds, and turns what it throws into an error of ours.
   * @throws Absent when there is no such object, or no such part of it
   */
  async #ask<T>(asked: Asked, request: (stop: AbortSignal) => Promise<T>): Promise<T> {
    const { what, way, signal, sizeBytes = 0, isAbsence } = asked;
    const release = await way.requests.acquire(1, signal);
    const timeoutMs = this.#requestTimeoutMs + (sizeBytes / SLOWEST_BYTES_PER_SECOND) * 1000;
    using deadline = new Deadline(signal, timeoutMs, this.#clock);
    try {
      return await request(deadline.signal);
    } catch (error) {
      throwIfAborted(signal);
      if (deadline.isOver) {
        const message = `the store took more than ${String(Math.round(timeoutMs / 1000))} s to ${what}`;
        throw new SgwError('timeout', 'store-timeout', message, { details: { store: this.description } });
      }
      if (isAbsence?.(error) === true) throw new Absent(statusOf(error) === 416 ? 416 : 404);
      throw s3Failure(error, { what, place: this.#place });
    } finally {
      release();
    }
  }
}
