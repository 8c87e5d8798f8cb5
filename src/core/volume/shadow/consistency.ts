/**
 * Which commits of a shadowing volume are states that its image had (C7): those up to where the shadow fell behind, and those
 * from where it had caught up.
 */
export class Consistency {
  #above = Number.POSITIVE_INFINITY;
  #from = Number.POSITIVE_INFINITY;

  /** Whether a commit whose last record is `sequence` shows a state of the image. */
  holds(sequence: number): boolean {
    return sequence <= this.#above || sequence >= this.#from;
  }

  /** What is logged behind `sequence` is no state of the image until `caughtUp`. */
  lost(sequence: number): void {
    this.#above = Math.min(this.#above, sequence);
    this.#from = Number.POSITIVE_INFINITY;
  }

  /** With the record `sequence` the log and the store hold what the image held when it was appended. */
  caughtUp(sequence: number): void {
    this.#from = sequence;
  }

  /** A commit of caught-up records is in the store: from now on each is a state. */
  settled(): void {
    this.#above = Number.POSITIVE_INFINITY;
    this.#from = Number.POSITIVE_INFINITY;
  }
}
