/**
 * A running gateway in its group: finds out whether it is in one, connects it to the other members, and has its volumes
 * replicated, until it leaves the group or is stopped. What it costs a gateway in no group is one question when it starts.
 *
 * States: outside <-> inside; any -> stopped, for good.
 */
import {
  Semaphore,
  SgwError,
  toSgwError,
  type Clock,
  type Logger,
  type Random,
  type VolumeId,
} from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type { GroupDocument, GroupVolume } from '../../protocol/index.ts';
import type { GroupBook, Replication } from '../../replication/index.ts';
import { openState } from '../../state/index.ts';
import { notActivated, type Session } from '../session.ts';
import type { Serving } from '../serving/serving.ts';
import { GatewayVolumeHost } from './host.ts';
import { KeptExports } from './kept-exports.ts';
import { HomeLogs } from './logs.ts';
import type { TakeoverProgram } from './takeover-program.ts';

/** DESIGN section 10; a take-over begins a term and a margin after the holder was heard of last. */
const TIMES = { termMs: 4000, renewMs: 1000, marginMs: 500 } as const;
/** Members speak at least every quarter of a term. */
const SILENCE_MS = 4000;
const DEFAULT_LISTEN = '127.0.0.1:0';
/** How often a gateway asks again that could not find out whether it is in a group. */
const ASK_AGAIN_MS = 5000;
/** How long the volumes of a group may take to go to other members when this one is stopped. */
const HAND_OVER_MS = 10_000;

export interface MembershipParts {
  /** Absolute path of the home. */
  readonly home: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly serving: Serving;
  readonly takeovers: TakeoverProgram;
  readonly secrets: CallContext['secrets'];
  readonly openSession: (call: CallContext) => Promise<Session>;
  readonly book: GroupBook;
  /** Where clients find the exports: `unix:PATH`, `HOST:PORT`. */
  readonly exportsAt: () => readonly string[];
  /** Told of what replicates, and that nothing does any more. */
  readonly onReplication: (replication: Replication | undefined) => void;
}

interface Inside {
  readonly groupId: string;
  readonly replication: Replication;
  readonly host: GatewayVolumeHost;
}

export class Membership {
  readonly #parts: MembershipParts;
  readonly #stopped = new AbortController();
  /** Going in and out is one after the other. */
  readonly #turn = new Semaphore(1);
  readonly #logs: HomeLogs;
  readonly #kept: KeptExports;
  #inside: Inside | undefined;
  /** Those of the group, and what acknowledges them. */
  #volumes: ReadonlyMap<VolumeId, GroupVolume['ack']> = new Map();
  #asking: Promise<void> | undefined;
  /** It waits for its turn. */
  #nextLook: Promise<void> | undefined;

  constructor(parts: MembershipParts) {
    this.#parts = parts;
    this.#logs = new HomeLogs(parts);
    this.#kept = new KeptExports(parts.home, parts.log);
  }

  /** Begins to find out, without waiting for it: the store may be out of reach. */
  start(): void {
    this.#asking ??= this.#askUntilKnown();
  }

  async #askUntilKnown(): Promise<void> {
    const { clock, random, log } = this.#parts;
    const { signal } = this.#stopped;
    const isStopped = (): boolean => signal.aborted;
    for (let isTold = false; !isStopped();) {
      try {
        await this.look();
        return;
      } catch (error) {
        if (!isTold && !isStopped())
          log.warn({ err: toSgwError(error) }, 'not known yet whether this gateway is in a group');
        isTold = true;
      }
      await clock.sleep(ASK_AGAIN_MS * (0.5 + random.float()), signal).catch(() => undefined);
    }
  }

  /** Asks the service for the group, and goes in or out. @throws unavailable; what connecting to members throws */
  async look(): Promise<void> {
    // One that has not begun sees what is new as well.
    this.#nextLook ??= this.#look();
    await this.#nextLook;
  }

  async #look(): Promise<void> {
    const { signal } = this.#stopped;
    const release = await this.#turn.acquire(1, signal).finally(() => {
      this.#nextLook = undefined;
    });
    try {
      const group = await this.#parts.book.mine(signal);
      if (group?.groupId !== this.#inside?.groupId) await this.#goOut();
      if (group !== undefined && this.#inside === undefined) await this.#goIn(group);
      else await this.#inside?.replication.reload();
      await this.#noteVolumes(group);
    } finally {
      release();
    }
  }

  async #goIn(group: GroupDocument): Promise<void> {
    const { home, clock, random, log, serving, takeovers, secrets, openSession } = this.#parts;
    const { systemLeaseClock, TlsPeerNetwork, openReplication } = await import('../../replication/index.ts');
    const { gateway } = await openState(home);
    if (gateway === null) throw notActivated(home);
    const { gatewayId, name, accountId, peerListen } = gateway;
    const { requirePrivateKey } = await import('../key-file.ts');
    const key = await requirePrivateKey(home, gatewayId);
    const lease = await systemLeaseClock();
    if (!lease.countsSuspend) log.warn({}, 'leases do not count the time of a suspended machine here: docs/GROUPS.md');
    const call = { signal: this.#stopped.signal, onProgress: () => undefined, lockTimeoutMs: ASK_AGAIN_MS };
    const { blocks } = await openSession(secrets === undefined ? call : { ...call, secrets });
    const listen = peerListen ?? DEFAULT_LISTEN;
    const network = new TlsPeerNetwork({
      ...{ gatewayId, key, listen, clock, random, log },
      silenceMs: SILENCE_MS,
    });
    const host = new GatewayVolumeHost({
      ...{ home, gatewayId, accountId, clock, log, serving, takeovers, secrets },
      logs: this.#logs,
      kept: this.#kept,
      replication: () => replication,
    });
    const replication = openReplication({
      ...{ self: { gatewayId, name }, clock, leaseClock: lease.now, random, log, times: TIMES, blocks, host, network },
      book: this.#noting(this.#parts.book),
      exportsAt: this.#parts.exportsAt,
    });
    this.#inside = { groupId: group.groupId, replication, host };
    this.#parts.onReplication(replication);
    try {
      await replication.start();
    } catch (error) {
      await this.#goOut();
      throw error;
    }
    log.info({ groupId: group.groupId, group: group.name }, 'in a group');
  }

  /** The group as its replication reads it tells also of volumes and members that are none any more. */
  #noting(book: GroupBook): GroupBook {
    return {
      mine: async (signal) => {
        const group = await book.mine(signal);
        const volumes = group?.volumes ?? [];
        const isAsBefore =
          volumes.length === this.#volumes.size &&
          volumes.every(({ volumeId, ack }) => this.#volumes.get(volumeId) === ack);
        if ((group === undefined || !isAsBefore) && !this.#stopped.signal.aborted)
          queueMicrotask(() => {
            this.look().catch(() => undefined);
          });
        return group;
      },
      announce: async (address, signal) => book.announce(address, signal),
      permit: async (request, signal) => book.permit(request, signal),
    };
  }

  /** Lets go of volumes that the group does not look after any more, and has the others acknowledge as it says now. */
  async #noteVolumes(group: GroupDocument | undefined): Promise<void> {
    const now = new Map(group?.volumes.map(({ volumeId, ack }) => [volumeId, ack]));
    const { serving } = this.#parts;
    let hasLeft = false;
    for (const { record } of serving.show()) {
      if (record.grouped !== true || record.volumeId === null || now.has(record.volumeId as VolumeId)) continue;
      const attachment = serving.ofVolume(record.volumeId);
      const call = { signal: this.#stopped.signal, onProgress: () => undefined, lockTimeoutMs: ASK_AGAIN_MS };
      if (attachment !== undefined) await serving.grouped.ungroup(attachment, call);
      hasLeft = true;
    }
    if (hasLeft) await serving.reload();
    for (const volumeId of this.#volumes.keys()) if (!now.has(volumeId)) await this.#logs.drop(volumeId);
    await this.#kept.keepOnly(new Set(now.keys()));
    for (const volume of group?.volumes ?? []) await this.#inside?.host.configure(volume);
    this.#volumes = now;
  }

  async #goOut(): Promise<void> {
    const inside = this.#inside;
    if (inside === undefined) return;
    this.#inside = undefined;
    this.#parts.onReplication(undefined);
    inside.host.end();
    await inside.replication.stop();
  }

  /** Gives the volumes that this gateway holds to other members, where those can take them; clients see a pause. */
  async handOver(signal: AbortSignal): Promise<void> {
    const { replication } = this.#inside ?? {};
    if (replication === undefined) return;
    const { log } = this.#parts;
    const limited = AbortSignal.any([signal, AbortSignal.timeout(HAND_OVER_MS)]);
    const held = (await replication.report()).filter(
      ({ volume, successor }) => successor !== null && replication.holds(volume.volumeId),
    );
    await Promise.all(
      held.map(async ({ volume: { volumeId } }) => {
        try {
          await replication.failOver(volumeId, undefined, false, limited);
        } catch (error) {
          log.warn({ volumeId, reason: toSgwError(error).message }, 'no other member has taken the volume');
        }
      }),
    );
  }

  /** What this gateway holds still is closed by who serves it, before or after. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped.abort(new SgwError('aborted', 'gateway-stopped', 'the gateway is being stopped'));
    await this.#asking;
    await this.#goOut();
  }
}
