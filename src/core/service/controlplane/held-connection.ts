/**
 * A gateway's connection that this server holds: requests go down, answers come up.
 *
 * States: open -> closed. Invariants: a request is settled exactly once: by its answer, its deadline, its caller, or the end of
 * the connection; at most `CONTROL_CALLS_MAX` calls are under way; an answer is kept in memory up to
 * `CONTROL_RESULT_LENGTH_MAX`; a gateway that sends what nobody asked for is cut off.
 */
import { abortReason, parseShallowJson, toSgwError, type Clock, type SgwError } from '../../kit/index.ts';
import type { Progress } from '../../localapi/index.ts';
import {
  CONTROL_CALLS_MAX,
  CONTROL_CLOSE,
  CONTROL_RESULT_LENGTH_MAX,
  readUpFrame,
  sentError,
  type ControlRequest,
  type DownFrame,
  type HelloFrame,
  type UpFrame,
} from '../../protocol/index.ts';
import type { ControlSocket } from './accepting.ts';
import { answerTooLong, connectionLost, gatewayBusy, gatewayOutdated, gatewayTimedOut } from './failures.ts';

/** What may wait to be read by a gateway. */
const UNSENT_BYTES_MAX = 4 << 20;
/** Requests that nobody waits for any more; their answers may be on the way. */
const LEFT_MAX = 256;
/** Pings without a sign of life, after which the connection counts as gone. */
const SILENT_PINGS_MAX = 2;
/** What a part of an answer counts for at least. */
const PART_LENGTH_MIN = 1024;
/** For the other side to answer a close. */
const CLOSE_MS = 2000;

/** A request without the id that it gets. */
export type Asked = ControlRequest extends infer R ? (R extends ControlRequest ? Omit<R, 'id'> : never) : never;

export interface AskHow {
  /** Unique; the gateway runs a call of the same id once. */
  readonly id: string;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

interface Pending {
  readonly isCall: boolean;
  readonly settle: (outcome: { readonly result: unknown } | { readonly failure: SgwError }) => void;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  parts: string[];
  length: number;
}

export interface HeldOptions {
  readonly socket: ControlSocket;
  readonly hello: HelloFrame;
  readonly accountId: string;
  /** Of the connection. */
  readonly epoch: number;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly pingMs: number;
  readonly onClosed: () => void;
}

export class HeldConnection {
  readonly #options: HeldOptions;
  readonly #pending = new Map<string, Pending>();
  readonly #left = new Set<string>();
  readonly #ping: NodeJS.Timeout;
  readonly #closed = Promise.withResolvers<undefined>();
  readonly connectedAtMs: number;
  #calls = 0;
  #silentPings = 0;
  #isOpen = true;

  constructor(options: HeldOptions) {
    this.#options = options;
    this.connectedAtMs = options.clock.nowMs();
    const { socket, pingMs } = options;
    socket.on('message', (data, isBinary) => {
      this.#take(data as Buffer, isBinary);
    });
    socket.on('pong', () => {
      this.#silentPings = 0;
    });
    socket.once('close', () => {
      this.#end();
    });
    // A failure is followed by `close`.
    socket.on('error', () => undefined);
    this.#ping = setInterval(() => {
      this.#beat();
    }, pingMs);
    if (socket.readyState !== socket.OPEN) queueMicrotask(this.#end.bind(this));
  }

  get gatewayId(): string {
    return this.#options.hello.gatewayId;
  }

  get accountId(): string {
    return this.#options.accountId;
  }

  get epoch(): number {
    return this.#options.epoch;
  }

  get hello(): HelloFrame {
    return this.#options.hello;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get callsUnderWay(): number {
    return this.#calls;
  }

  /** Resolves when the connection has ended. */
  get closed(): Promise<undefined> {
    return this.#closed.promise;
  }

  send(frame: DownFrame): void {
    if (this.#isOpen) this.#options.socket.send(JSON.stringify(frame));
  }

  /**
   * Sends a request and waits for its answer.
   * @throws what the gateway answers with; unavailable `gateway-busy`, `gateway-connection-lost`; timeout `gateway-timed-out`;
   * unsupported `gateway-outdated`; the signal's reason
   */
  async ask(request: Asked, { id, deadlineMs, signal, onProgress }: AskHow): Promise<unknown> {
    const { socket } = this.#options;
    const isCall = request.kind === 'call';
    if (signal.aborted) throw abortReason(signal);
    if (!this.#isOpen) throw connectionLost(this.gatewayId);
    if ((isCall && this.#calls >= CONTROL_CALLS_MAX) || socket.bufferedAmount > UNSENT_BYTES_MAX)
      throw gatewayBusy(this.gatewayId, this.#calls);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const stop = (): void => {
      this.#leave(id, abortReason(signal));
    };
    const timer = setTimeout(() => {
      this.#leave(id, gatewayTimedOut(deadlineMs));
    }, deadlineMs);
    this.#pending.set(id, {
      isCall,
      onProgress,
      parts: [],
      length: 0,
      settle: (outcome) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', stop);
        if (isCall) this.#calls--;
        this.#pending.delete(id);
        if ('failure' in outcome) reject(outcome.failure);
        else resolve(outcome.result);
      },
    });
    signal.addEventListener('abort', stop, { once: true });
    if (isCall) this.#calls++;
    this.send({ ...request, id });
    return await promise;
  }

  /** Ends it, telling why. Idempotent. */
  close(code: (typeof CONTROL_CLOSE)[keyof typeof CONTROL_CLOSE]): void {
    const { socket } = this.#options;
    if (!this.#isOpen || socket.readyState === socket.CLOSING) return;
    socket.close(code);
    setTimeout(() => {
      socket.terminate();
    }, CLOSE_MS).unref();
  }

  #take(data: Buffer, isBinary: boolean): void {
    this.#silentPings = 0;
    const frame = isBinary ? undefined : readUpFrame(data.toString('utf8'));
    if (frame === undefined || frame.kind === 'hello') {
      this.close(CONTROL_CLOSE.badFrame);
      return;
    }
    const pending = this.#pending.get(frame.id);
    if (pending !== undefined) this.#answer(frame, pending);
    else if (!this.#left.has(frame.id)) this.close(CONTROL_CLOSE.badFrame);
    else if (frame.kind === 'result' || frame.kind === 'error') this.#left.delete(frame.id);
  }

  #answer(frame: Exclude<UpFrame, HelloFrame>, pending: Pending): void {
    switch (frame.kind) {
      case 'progress': {
        // What else is in it goes no further.
        const { label, doneBytes, totalBytes } = frame.progress;
        pending.onProgress?.({ label, doneBytes, totalBytes });
        return;
      }
      case 'part':
        // One without text costs memory as well.
        pending.length += Math.max(PART_LENGTH_MIN, frame.text.length);
        if (pending.length > CONTROL_RESULT_LENGTH_MAX) this.#leave(frame.id, answerTooLong(this.gatewayId));
        else pending.parts.push(frame.text);
        return;
      case 'result':
        pending.settle(resultOf(frame, pending.parts));
        return;
      case 'error': {
        const { software } = this.#options.hello;
        const failure = sentError(frame.error);
        const isUnknown = OUTDATED.has(failure.code);
        pending.settle({ failure: isUnknown ? gatewayOutdated(this.gatewayId, software) : failure });
      }
    }
  }

  /** Nobody waits for it any more. */
  #leave(id: string, failure: SgwError): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    pending.settle({ failure });
    if (this.#left.size >= LEFT_MAX) for (const oldest of [...this.#left].slice(0, 1)) this.#left.delete(oldest);
    this.#left.add(id);
    this.send({ kind: 'cancel', id });
  }

  #beat(): void {
    const { socket } = this.#options;
    if (++this.#silentPings > SILENT_PINGS_MAX) {
      socket.terminate();
      return;
    }
    if (socket.bufferedAmount > UNSENT_BYTES_MAX) this.close(CONTROL_CLOSE.overrun);
    else if (socket.readyState === socket.OPEN) socket.ping();
  }

  #end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    clearInterval(this.#ping);
    for (const pending of [...this.#pending.values()]) pending.settle({ failure: connectionLost(this.gatewayId) });
    this.#options.onClosed();
    this.#closed.resolve(undefined);
  }
}

/** What a gateway of another version says of an operation or a frame that it does not know. */
const OUTDATED: ReadonlySet<string> = new Set(['unknown-operation', 'gateway-outdated']);

function resultOf(
  frame: { readonly result?: unknown },
  parts: readonly string[],
): { readonly result: unknown } | { readonly failure: SgwError } {
  if (parts.length === 0) return { result: frame.result };
  try {
    return { result: parseShallowJson(parts.join('')) };
  } catch (error) {
    return { failure: toSgwError(error) };
  }
}
