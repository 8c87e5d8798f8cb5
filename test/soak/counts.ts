/** What the soak counts, and how it chooses the moment of a kill. */
import type { Random } from '../../src/core/kit/index.ts';
import type { Verb } from './actions.ts';
import type { KillPlan, Outcome, Phase } from './verb.ts';

/** How long a verb usually takes, and how often it changes the store's temporary folder. */
export type Habits = Map<Verb, { readonly durationMs: number; readonly events: number }>;

/** Part of the commands that run to their end. */
const UNHARMED_PART = 0.12;
const FIRST_GUESS = { durationMs: 700, events: 8 };
/** Node.js needs about so much of the time before a command does anything: most kills fall behind it. */
const START_PART = 0.35;

/**
 * Half of the kills fall at a uniform time of the command's usual duration, half at, or just after, one of its
 * usual changes of the store. Undefined: this one is left alone.
 */
export function killPlan(random: Random, habits: Habits, verb: Verb): KillPlan | undefined {
  if (random.float() < UNHARMED_PART) return undefined;
  const { durationMs, events } = habits.get(verb) ?? FIRST_GUESS;
  if (events >= 1 && random.float() < 0.5) {
    const delayMs = random.float() < 0.5 ? 0 : random.float() * 8;
    return { atEvent: 1 + Math.floor(random.float() * events), delayMs };
  }
  const from = random.float() < 0.15 ? 0 : START_PART;
  return { afterMs: durationMs * (from + (1.1 - from) * random.float()) };
}

const PHASES: readonly Phase[] = ['before', 'writing', 'between', 'ended'];

export class Counts {
  rounds = 0;
  kills = 0;
  readonly #rows = new Map<Verb, Record<Phase, number>>();

  add(verb: Verb, { killed, phase }: Outcome): void {
    if (killed) this.kills += 1;
    const row = this.#rows.get(verb) ?? { before: 0, writing: 0, between: 0, ended: 0 };
    row[killed ? phase : 'ended'] += 1;
    this.#rows.set(verb, row);
  }

  /** Kills by verb and by what they hit; `ended`: not killed, or not in time. */
  table(): string {
    const rows = [...this.#rows].sort(([a], [b]) => a.localeCompare(b));
    const lines = rows.map(
      ([verb, row]) => `${verb.padEnd(16)}${PHASES.map((phase) => String(row[phase]).padStart(9)).join('')}`,
    );
    return [`${'verb'.padEnd(16)}${PHASES.map((phase) => phase.padStart(9)).join('')}`, ...lines].join('\n');
  }
}
