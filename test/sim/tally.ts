/** Counts what happened, so that nobody is fooled by a simulation in which nothing does. */
import { FAULT_KINDS, type FaultKind } from './fault-plan.ts';

export class Tally {
  readonly #faults = new Map<string, number>();
  readonly #points = new Map<string, number>();
  readonly #events = new Map<string, number>();
  readonly #checks = new Map<string, number>();

  fault(kind: FaultKind, where: string): void {
    add(this.#faults, kind);
    add(this.#points, `${where}!${kind}`);
  }

  /** A failpoint was passed. */
  point(name: string): void {
    add(this.#points, name);
  }

  /** Something worth counting happened. */
  event(name: string, times = 1): void {
    add(this.#events, name, times);
  }

  /** An invariant was checked, and held. */
  check(name: string): void {
    add(this.#checks, name);
  }

  merge(other: Tally): void {
    for (const [name, count] of other.#faults) add(this.#faults, name, count);
    for (const [name, count] of other.#points) add(this.#points, name, count);
    for (const [name, count] of other.#events) add(this.#events, name, count);
    for (const [name, count] of other.#checks) add(this.#checks, name, count);
  }

  faults(): Readonly<Record<FaultKind, number>> {
    return Object.fromEntries(FAULT_KINDS.map((kind) => [kind, this.#faults.get(kind) ?? 0])) as Record<
      FaultKind,
      number
    >;
  }

  points(): ReadonlyMap<string, number> {
    return this.#points;
  }

  events(): ReadonlyMap<string, number> {
    return this.#events;
  }

  checks(): ReadonlyMap<string, number> {
    return this.#checks;
  }
}

const add = (counts: Map<string, number>, name: string, times = 1): void => {
  counts.set(name, (counts.get(name) ?? 0) + times);
};

/** Counts as one line, names in order. */
export const countsLine = (counts: Iterable<readonly [string, number]>): string =>
  [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name} ${String(count)}`)
    .join(', ');
