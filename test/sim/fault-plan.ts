/** What goes wrong in a run, and how often. Each seed has its own plan, so that rare mixtures come up as well. */
import type { Choices } from './random.ts';

/**
 * - `error500`, `conflict409`: nothing applied, `unavailable`. - `lostReply`: applied, then `unavailable`.
 * - `lateApply`: `unavailable` at once, applied later, maybe after its process has ended.
 * - `delay`: the call, or its reply, is held up. - `stall`: the process is, as by SIGSTOP. - `crash`: it ends.
 */
export const FAULT_KINDS = ['error500', 'conflict409', 'lostReply', 'lateApply', 'delay', 'stall', 'crash'] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

const BEFORE = ['error500', 'conflict409', 'lateApply', 'delay', 'stall', 'crash'] as const;
const AFTER = ['lostReply', 'delay', 'stall', 'crash'] as const;

/** A failpoint that a run meets with a fault more often than others. */
export interface Target {
  readonly point: RegExp;
  readonly process?: RegExp;
  readonly fault: FaultKind;
  readonly probability: number;
  /** Never more often than this. */
  times: number;
}

export interface FaultRates {
  readonly rates: Readonly<Partial<Record<FaultKind, number>>>;
  readonly targets?: readonly Target[];
  /** The chance that time runs ahead of what is ready. */
  readonly jump?: number;
  readonly delayMaxMs?: number;
  readonly stallMaxMs?: number;
  readonly lateMaxMs?: number;
}

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

export class FaultPlan {
  readonly delayMaxMs: number;
  readonly stallMaxMs: number;
  readonly lateMaxMs: number;
  #rates: Readonly<Partial<Record<FaultKind, number>>>;
  #targets: readonly Target[];
  #jump: number;

  constructor(rates: FaultRates) {
    this.#rates = rates.rates;
    this.#targets = rates.targets ?? [];
    this.#jump = rates.jump ?? 0;
    this.delayMaxMs = rates.delayMaxMs ?? 10 * MINUTE_MS;
    this.stallMaxMs = rates.stallMaxMs ?? 21 * DAY_MS;
    this.lateMaxMs = rates.lateMaxMs ?? 10 * MINUTE_MS;
  }

  get jump(): number {
    return this.#jump;
  }

  calm(): void {
    this.#rates = {};
    this.#targets = [];
    this.#jump = 0;
  }

  /** What happens to a call before it is made. */
  before(choices: Choices, name: string, process: string): FaultKind | undefined {
    return this.#draw(choices, `${name}.before`, process, BEFORE, isWrite(name));
  }

  /** What happens once it was made. */
  after(choices: Choices, name: string, process: string, writes: boolean): FaultKind | undefined {
    return this.#draw(choices, `${name}.after`, process, AFTER, writes);
  }

  #draw(
    choices: Choices,
    point: string,
    process: string,
    kinds: readonly FaultKind[],
    writes: boolean,
  ): FaultKind | undefined {
    for (const target of this.#targets) {
      if (target.times === 0 || !kinds.includes(target.fault) || !target.point.test(point)) continue;
      if (target.process?.test(process) === false || !choices.chance(target.probability)) continue;
      target.times -= 1;
      return target.fault;
    }
    let at = choices.random.float();
    for (const kind of kinds) {
      if (kind === 'lateApply' && !writes) continue;
      at -= (this.#rates[kind] ?? 0) / (kind === 'delay' || kind === 'stall' || kind === 'crash' ? 2 : 1);
      if (at < 0) return kind;
    }
    return undefined;
  }
}

const isWrite = (name: string): boolean => name.endsWith('.put') || name.endsWith('.delete');

/** Points at which a crash, a stall or a lost reply is most telling. */
const TELLING = [
  'segment.put',
  'map.put',
  'head.put',
  'snapshot.put',
  'snapshot-map.put',
  'volume-entry.put',
  'tombstone.put',
  'map.delete',
  'snapshot.delete',
  'snapshot-map.delete',
  'segment.delete',
  'head.delete',
  'volume-entry.delete',
  'condemned.put',
  'purged.put',
  'pin.put',
  'first-head.put',
] as const;

/** The plan of a seed. */
export function drawPlan(choices: Choices): FaultRates {
  const rate = (...of: readonly number[]): number => choices.pick(of);
  const targets: Target[] = [];
  for (let i = choices.integer(0, 4); i > 0; i--) {
    const moment = choices.pick(['before', 'after'] as const);
    // A process that ends tells most.
    const fault = choices.chance(0.3) ? 'crash' : choices.pick<FaultKind>(moment === 'before' ? BEFORE : AFTER);
    const point = new RegExp(`^${choices.pick(TELLING)}\\.${moment}$`);
    targets.push({ point, fault, probability: rate(0.1, 0.3, 1), times: choices.integer(1, 4) });
  }
  // Rare calls, of which none would be met by chance.
  const rarely = choices.pick(['segment.delete', 'snapshot-map.delete', 'head.delete', 'volume-entry.delete']);
  if (choices.chance(0.3))
    targets.push({ point: new RegExp(`^${rarely}\\.`), fault: 'crash', probability: 0.5, times: 1 });
  return {
    rates: {
      error500: rate(0, 0.002, 0.01, 0.04),
      conflict409: rate(0, 0, 0.002, 0.02),
      lostReply: rate(0, 0.002, 0.01, 0.04),
      lateApply: rate(0, 0, 0.003, 0.02),
      delay: rate(0, 0.005, 0.02),
      stall: rate(0, 0, 0.001, 0.004),
      crash: rate(0, 0.001, 0.002, 0.006),
    },
    targets,
    jump: rate(0, 0, 0.001, 0.005),
  };
}
