/**
 * The simulated world: one virtual clock, processes, and the calls that they wait for. Everything that a process waits
 * for (a store call, the delivery of its reply, a sleep) is an item; a seeded scheduler picks which goes next, one at a
 * time, and lets all that follows from it happen before it picks again. So a run is decided by its seed alone.
 *
 * Each store call passes two failpoints, named after what is touched and the moment: `head.put.before`,
 * `head.put.after`. There the schedule may go on, fail the call without applying it, apply it and lose the reply, apply
 * it later although it failed, hold it up, stall its process, or end the process for ever.
 */
import { crc32 } from 'node:zlib';
import { SgwError, type Clock } from '../../src/core/kit/index.ts';
import type { FaultKind, FaultPlan } from './fault-plan.ts';
import type { Choices } from './random.ts';
import type { Tally } from './tally.ts';

/** A running program: it can be stalled, and it can end at any await. */
export interface Process {
  readonly name: string;
  alive: boolean;
  stalledUntilMs: number;
  /** How readily the scheduler picks its calls. */
  weight: number;
}

interface Item {
  readonly process: Process | null;
  /** `segment.put`, or `sleep`, `reply`, `start`. */
  readonly name: string;
  /** What it is about: a key. */
  readonly about: string;
  readyAtMs: number;
  /** Whether its first failpoint has been passed. */
  admitted: boolean;
  readonly run: (fault: FaultKind | undefined) => Promise<void>;
}

export interface StoreCall<T> {
  readonly name: string;
  readonly about: string;
  /** Whether it changes the store, and so can take effect after its caller was told that it failed. */
  readonly writes: boolean;
  readonly execute: () => Promise<T>;
}

const START_MS = Date.UTC(2026, 0, 1);

export class World {
  readonly choices: Choices;
  readonly tally: Tally;
  readonly plan: FaultPlan;
  /** Store calls that were executed. */
  steps = 0;
  /** Turns of the event loop within which everything that follows without waiting has happened. */
  turns = 1;
  /** The longest that a step takes. */
  stepMsMax = 12;
  /** Lines of the trace that are kept. */
  traceLines = 80;
  #nowMs = START_MS;
  #items: Item[] = [];
  #hash = 0;
  #lines = 0;
  readonly #trace: string[] = [];
  readonly #onCrash: (process: Process) => void;

  constructor(options: { choices: Choices; plan: FaultPlan; tally: Tally; onCrash?: (process: Process) => void }) {
    this.choices = options.choices;
    this.plan = options.plan;
    this.tally = options.tally;
    this.#onCrash = options.onCrash ?? (() => undefined);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get elapsedMs(): number {
    return this.#nowMs - START_MS;
  }

  /** Whether anything waits. */
  get busy(): boolean {
    return this.#items.length > 0;
  }

  /** A name of everything that happened. */
  get traceHash(): string {
    return `${this.#hash.toString(16).padStart(8, '0')}-${String(this.#lines)}`;
  }

  /** The last things that happened. */
  get trace(): readonly string[] {
    return this.#trace;
  }

  note(text: string): void {
    const line = `${new Date(this.#nowMs).toISOString().slice(5, 23)} ${text}`;
    this.#hash = crc32(line, this.#hash);
    this.#lines += 1;
    this.#trace.push(line);
    if (this.#trace.length > this.traceLines) this.#trace.shift();
  }

  newProcess(name: string): Process {
    return { name, alive: true, stalledUntilMs: 0, weight: this.choices.pick([1, 1, 1, 4, 16]) };
  }

  clockOf(process: Process): Clock {
    return {
      nowMs: () => this.#nowMs,
      monotonicMs: () => this.#nowMs,
      sleep: async (durationMs, signal) => this.sleep(process, durationMs, signal),
    };
  }

  async sleep(process: Process, durationMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#items = this.#items.filter((other) => other !== item);
        reject(signal?.reason as Error);
      };
      const item = this.#wait(process, 'sleep', '', durationMs, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Runs something later, outside any process. */
  later(durationMs: number, name: string, run: () => void): void {
    this.#wait(null, name, '', durationMs, run);
  }

  #wait(process: Process | null, name: string, about: string, durationMs: number, done: () => void): Item {
    const run = async (): Promise<void> => {
      done();
      await Promise.resolve();
    };
    const item = { process, name, about, readyAtMs: this.#nowMs + durationMs, admitted: true, run };
    this.#add(item);
    return item;
  }

  #add(item: Item): void {
    // What ended does nothing any more, and nothing answers it.
    if (item.process?.alive !== false) this.#items.push(item);
  }

  /** Waits for its turn, then makes the call; fails or never answers as the plan decides. */
  async call<T>(process: Process, call: StoreCall<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const { name, about } = call;
      const run = async (fault: FaultKind | undefined): Promise<void> => {
        if (fault === 'error500' || fault === 'conflict409') {
          reject(failed(fault === 'error500' ? 'store-error' : 'store-conflict', name, about));
          return;
        }
        if (fault === 'lateApply') {
          const delayMs = this.choices.durationMs(10, this.plan.lateMaxMs);
          this.#applyLater(call, delayMs);
          reject(failed('reply-lost', name, about));
          return;
        }
        await this.#execute(process, call, resolve, reject);
      };
      this.#add({ process, name, about, readyAtMs: this.#nowMs, admitted: false, run });
    });
  }

  #applyLater<T>(call: StoreCall<T>, delayMs: number): void {
    const run = async (): Promise<void> => {
      this.steps += 1;
      await call.execute().catch(() => undefined);
    };
    const readyAtMs = this.#nowMs + delayMs;
    this.#add({ process: null, name: `${call.name}.late`, about: call.about, readyAtMs, admitted: true, run });
  }

  async #execute<T>(
    process: Process,
    call: StoreCall<T>,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ): Promise<void> {
    this.steps += 1;
    let answer: () => void;
    try {
      const value = await call.execute();
      answer = () => {
        resolve(value);
      };
    } catch (error) {
      answer = () => {
        reject(error);
      };
    }
    const { name, about } = call;
    const fault = this.plan.after(this.choices, name, process.name, call.writes);
    if (fault !== undefined) this.#injected(fault, `${name}.after`, process, about);
    if (fault === 'crash') return;
    if (fault === 'lostReply')
      answer = () => {
        reject(failed('reply-lost', name, about));
      };
    const delayMs = fault === 'delay' ? this.choices.durationMs(1000, this.plan.delayMaxMs) : 0;
    if (delayMs > 0 || this.choices.chance(0.3)) this.#wait(process, `${name}.reply`, about, delayMs, answer);
    else answer();
  }

  #injected(fault: FaultKind, where: string, process: Process, about: string): void {
    this.tally.fault(fault, where);
    this.note(`${process.name} ${fault} at ${where} ${about}`);
    if (fault === 'crash') this.crash(process);
    if (fault === 'stall') {
      const durationMs = this.choices.durationMs(60_000, this.plan.stallMaxMs);
      process.stalledUntilMs = this.#nowMs + durationMs;
      this.note(`${process.name} stalls for ${String(Math.round(durationMs / 1000))} s`);
    }
  }

  /** Ends a process for ever: nothing that it waits for comes back. */
  crash(process: Process): void {
    process.alive = false;
    this.#items = this.#items.filter((item) => item.process !== process);
    this.#onCrash(process);
  }

  /** No more faults: what is held up goes on. */
  calm(): void {
    this.plan.calm();
  }

  /** Lets virtual time pass without anything happening; only while nothing waits. */
  pass(durationMs: number): void {
    this.#nowMs += durationMs;
  }

  /** Picks one item and lets it happen. */
  async step(): Promise<void> {
    const item = this.#pick();
    if (item === undefined) return;
    const { process } = item;
    this.#nowMs = Math.max(this.#nowMs, readyAt(item)) + this.choices.integer(0, this.stepMsMax);
    let fault: FaultKind | undefined;
    if (!item.admitted && process !== null) {
      item.admitted = true;
      this.tally.point(`${item.name}.before`);
      fault = this.plan.before(this.choices, item.name, process.name);
      if (fault !== undefined) this.#injected(fault, `${item.name}.before`, process, item.about);
      if (fault === 'crash') return;
      if (fault === 'stall' || fault === 'delay') {
        if (fault === 'delay') item.readyAtMs = this.#nowMs + this.choices.durationMs(1000, this.plan.delayMaxMs);
        return;
      }
    }
    this.#items.splice(this.#items.indexOf(item), 1);
    this.note(`${process?.name ?? '-'} ${item.name} ${item.about}`);
    await item.run(fault);
    for (let turn = 0; turn < this.turns; turn++) await nextTurn();
  }

  #pick(): Item | undefined {
    const ready: Item[] = [];
    let first: Item | undefined;
    let firstMs = Number.POSITIVE_INFINITY;
    for (const item of this.#items) {
      const at = readyAt(item);
      if (at <= this.#nowMs) ready.push(item);
      else if (at < firstMs) {
        first = item;
        firstMs = at;
      }
    }
    // Now and then time runs ahead of what is ready: all of that is then held up.
    if (ready.length === 0 || (first !== undefined && this.choices.chance(this.plan.jump))) return first;
    return this.#weighted(ready);
  }

  #weighted(items: readonly Item[]): Item | undefined {
    const weights = items.map((item) => item.process?.weight ?? 1);
    let at = this.choices.random.float() * weights.reduce((a, b) => a + b, 0);
    return items.find((_, i) => (at -= weights[i] ?? 0) < 0) ?? items.at(-1);
  }
}

const readyAt = (item: Item): number => Math.max(item.readyAtMs, item.process?.stalledUntilMs ?? 0);

const failed = (code: string, name: string, about: string): SgwError =>
  new SgwError('unavailable', code, `${name} ${about}: ${code}`);

const nextTurn = async (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });
