/**
 * Holds up the answers to logins that failed by their secret, so that secrets can't be tried fast: those of one address come one
 * after the other, a while apart. Nobody else waits for them, and logins that succeed do not wait.
 */
export class FailedLogins {
  readonly #delayMs: number;
  readonly #addressesMax: number;
  /** When the last answer to an address goes out, the one that was put there longest ago first. */
  readonly #nextMs = new Map<string, number>();

  constructor(delayMs: number, addressesMax: number) {
    this.#delayMs = delayMs;
    this.#addressesMax = addressesMax;
  }

  /** Addresses that are known. */
  get size(): number {
    return this.#nextMs.size;
  }

  /** For how long an answer to this address has to wait. `nowMs` is monotonic. */
  delayMs(address: string, nowMs: number): number {
    const next = Math.max(nowMs, this.#nextMs.get(address) ?? 0) + this.#delayMs;
    this.#nextMs.delete(address);
    this.#nextMs.set(address, next);
    for (const [other, atMs] of this.#nextMs) {
      if (this.#nextMs.size <= this.#addressesMax && atMs >= nowMs) break;
      this.#nextMs.delete(other);
    }
    return next - nowMs;
  }
}
