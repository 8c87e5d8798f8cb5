/**
 * Requests that come down a connection, and their answers.
 *
 * Invariants: at most `CONTROL_CALLS_MAX` calls are under way; a call of an id that was seen is not run again; an answer is
 * sent whole or not at all, and a slow connection holds at most one part of each in memory beyond what waits to be sent;
 * when the connection ends, what is under way is told to stop, as when the caller of a local call goes away.
 */
import { SgwError, toSgwError, type Clock } from '../../kit/index.ts';
import type { Progress } from '../../localapi/index.ts';
import {
  CONTROL_CALLS_MAX,
  CONTROL_PART_LENGTH,
  CONTROL_RESULT_LENGTH_MAX,
  type ControlRequest,
  type UpFrame,
} from '../../protocol/index.ts';

/** Progress is for people. */
const PROGRESS_PERIOD_MS = 250;
/** Progress is left out while this much waits to be sent. */
const UNSENT_BYTES_MAX = 64 << 10;
/** Ids of calls that were seen: for as long as a server may send one again. */
const SEEN_MAX = 1024;

/** Does what a request asks. What it throws is what is answered. */
export type RequestHandler = (
  request: ControlRequest,
  how: { readonly signal: AbortSignal; readonly onProgress: (progress: Progress) => void },
) => Promise<unknown>;

/** Where answers go. */
export interface UpLink {
  /** Bytes that wait to be sent. */
  readonly unsentBytes: number;
  /** Resolves when the frame has left this process; rejects when the connection is gone. */
  send(frame: UpFrame): Promise<void>;
}

/** The ids of calls that this process has run: kept over connections. */
export class SeenCalls {
  readonly #ids = new Set<string>();

  /** False when it was there already. */
  add(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > SEEN_MAX) for (const oldest of [...this.#ids].slice(0, 1)) this.#ids.delete(oldest);
    return true;
  }
}

export class RequestRunner {
  readonly #link: UpLink;
  readonly #handler: RequestHandler;
  readonly #seen: SeenCalls;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #running = new Map<string, AbortController>();
  readonly #answers = new Set<Promise<void>>();
  #calls = 0;
  #callsTaken = 0;

  constructor(link: UpLink, handler: RequestHandler, seen: SeenCalls, clock: Pick<Clock, 'monotonicMs'>) {
    this.#link = link;
    this.#handler = handler;
    this.#seen = seen;
    this.#clock = clock;
  }

  get underWay(): number {
    return this.#running.size;
  }

  /** Calls that were begun, whatever came of them. */
  get callsTaken(): number {
    return this.#callsTaken;
  }

  /** Begins a request; its answer follows. Never fails. */
  run(request: ControlRequest): void {
    const answer = this.#answer(request).finally(() => {
      this.#answers.delete(answer);
    });
    this.#answers.add(answer);
  }

  /** Tells a request to stop; its answer says that it did. One that is not under way is no matter. */
  cancel(id: string): void {
    this.#running.get(id)?.abort(new SgwError('aborted', 'caller-gone', 'nobody waits for the answer any more'));
  }

  /** Answers what can not be asked of this version. */
  refuse(id: string): void {
    void this.#fail(id, new SgwError('unsupported', 'gateway-outdated', 'the gateway does not know this request'));
  }

  /** Tells all to stop. */
  stop(reason: SgwError): void {
    for (const running of this.#running.values()) running.abort(reason);
  }

  /** Resolves when everything that was asked is answered. */
  async settled(): Promise<void> {
    while (this.#answers.size > 0) await Promise.all(this.#answers);
  }

  async #answer(request: ControlRequest): Promise<void> {
    const { id } = request;
    const isCall = request.kind === 'call';
    if (this.#running.has(id) || (isCall && !this.#seen.add(id))) {
      await this.#fail(id, new SgwError('conflict', 'call-repeated', 'this call was sent before'));
      return;
    }
    if (isCall && this.#calls >= CONTROL_CALLS_MAX) {
      await this.#fail(id, tooManyCalls());
      return;
    }
    const stop = new AbortController();
    this.#running.set(id, stop);
    if (isCall) this.#calls++;
    if (isCall) this.#callsTaken++;
    try {
      const result = await this.#handler(request, { signal: stop.signal, onProgress: this.#progressOf(id) });
      await this.#result(id, result);
    } catch (error) {
      await this.#fail(id, toSgwError(error));
    } finally {
      this.#running.delete(id);
      if (isCall) this.#calls--;
    }
  }

  #progressOf(id: string): (progress: Progress) => void {
    let lastMs = Number.NEGATIVE_INFINITY;
    return (progress) => {
      const nowMs = this.#clock.monotonicMs();
      if (nowMs - lastMs < PROGRESS_PERIOD_MS || this.#link.unsentBytes > UNSENT_BYTES_MAX) return;
      lastMs = nowMs;
      void this.#send({ kind: 'progress', id, progress });
    };
  }

  async #result(id: string, result: unknown): Promise<void> {
    const text = JSON.stringify(result ?? null);
    if (text.length > CONTROL_RESULT_LENGTH_MAX) throw tooLong();
    if (text.length <= CONTROL_PART_LENGTH) {
      await this.#send({ kind: 'result', id, result: result ?? null });
      return;
    }
    for (let at = 0; at < text.length; at += CONTROL_PART_LENGTH)
      await this.#send({ kind: 'part', id, text: text.slice(at, at + CONTROL_PART_LENGTH) });
    await this.#send({ kind: 'result', id });
  }

  async #fail(id: string, failure: SgwError): Promise<void> {
    await this.#send({ kind: 'error', id, error: failure.toDocument() });
  }

  /** A connection that is gone needs no answer. */
  async #send(frame: UpFrame): Promise<void> {
    await this.#link.send(frame).catch(() => undefined);
  }
}

const tooManyCalls = (): SgwError =>
  new SgwError('unavailable', 'gateway-busy', `${String(CONTROL_CALLS_MAX)} calls are under way`, {
    hint: 'Wait until some of them are done.',
  });

const tooLong = (): SgwError =>
  new SgwError('exhausted', 'answer-too-long', 'the answer is longer than the service takes', {
    hint: 'Ask for less, or ask on the machine of the gateway.',
  });
