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
