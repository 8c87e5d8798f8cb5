/**
 * The addresses that a server listens at, kept as the settings say. One that could not be had at the start of the gateway, since
 * another program has it or the network is not up yet, is waited for, and stops nothing else; one that is asked for while the
 * gateway runs has to be had at once, so that who asked is told.
 *
 * Invariants: one change after the other; what is waited for is tried again until it is had, no longer wanted, or all is closed.
 */
import { toSgwError, type Clock, type SgwError } from '../../kit/index.ts';
import { tcpPlace, type ListenAddress } from '../../sockets/index.ts';

const AGAIN_MS = 5000;

interface ListeningServer {
  listen(address: ListenAddress): Promise<ListenAddress>;
  unlisten(address: ListenAddress): Promise<void>;
}

/** An address that is waited for. */
export interface WaitingPlace {
  /** `HOST:PORT`. */
  readonly place: string;
  /** Why it could not be had when it was tried last. */
  readonly failure: SgwError;
}

export interface PlacesParts {
  readonly clock: Clock;
  /** What is waited for has changed: an address was had (without `failure`), or can't be had from now on. */
  readonly onChange: (place: string, failure: SgwError | undefined) => void;
}

interface Waiting {
  readonly address: ListenAddress;
  failure: SgwError;
}

export class Places {
  readonly #server: ListeningServer;
  readonly #parts: PlacesParts;
  readonly #closed = new AbortController();
  /** By address as the settings have it. */
  readonly #listening = new Map<string, ListenAddress>();
  #waiting = new Map<string, Waiting>();
  #turn: Promise<unknown> = Promise.resolve();
  #retrying: Promise<void> | undefined;

  constructor(server: ListeningServer, parts: PlacesParts) {
    this.#server = server;
    this.#parts = parts;
  }

  /**
   * Listens at these and nowhere else. Returns whether anything changed; clients that are connected stay. With `mayWait`, TCP
   * addresses that can't be had are waited for; those that are waited for already are in any case.
   * @throws unavailable `address-in-use`, `address-unknown`; denied; invalid
   */
  async apply(wanted: readonly ListenAddress[], { mayWait = false } = {}): Promise<boolean> {
    return await this.#inTurn(async () => this.#apply(wanted, mayWait));
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return await done;
  }

  async #apply(wanted: readonly ListenAddress[], mayWait: boolean): Promise<boolean> {
    const byName = new Map(wanted.map((address) => [JSON.stringify(address), address]));
    let isChanged = false;
    for (const [name, address] of this.#listening) {
      if (byName.has(name)) continue;
      await this.#server.unlisten(address);
      this.#listening.delete(name);
      isChanged = true;
    }
    const waiting = new Map<string, Waiting>();
    for (const [name, address] of byName) {
      if (this.#listening.has(name)) continue;
      const failure = await this.#tryNow(name, address);
      if (failure === undefined) isChanged = true;
      else if (address.kind === 'tcp' && (mayWait || this.#waiting.has(name))) waiting.set(name, { address, failure });
      else throw failure;
    }
    const before = this.#waiting;
    this.#waiting = waiting;
    for (const [name, { address, failure }] of waiting)
      if (!before.has(name)) this.#parts.onChange(placeOf(address), failure);
    if (waiting.size > 0) this.#retrying ??= this.#tryAgain();
    return isChanged;
  }

  /** The failure, if it is not listened at. */
  async #tryNow(name: string, address: ListenAddress): Promise<SgwError | undefined> {
    try {
      this.#listening.set(name, await this.#server.listen(address));
      return undefined;
    } catch (error) {
      return toSgwError(error);
    }
  }

  async #tryAgain(): Promise<void> {
    const { signal } = this.#closed;
    while (this.#waiting.size > 0) {
      try {
        await this.#parts.clock.sleep(AGAIN_MS, signal);
      } catch {
        break;
      }
      await this.#inTurn(async () => this.#tryWaiting(signal));
    }
    this.#retrying = undefined;
  }

  async #tryWaiting(signal: AbortSignal): Promise<void> {
    for (const [name, waiting] of this.#waiting) {
      if (signal.aborted) return;
      const failure = await this.#tryNow(name, waiting.address);
      if (failure === undefined) {
        this.#waiting.delete(name);
        this.#parts.onChange(placeOf(waiting.address), undefined);
      } else waiting.failure = failure;
    }
  }

  /** `HOST:PORT` of each TCP listener, with the ports in use. */
  get tcp(): string[] {
    return [...this.#listening.values()].flatMap((address) => (address.kind === 'tcp' ? [placeOf(address)] : []));
  }

  get waiting(): WaitingPlace[] {
    return [...this.#waiting.values()].map(({ address, failure }) => ({ place: placeOf(address), failure }));
  }

  /** Nothing is tried any more when it resolves; the server, which is closed next, listens still. Idempotent. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#retrying;
    await this.#turn;
  }
}

const placeOf = (address: ListenAddress): string => (address.kind === 'unix' ? address.path : tcpPlace(address));
