/**
 * What a schedule should have made and kept, told from outside: by what was seen to be made, and by the calendar as
 * `retention-oracle.ts` counts it. It knows nothing of how the product decides.
 */
import type { RetentionRule } from '../../../src/core/state/index.ts';
import { keptByCalendar } from '../../property/retention-oracle.ts';

const MINUTE = 60_000;
/** A daemon and a store that are there for so long do what is owed: a retry waits 5 minutes at most. */
const ENOUGH_MS = 8 * MINUTE;
/** 1970-01-05, a Monday. */
const MONDAY_MS = 4 * 24 * 60 * MINUTE;

export interface Made {
  readonly id: string;
  readonly name: string;
  readonly atMs: number;
  /** What it has to read as. */
  readonly image: Buffer;
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

export class ScheduleLedger {
  readonly name: string;
  readonly everyMs: number;
  readonly atMinute: number;
  keep: RetentionRule[] | null;
  /** Those of the schedule that should be there. */
  left: Made[] = [];
  /** Of `left`, those that nobody may delete now. */
  readonly held = new Set<string>();
  readonly #slots = new Map<number, string>();
  /** When the volume, the daemon and the store were there. */
  readonly #up: Span[] = [];
  /** Slots about which a jump of the clock leaves it open whether they run. */
  readonly #excused: Span[] = [];

  constructor(name: string, everyMs: number, atMinute: number, keep: RetentionRule[] | null) {
    this.name = name;
    this.everyMs = everyMs;
    this.atMinute = atMinute;
    this.keep = keep;
  }

  made(snapshot: Made, dueMs: number): void {
    const before = this.#slots.get(dueMs);
    if (before !== undefined)
      throw new Error(`slot ${iso(dueMs)} of ${this.name} ran twice: ${before}, ${snapshot.name}`);
    if ((dueMs - MONDAY_MS - this.atMinute * MINUTE) % this.everyMs !== 0)
      throw new Error(`${iso(dueMs)} is no slot of ${this.name}`);
    this.#slots.set(dueMs, snapshot.name);
    this.left.push(snapshot);
  }

  /** The clock was set back to this time. What ran more than a slot ahead of it ran by a wrong clock, and will run when it is time. */
  setBack(nowMs: number): void {
    for (const dueMs of this.#slots.keys()) if (dueMs - nowMs > this.everyMs) this.#slots.delete(dueMs);
  }

  /** It thinned at this time. */
  thinned(nowMs: number): void {
    const kept = new Set(keptByCalendar(this.left, nowMs, this.keep).map(({ id }) => id));
    this.left = this.left.filter(({ id }) => kept.has(id) || this.held.has(id));
  }

  forget(id: string): void {
    this.left = this.left.filter((one) => one.id !== id);
    this.held.delete(id);
  }

  /** From and to are times of the day, and the clock ran evenly between. */
  wasUp(fromMs: number, toMs: number): void {
    const last = this.#up.at(-1);
    if (last?.toMs === fromMs) this.#up[this.#up.length - 1] = { fromMs: last.fromMs, toMs };
    else this.#up.push({ fromMs, toMs });
  }

  excuse(fromMs: number, toMs: number): void {
    this.#excused.push({ fromMs: fromMs - 2 * this.everyMs, toMs: toMs + 2 * this.everyMs });
  }

  /** Every slot during which all was there for long enough has run. */
  checkRuns(fromMs: number, toMs: number): void {
    const firstMs = MONDAY_MS + this.atMinute * MINUTE;
    const first = firstMs + Math.ceil((fromMs - firstMs) / this.everyMs) * this.everyMs;
    for (let slot = first; slot + this.everyMs <= toMs; slot += this.everyMs) {
      const end = slot + this.everyMs;
      if (this.#slots.has(slot) || this.#excused.some((span) => span.fromMs < end && span.toMs > slot)) continue;
      const up = this.#up.find((span) => Math.min(span.toMs, end) - Math.max(span.fromMs, slot) > ENOUGH_MS);
      if (up !== undefined) throw new Error(`slot ${iso(slot)} of ${this.name} did not run`);
    }
  }

  get runs(): number {
    return this.#slots.size;
  }
}

const iso = (atMs: number): string => new Date(atMs).toISOString();
