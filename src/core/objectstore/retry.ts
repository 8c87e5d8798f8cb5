/**
 * Tries calls again that ended `unavailable` or `timeout`, with exponential back-off, full jitter and a budget of time.
 * Nothing else is repeated. The same bytes are sent each time.
 *
 * After a try with an unknown outcome a conditional put can be refused because of its own success. Such a refusal is
 * marked `ambiguous`, and the caller settles it (PROTOCOL C3), unless the store below knows the call by its name. Likewise a removal may answer false, or `etag-mismatch`
 * with `details.ambiguous`, after an earlier try of the same call has removed the object.
 */
import {
  SgwError,
  systemClock,
  systemRandom,
  throwIfAborted,
  toSgwError,
  type Clock,
  type Random,
} from '../kit/index.ts';
import type {
  ByteSpan,
  CallOptions,
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectStore,
  PutBody,
  PutOptions,
  PutResult,
  PutStream,
} from './contract.ts';
import { resolveSpan } from './arguments.ts';
import { StoreLayer, type DeleteOptions } from './layer.ts';

export interface RetryOptions {
  /** Tries of one call, the first included. Default 8. */
  readonly triesMax?: number;
  /** No new try begins later than this after the call began. Default 60 000. */
  readonly budgetMs?: number;
  /** The first delay is a random part of this; it doubles with each try. Default 50. */
  readonly baseDelayMs?: number;
  /** Default 5000. */
  readonly delayMaxMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Told of every failure that is followed by another try. */
  readonly onRetry?: (failure: SgwError, tryNumber: number) => void;
}

const callPrefix = systemRandom.bytes(12).toString('hex');
let calls = 0;

/** Another one for each call of any process. Nothing is decided by it, so that it need not replay. */
const newCallId = (): string => `${callPrefix}-${(calls++).toString(36)}`;

/** Counts the tries of one call. */
interface Tries {
  count: number;
  readonly startedMs: number;
}

class RetryingStore extends StoreLayer {
  readonly #options: Required<Omit<RetryOptions, 'onRetry'>>;
  readonly #onRetry: RetryOptions['onRetry'];
  /** One try: the pieces are gone after it. Who sent them has them still, and repeats the whole. */
  readonly putStream?: PutStream;

  constructor(below: ObjectStore, options: RetryOptions) {
    super(below);
    if (below.putStream !== undefined) this.putStream = below.putStream.bind(below);
    this.#options = {
      triesMax: options.triesMax ?? 8,
      budgetMs: options.budgetMs ?? 60_000,
      baseDelayMs: options.baseDelayMs ?? 50,
      delayMaxMs: options.delayMaxMs ?? 5000,
      clock: options.clock ?? systemClock,
      random: options.random ?? systemRandom,
    };
    this.#onRetry = options.onRetry;
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    const named = options?.condition === undefined ? options : { callId: newCallId(), ...options };
    return this.#repeat(options?.signal, async (tries) => {
      const result = await this.below.put(key, body, named);
      return result.outcome === 'preconditionFailed' && tries.count > 1 ? { ...result, ambiguous: true } : result;
    });
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    return this.#repeat(options?.signal, async () => {
      const body = await this.below.get(key, options);
      if (body !== undefined) checkLength(body, options?.span);
      return body;
    });
  }

  override async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    return this.#repeat(options?.signal, async () => this.below.head(key, options));
  }

  override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    return this.#repeat(options?.signal, async (tries) => {
      try {
        return await this.below.delete(key, options);
      } catch (error) {
        const failure = toSgwError(error);
        if (failure.kind !== 'conflict' || tries.count === 1) throw failure;
        throw new SgwError(failure.kind, failure.code, failure.message, {
          details: { ...failure.details, ambiguous: true },
          cause: failure,
        });
      }
    });
  }

  /** After a failure the list goes on behind the last object that it yielded, with a new set of tries. */
  override async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    let { startAfter, limit } = options;
    for (let tries = this.#begin(); ; tries.count++) {
      const resumed = {
        ...options,
        ...(startAfter === undefined ? {} : { startAfter }),
        ...(limit === undefined ? {} : { limit }),
      };
      try {
        for await (const info of this.below.list(prefix, resumed)) {
          yield info;
          startAfter = info.key;
          if (limit !== undefined) limit -= 1;
          tries = this.#begin();
        }
        return;
      } catch (error) {
        await this.#backOff(tries, error, options.signal);
      }
    }
  }

  /** Collected before the first is yielded, so that a failure begins anew. */
  override async *listFolders(prefix: string, options: CallOptions = {}): AsyncGenerator<string> {
    yield* await this.#repeat(options.signal, async () => Array.fromAsync(this.below.listFolders(prefix, options)));
  }

  #begin(): Tries {
    return { count: 1, startedMs: this.#options.clock.monotonicMs() };
  }

  async #repeat<T>(signal: AbortSignal | undefined, call: (tries: Tries) => Promise<T>): Promise<T> {
    for (const tries = this.#begin(); ; tries.count++) {
      try {
        return await call(tries);
      } catch (error) {
        await this.#backOff(tries, error, signal);
      }
    }
  }

  /** Waits before the next try. @throws the failure when there is none. */
  async #backOff(tries: Tries, error: unknown, signal: AbortSignal | undefined): Promise<void> {
    const failure = toSgwError(error);
    const { clock, random, triesMax, budgetMs, baseDelayMs, delayMaxMs } = this.#options;
    if (failure.kind !== 'unavailable' && failure.kind !== 'timeout') throw failure;
    throwIfAborted(signal);
    const delayMs = random.float() * Math.min(delayMaxMs, baseDelayMs * 2 ** (tries.count - 1));
    const spentMs = clock.monotonicMs() - tries.startedMs;
    if (tries.count >= triesMax || spentMs + delayMs > budgetMs) throw failure;
    this.#onRetry?.(failure, tries.count);
    await sleep(clock, delayMs, signal);
  }
}

/** Sleeps; a signal that fires meanwhile is thrown as its own reason. */
export async function sleep(clock: Clock, durationMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await clock.sleep(durationMs, signal);
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  }
}

/** A reply that was cut short on its way is an outage, not an object. */
function checkLength(body: ObjectBody, span: ByteSpan | undefined): void {
  const { start, end } = resolveSpan(body.key, span, body.sizeBytes);
  if (body.bytes.length === end - start) return;
  throw new SgwError(
    'unavailable',
    'short-reply',
    `the store sent ${String(body.bytes.length)} of ${String(end - start)} bytes of ${body.key}`,
    {
      details: { key: body.key },
    },
  );
}

/** `below`, with calls repeated as the file header says. Closing it closes `below`. */
export function withRetry(below: ObjectStore, options: RetryOptions = {}): ObjectStore {
  return new RetryingStore(below, options);
}
