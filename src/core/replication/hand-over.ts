/** Planned take-overs: the holder lets a member have everything, closes its gate, and leaves (docs/adr/0025-groups.md, rule 12). */
import { Semaphore, SgwError, toSgwError } from '../kit/index.ts';
import type { Candidate } from './candidate.ts';
import type { PeerLink, Reign } from './messages.ts';
import { askThere, moved, notHolder, notReady, notTaken } from './refusals.ts';
import type { Role } from './role.ts';
import { promiseUntil } from './rules.ts';
import { within } from './within.ts';

/** Until the successor has everything, and until it serves. */
const LEVEL_MS = 5000;
const TOOK_MS = 15_000;
const DRAIN_MS = 60_000;

/** By this code a refusal answers `please`; others are about records. */
export const FAILOVER_REFUSED = 'failover-refused';

export class HandOver {
  readonly #role: Role;
  readonly #candidate: Candidate;
  readonly #onTook = new Set<(reign: Reign) => void>();
  readonly #onRefused = new Set<(error: SgwError) => void>();
  /** One at a time: each opens the gate that it has closed. */
  readonly #turn = new Semaphore(1);

  constructor(role: Role, candidate: Candidate) {
    this.#role = role;
    this.#candidate = candidate;
  }

  /** Somebody holds the volume from now on. */
  took(reign: Reign): void {
    for (const tell of this.#onTook) tell(reign);
  }

  /** The holder does not do what it was asked for. */
  refused(message: string): void {
    for (const tell of this.#onRefused) tell(new SgwError('conflict', FAILOVER_REFUSED, message));
  }

  /** Has another member hold the volume; asked on any. @throws conflict, unavailable, timeout */
  async failOver(to: string | undefined, acceptLoss: boolean, signal: AbortSignal): Promise<void> {
    if (this.#role.held !== undefined) {
      if (to === this.#role.self) return;
      await this.#handOverInTurn(to, signal);
      return;
    }
    const holder = this.#role.newest?.holder;
    const link = holder === undefined ? undefined : this.#role.parts.links.get(holder);
    if (link !== undefined && holder !== this.#role.self && !acceptLoss) {
      await this.#ask(link, to ?? this.#role.self, signal);
      return;
    }
    if (to !== undefined && to !== this.#role.self) throw askThere(this.#role.parts.nameOf(to));
    await this.#candidate.takeOver(acceptLoss, signal);
    if (this.#role.heldNow() === undefined)
      throw new SgwError('conflict', 'no-take-over', this.#role.why ?? 'the volume can not be taken over now', {
        hint: 'sgw group show tells who holds it; --accept-loss takes it over although something may be lost.',
      });
  }

  async #ask(link: PeerLink, to: string, signal: AbortSignal): Promise<void> {
    await this.#whenTook(
      signal,
      (reign) => reign.holder === to,
      () => {
        link.send({ kind: 'please', volumeId: this.#role.volume.volumeId, to });
      },
      DRAIN_MS + TOOK_MS,
    );
  }

  /** Does `begin`, then waits for a reign to be told of. @throws timeout `not-taken-over`; conflict when it is refused */
  async #whenTook(
    signal: AbortSignal,
    isIt: (reign: Reign) => boolean,
    begin: () => void,
    timeoutMs: number,
  ): Promise<void> {
    const { volume, parts } = this.#role;
    const took = Promise.withResolvers<undefined>();
    const onTook = (reign: Reign): void => {
      if (isIt(reign)) took.resolve(undefined);
    };
    this.#onTook.add(onTook);
    this.#onRefused.add(took.reject);
    try {
      await within(parts.clock, timeoutMs, signal, async (limited) => {
        limited.addEventListener('abort', () => {
          took.reject(signal.aborted ? toSgwError(signal.reason) : notTaken(volume.volumeId));
        });
        begin();
        await took.promise;
      });
    } finally {
      this.#onTook.delete(onTook);
      this.#onRefused.delete(took.reject);
    }
  }

  async pleased(link: PeerLink, to: string): Promise<void> {
    const { volumeId } = this.#role.volume;
    try {
      if (this.#role.held === undefined) throw notHolder(volumeId);
      await this.#handOverInTurn(to, this.#role.parts.stopped);
    } catch (error) {
      link.send({ kind: 'refused', volumeId, code: FAILOVER_REFUSED, message: toSgwError(error).message });
    }
  }

  /** One that was asked for while another one was under way may find the volume where it was to go. */
  async #handOverInTurn(to: string | undefined, signal: AbortSignal): Promise<void> {
    await this.#turn.run(async () => {
      const { held, newest, self, volume } = this.#role;
      if (held !== undefined) await this.#handOver(to, signal);
      else if (newest?.holder === self || (to ?? newest?.holder) !== newest?.holder) throw notHolder(volume.volumeId);
    }, signal);
  }

  async #handOver(to: string | undefined, signal: AbortSignal): Promise<void> {
    const { host, links, clock, log, nameOf } = this.#role.parts;
    const { volumeId } = this.#role.volume;
    const held = this.#role.held;
    const able = (held?.inSync ?? []).filter((id) => id !== this.#role.self && links.has(id));
    const next = to ?? able[0];
    const link = next === undefined ? undefined : links.get(next);
    if (held === undefined || next === undefined || link === undefined || !able.includes(next))
      throw notReady(volumeId, to === undefined ? undefined : nameOf(to));
    const drained = within(clock, DRAIN_MS, signal, async (limited) => {
      await host.drain(volumeId, limited);
    });
    await drained.catch((error: unknown) => {
      log.info({ volumeId, reason: toSgwError(error).message }, 'not everything was uploaded before the fail-over');
    });
    const open = await within(clock, LEVEL_MS, signal, async (limited) => await host.gate(volumeId, limited));
    try {
      const last = held.writeLog?.usage.lastSequence ?? 0;
      const deadline = this.#role.parts.leaseClock() + LEVEL_MS;
      while ((held.senderOf(next)?.received ?? -1) < last || held.senderOf(next)?.isUpToDate !== true) {
        if (this.#role.parts.leaseClock() > deadline) throw notReady(volumeId, nameOf(next));
        await clock.sleep(2, signal);
      }
      const { reign } = held;
      await this.#role.inTurn(async () => {
        await this.#role.leave(moved(volumeId, nameOf(next)));
      });
      // It leaves the successor the time that one has without it.
      this.#role.promisedUntil = promiseUntil(this.#role.parts.leaseClock(), this.#role.parts.times);
      // It takes over by itself when it is not, once the promise is over.
      await this.#whenTook(
        signal,
        ({ holder }) => holder === next,
        () => {
          link.send({ kind: 'release', reign, last });
        },
        TOOK_MS,
      );
    } finally {
      open();
    }
  }
}
