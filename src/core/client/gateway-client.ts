/**
 * A client of the gateway's local API: opens the gateway on the first call, gives each call its
 * deadline and the caller's wish to stop, and turns whatever is thrown into an SgwError.
 *
 * States: unopened -> open -> closed. Invariants: the gateway is opened at most once, and closed
 * exactly once if it was opened; after `close` every call fails with `client-closed`.
 */
import { SgwError, throwIfAborted, toSgwError } from '../kit/index.ts';
import type { Input, LocalApi, OperationName, Progress, Result, Secrets } from '../localapi/index.ts';

/** Where the gateway is, and how long its locks are waited for. */
export interface OpenOptions {
  /** Absolute path of the home directory. */
  readonly home: string;
  /** 12 digits; the home's own account when absent. */
  readonly accountId?: string;
  readonly lockTimeoutMs: number;
  /** A directory or the URL of a bucket: that store is read, without a home and a gateway. */
  readonly store?: string;
}

/** Opens a gateway and hands over its local API; the caller closes it. `signal` ends a wait for a daemon that starts. */
export type OpenGateway = (options: OpenOptions, signal?: AbortSignal) => Promise<LocalApi>;

export interface CallOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** How an encrypted store is opened; asked only when that is needed. */
  readonly secrets?: Secrets;
  /** The whole call fails with kind `timeout` after this many milliseconds. */
  readonly timeoutMs?: number;
}

const ignoreProgress = (): void => undefined;

export class GatewayClient implements AsyncDisposable {
  readonly #options: OpenOptions;
  readonly #open: OpenGateway;
  #opened: Promise<LocalApi> | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: OpenOptions, open: OpenGateway) {
    this.#options = options;
    this.#open = open;
  }

  /**
   * Runs one operation. Durable effects are those of the operation.
   * @throws what the operation throws; `deadline-passed` (timeout) when `timeoutMs` is over;
   * the signal's own reason when it fired; `internal` for anything that is no SgwError.
   */
  async call<N extends OperationName>(name: N, input: Input<N>, options: CallOptions): Promise<Result<N>> {
    if (this.#closed !== undefined) throw new SgwError('internal', 'client-closed', 'the gateway was closed already');
    throwIfAborted(options.signal);
    const deadline = startDeadline(name, options.timeoutMs);
    const signal = deadline === undefined ? options.signal : AbortSignal.any([options.signal, deadline.signal]);
    try {
      this.#opened ??= this.#open(this.#options, signal);
      const api = await this.#opened;
      throwIfAborted(signal);
      return await api.call(name, input, {
        signal,
        onProgress: options.onProgress ?? ignoreProgress,
        lockTimeoutMs: this.#options.lockTimeoutMs,
        ...(options.secrets === undefined ? {} : { secrets: options.secrets }),
      });
    } catch (error) {
      throw reasonOfStop(error, signal);
    } finally {
      deadline?.clear();
    }
  }

  /** Closes the gateway if a call opened it. Idempotent. */
  async close(): Promise<void> {
    this.#closed ??= this.#closeOnce();
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #closeOnce(): Promise<void> {
    const api = await this.#opened?.catch(() => undefined);
    await api?.[Symbol.asyncDispose]();
  }
}

function startDeadline(
  name: string,
  timeoutMs: number | undefined,
): { signal: AbortSignal; clear: () => void } | undefined {
  if (timeoutMs === undefined) return undefined;
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(
      new SgwError(
        'timeout',
        'deadline-passed',
        `${name.replace('.', ' ')} was not done after ${String(timeoutMs / 1000)} s`,
        {
          hint: 'Run the same command again with a longer --timeout; work already committed is kept.',
          details: { operation: name, timeoutMs },
        },
      ),
    );
  }, timeoutMs);
  return {
    signal: controller.signal,
    clear: () => {
      clearTimeout(timer);
    },
  };
}

/**
 * A call that ended because of its signal reports the signal's reason, however deep it was noticed. Programs
 * that work for the call may have got the user's signal too, and look out of reach because of it.
 */
function reasonOfStop(error: unknown, signal: AbortSignal): SgwError {
  const failure = toSgwError(error);
  if (!signal.aborted || (failure.kind !== 'aborted' && failure.kind !== 'unavailable')) return failure;
  const reason: unknown = signal.reason;
  return reason instanceof SgwError ? reason : failure;
}
