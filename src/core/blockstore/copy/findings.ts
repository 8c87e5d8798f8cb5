/** What a copy or a comparison finds wrong, named as far as a list can hold it. */
import { toSgwError } from '../../kit/index.ts';

const LISTED_MAX = 1000;

export interface Damage {
  readonly key: string;
  readonly message: string;
}

export class Findings {
  readonly #listed = new Map<string, string>();
  #count = 0;

  /** Once for each key. */
  note(key: string, why: unknown): void {
    if (this.#listed.has(key)) return;
    this.#count += 1;
    if (this.#listed.size < LISTED_MAX) this.#listed.set(key, typeof why === 'string' ? why : toSgwError(why).message);
  }

  clear(): void {
    this.#listed.clear();
    this.#count = 0;
  }

  has(key: string): boolean {
    return this.#listed.has(key);
  }

  get count(): number {
    return this.#count;
  }

  /** By key. */
  get list(): Damage[] {
    return [...this.#listed].map(([key, message]) => ({ key, message })).sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}
