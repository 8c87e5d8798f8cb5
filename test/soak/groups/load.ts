/**
 * Clients of the group's volume: some through `sgw volume connect`, which must see no error, and one that asks each member by itself
 * all the time, so that whoever answers without being the holder is found out.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import { NbdClient } from '../served/nbd-client.ts';
import { PAGE, stamped, stampOf } from '../served/stamps.ts';
import type { History } from './history.ts';

const LANES = 12;
const FLUSHES = 0.05;
const READS = 0.4;
const PROBE_EVERY_MS = 5;

export interface LoadParts {
  readonly random: Random;
  readonly history: History;
  readonly pages: number;
  readonly nowMs: () => number;
}

/** Through `volume connect`. The first error ends it. */
export class FollowedLoad {
  readonly #parts: LoadParts;
  readonly #busy = new Set<number>();
  #next: number;
  #isStopped = false;
  #running: Promise<void>[] = [];
  failure: Error | undefined;
  /** When the last request was answered. */
  lastMs: number;
  #longestMs = 0;
  flushes = 0;

  /** `firstNumber`: of its first write. */
  constructor(parts: LoadParts, firstNumber: number) {
    this.#parts = parts;
    this.#next = firstNumber;
    this.lastMs = parts.nowMs();
  }

  start(client: NbdClient): void {
    this.#running = Array.from({ length: LANES }, async () => this.#lane(client));
  }

  get nextNumber(): number {
    return this.#next;
  }

  /** From now on the longest time without an answer is measured anew. */
  beginPause(): void {
    this.#longestMs = 0;
  }

  /** The longest time without an answer since `beginPause`, one that goes on still included. */
  get longestMs(): number {
    return Math.max(this.#longestMs, this.#parts.nowMs() - this.lastMs);
  }

  /** Resolves when all that is under way was answered. @throws what one of them failed with */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
    if (this.failure !== undefined) throw this.failure;
  }

  /** Resolves when a request was answered that was sent from now on. @throws Error after `deadlineMs` */
  async answered(deadlineMs: number): Promise<number> {
    const { nowMs } = this.#parts;
    const fromMs = nowMs();
    const before = this.lastMs;
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      if (this.lastMs > before) return nowMs() - fromMs;
      if (nowMs() - fromMs > deadlineMs) throw new Error(`nothing was answered for ${String(deadlineMs)} ms`);
      await delay(5);
    }
  }

  async #lane(client: NbdClient): Promise<void> {
    const { random, history, pages, nowMs } = this.#parts;
    while (!this.#isStopped && this.failure === undefined) {
      const page = Math.floor(random.float() * pages);
      const beganMs = nowMs();
      try {
        if (random.float() < FLUSHES) {
          await client.flush();
          this.flushes += 1;
        } else if (random.float() < READS) {
          const number = stampOf(page, await client.read(page * PAGE, PAGE));
          history.read(page, number, beganMs, nowMs(), 'volume connect');
        } else if (this.#busy.has(page)) {
          await delay(0);
          continue;
        } else await this.#write(client, page);
        this.#longestMs = Math.max(this.#longestMs, nowMs() - this.lastMs);
        this.lastMs = nowMs();
      } catch (error) {
        this.failure ??= error instanceof Error ? error : new Error(String(error));
      }
    }
  }

  async #write(client: NbdClient, page: number): Promise<void> {
    const { random, history, nowMs } = this.#parts;
    const number = this.#next++;
    this.#busy.add(page);
    const ended = history.write(page, number, nowMs());
    await client.write(page * PAGE, stamped(page, 1, number), random.float() < 0.1);
    ended(nowMs());
    this.#busy.delete(page);
  }
}

/** Reads from one member's own export, whenever that answers. */
export class Probe {
  readonly #parts: LoadParts;
  readonly #who: string;
  readonly #socket: string;
  readonly #exportName: string;
  #isStopped = false;
  #running: Promise<void> | undefined;
  answers = 0;
  failure: Error | undefined;

  constructor(parts: LoadParts, of: { readonly who: string; readonly socket: string; readonly exportName: string }) {
    this.#parts = parts;
    this.#who = of.who;
    this.#socket = of.socket;
    this.#exportName = of.exportName;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
    if (this.failure !== undefined) throw this.failure;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      let client: NbdClient | undefined;
      try {
        client = await withDeadline(NbdClient.connect(this.#socket, this.#exportName));
        await this.#ask(client);
      } catch {
        // It is not the holder, or not there.
      }
      client?.close();
      if (this.failure !== undefined) return;
      await delay(100);
    }
  }

  async #ask(client: NbdClient): Promise<void> {
    const { random, history, pages, nowMs } = this.#parts;
    while (!this.#isStopped) {
      const page = Math.floor(random.float() * pages);
      const beganMs = nowMs();
      const bytes = await withDeadline(client.read(page * PAGE, PAGE));
      const endedMs = nowMs();
      try {
        history.read(page, stampOf(page, bytes), beganMs, endedMs, this.#who);
      } catch (error) {
        this.failure = error instanceof Error ? error : new Error(String(error));
        return;
      }
      this.answers += 1;
      await delay(PROBE_EVERY_MS);
    }
  }
}

/** A member that was stopped answers when it goes on; meanwhile this one has to end. */
async function withDeadline<T>(asked: Promise<T>): Promise<T> {
  asked.catch(() => undefined);
  const timeout = new AbortController();
  const late = delay(60_000, undefined, { signal: timeout.signal }).then(() => {
    throw new Error('no answer');
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([asked, late]);
  } finally {
    timeout.abort();
  }
}
