/** Choices of a simulation: everything that is decided comes from seeds. */
import { seededRandom, type Random } from '../../src/core/kit/index.ts';

export class Choices {
  readonly random: Random;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  /** A source of its own, named so that adding one leaves the others as they are. */
  static named(seed: number, name: string): Choices {
    let mixed = seed >>> 0;
    for (let i = 0; i < name.length; i++)
      mixed = (Math.imul(mixed ^ name.charCodeAt(i), 0x01000193) + 0x9e3779b9) >>> 0;
    return new Choices(mixed);
  }

  chance(probability: number): boolean {
    return probability > 0 && this.random.float() < probability;
  }

  /** A whole number from `from` up to `to`, both included. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.random.float() * (to - from + 1));
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.random.float() * items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  /** Log-uniform: as often between one and ten seconds as between one and ten days. */
  durationMs(fromMs: number, toMs: number): number {
    return Math.round(fromMs * (toMs / fromMs) ** this.random.float());
  }
}
