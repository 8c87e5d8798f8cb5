/** Bounds of what clients may have an NBD server hold. */
import { MIB } from '../kit/index.ts';

export interface ConnectionLimits {
  /** Requests under way. */
  readonly requestsMax: number;
  /** Their data. */
  readonly bytesMax: number;
  /** Replies that the client has not taken yet. */
  readonly backlogBytesMax: number;
}

export interface ServerLimits extends ConnectionLimits {
  readonly connectionsMax: number;
  /** Data of requests under way, over all connections. */
  readonly allBytesMax: number;
  /** A client that has not chosen its export by then is let go. */
  readonly negotiationMs: number;
  readonly optionBytesMax: number;
  /** Options of one negotiation. */
  readonly optionsMax: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  requestsMax: 1024,
  bytesMax: 64 * MIB,
  backlogBytesMax: 64 * MIB,
  connectionsMax: 256,
  allBytesMax: 512 * MIB,
  negotiationMs: 20_000,
  optionBytesMax: 64 * 1024,
  optionsMax: 1024,
};

/** Counts what is under way over all connections; those that found no room are told when there is some again. */
export class InFlight {
  readonly #bytesMax: number;
  readonly #waiting = new Set<() => void>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get hasRoom(): boolean {
    return this.#bytes < this.#bytesMax;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
  }

  remove(bytes: number): void {
    const before = this.#bytes;
    this.#bytes -= bytes;
    if (before >= this.#bytesMax && this.#bytes < this.#bytesMax) for (const tell of this.#waiting) tell();
  }

  /** Calls `tell` whenever there is room again, until the returned function is called. */
  whenRoom(tell: () => void): () => void {
    this.#waiting.add(tell);
    return () => this.#waiting.delete(tell);
  }
}
