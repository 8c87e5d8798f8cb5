/** Whether an initiator is still there, and sends the data that it owes. */

export interface LivenessLimits {
  readonly idleMs: number;
  readonly dataMs: number;
}

export class Liveness {
  readonly #limits: LivenessLimits;
  /** Something came since the last check. */
  #isHeard = false;
  #isPinged = false;
  #silentSinceMs: number | undefined;
  /** Since when data are owed and none came. */
  #dataSinceMs: number | undefined;

  constructor(limits: LivenessLimits) {
    this.#limits = limits;
  }

  /** A PDU came. */
  heard(): void {
    this.#isHeard = true;
  }

  /** Data that a command waits for came. */
  dataCame(): void {
    this.#dataSinceMs = undefined;
  }

  /**
   * To be called now and then. Calls `ping` when nothing was heard for a while. Why the initiator is to be let go: that it did not
   * answer, or that it owes data.
   */
  check(nowMs: number, owesData: boolean, ping: () => void): string | undefined {
    const { idleMs, dataMs } = this.#limits;
    if (this.#isHeard) {
      this.#isHeard = false;
      this.#silentSinceMs = undefined;
    }
    this.#silentSinceMs ??= nowMs;
    const silentMs = nowMs - this.#silentSinceMs;
    if (silentMs >= 2 * idleMs) return 'it does not answer';
    if (silentMs < idleMs) this.#isPinged = false;
    else if (!this.#isPinged) {
      this.#isPinged = true;
      ping();
    }
    if (owesData) this.#dataSinceMs ??= nowMs;
    else this.#dataSinceMs = undefined;
    return this.#dataSinceMs !== undefined && nowMs - this.#dataSinceMs >= dataMs ? 'it owes data' : undefined;
  }
}
