/**
 * How old the oldest record is that a member lacks: where the log ended is noted from time to time, so that the age of a record is
 * known to a note. A member that is always a little behind, since writes never cease, lacks only what is young.
 *
 * Invariant: notes ascend in both their numbers, and are `NOTES_MAX` at most: the older they are, the further apart.
 */
const NOTES_MAX = 64;

interface Note {
  /** The log's last record at that time. */
  readonly sequence: number;
  readonly at: number;
}

export class Lags {
  #notes: Note[] = [];

  /** The log ends with `last` now; everybody has the records up to `had`. */
  note(last: number, had: number, now: number): void {
    this.#notes = this.#notes.filter(({ sequence }) => sequence > had);
    if (last <= Math.max(had, this.#notes.at(-1)?.sequence ?? 0)) return;
    this.#notes.push({ sequence: last, at: now });
    if (this.#notes.length > NOTES_MAX) this.#notes = this.#notes.filter((_, i) => i % 2 === 0);
  }

  /** For how long at least there has been a record that who has those up to `received` lacks; 0 when there is none. */
  lagMs(received: number, now: number): number {
    const first = this.#notes.find(({ sequence }) => sequence > received);
    return first === undefined ? 0 : now - first.at;
  }
}
