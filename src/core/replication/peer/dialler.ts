/** Connects to the members that there is no connection to, for as long as it takes, at jittered distances. */
import { SgwError, toSgwError, type Clock, type Logger, type Random } from '../../kit/index.ts';
import type { GroupMember } from '../../protocol/index.ts';

const FIRST_MS = 100;
const MAX_MS = 2000;
/** How long the one with the higher id leaves it to the other one. */
const PATIENCE_MS = 3000;
/** How often it looks whether there is a connection still, unless it is woken. */
const LOOK_MS = 5000;

interface DiallerParts {
  /** Of this gateway. */
  readonly gatewayId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

interface DialWork {
  /** Resolves when the link stands. */
  readonly dial: (member: GroupMember, signal: AbortSignal) => Promise<void>;
  readonly isLinked: (gatewayId: string) => boolean;
}

interface Dialled {
  member: GroupMember;
  readonly ended: AbortController;
  /** Fires when there is something to do. */
  wake: AbortController;
  done: Promise<void>;
}

export class Dialler {
  readonly #parts: DiallerParts;
  readonly #work: DialWork;
  readonly #dialled = new Map<string, Dialled>();

  constructor(parts: DiallerParts, work: DialWork) {
    this.#parts = parts;
    this.#work = work;
  }

  setMembers(members: readonly GroupMember[]): void {
    for (const [gatewayId, { ended }] of this.#dialled) {
      if (members.some((member) => member.gatewayId === gatewayId)) continue;
      this.#dialled.delete(gatewayId);
      ended.abort(stopped());
    }
    for (const member of members) {
      const known = this.#dialled.get(member.gatewayId);
      if (known === undefined) this.#begin(member);
      else {
        const hasMoved = JSON.stringify(known.member.address) !== JSON.stringify(member.address);
        known.member = member;
        if (hasMoved) known.wake.abort(stopped());
      }
    }
  }

  /** The connection to a member has ended. */
  wake(gatewayId: string): void {
    this.#dialled.get(gatewayId)?.wake.abort(stopped());
  }

  async stop(): Promise<void> {
    const all = [...this.#dialled.values()];
    this.#dialled.clear();
    for (const { ended } of all) ended.abort(stopped());
    await Promise.all(all.map(async ({ done }) => done));
  }

  #begin(member: GroupMember): void {
    const dialled: Dialled = {
      ...{ member, ended: new AbortController(), wake: new AbortController(), done: Promise.resolve() },
    };
    this.#dialled.set(member.gatewayId, dialled);
    dialled.done = this.#keep(dialled);
  }

  /** Until it ends: sees to it that there is a connection. */
  async #keep(dialled: Dialled): Promise<void> {
    const { gatewayId, clock, random, log } = this.#parts;
    const ended = dialled.ended.signal;
    const isEnded = (): boolean => ended.aborted;
    for (let failures = 0; !isEnded();) {
      const { member } = dialled;
      if (this.#work.isLinked(member.gatewayId)) {
        failures = 0;
        await this.#pause(dialled, LOOK_MS);
        continue;
      }
      const patienceMs = failures === 0 && member.gatewayId < gatewayId ? PATIENCE_MS : 0;
      const backOffMs = failures === 0 ? 0 : Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(failures, 5));
      await this.#pause(dialled, patienceMs + backOffMs * (0.5 + random.float() / 2));
      if (isEnded() || this.#work.isLinked(member.gatewayId)) continue;
      try {
        await this.#work.dial(dialled.member, ended);
      } catch (error) {
        failures += 1;
        const failure = toSgwError(error);
        if (!isEnded() && failures === 1)
          log.info(
            { member: member.gatewayId, reason: failure.message, at: clock.nowMs() },
            'no connection to a member',
          );
      }
    }
  }

  async #pause(dialled: Dialled, durationMs: number): Promise<void> {
    if (durationMs <= 0) return;
    const signal = AbortSignal.any([dialled.ended.signal, dialled.wake.signal]);
    await this.#parts.clock.sleep(durationMs, signal).catch(() => undefined);
    if (dialled.wake.signal.aborted) dialled.wake = new AbortController();
  }
}

const stopped = (): SgwError => new SgwError('aborted', 'aborted', 'the connection is not wanted any more');
