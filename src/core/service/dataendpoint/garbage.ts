/**
 * gc of the service's store: gateways see a part of it only, so the service collects it as a whole. One server at a time, by
 * a lease in the store (docs/formats/service.md). gc is safe without it (docs/adr/0009): the lease spares work.
 *
 * States of the lease: free and not due, free and due, held until a time. Who holds it moves that on; who finds it over takes
 * it. Poor segments are not rewritten here (C12): that is for the holders of volumes.
 */
import { changeDocument, createDocument, readDocument, Catalog } from '../../blockstore/index.ts';
import { collectGarbage, type GcReport } from '../../blockstore/gc/index.ts';
import { SgwError, toSgwError, type Logger } from '../../kit/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { serviceKeys } from '../keys.ts';
import { Records } from './records.ts';

export interface GarbageOptions {
  readonly context: ServiceContext;
  readonly log: Logger;
  /** Between the beginnings of two runs, of whatever servers. */
  readonly everyMs: number;
  readonly graceMs?: number;
  /** Done before gc, by the same server at the same time. */
  readonly prune?: (signal: AbortSignal) => Promise<object>;
}

interface Lease {
  /** Tells a run from all others. */
  readonly holder: string;
  readonly startedAt: string;
  readonly until: string;
  /** Null while it runs, and where it was cut off. */
  readonly finishedAt: string | null;
}

const GRACE_MS = 24 * 60 * 60_000;
const LEASE_MS = 10 * 60_000;
/** Looks whether a run is due, at least so often. */
const LOOK_MS_MAX = 15 * 60_000;
const LOOK_MS_MIN = 1000;
const CONTENDED_TRIES = 4;

export class GarbageSchedule {
  readonly #options: GarbageOptions;
  readonly #records: Records;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: GarbageOptions) {
    this.#options = options;
    this.#records = new Records(options.context);
  }

  /** Looks from now on whether a run is due. What fails is logged, and tried again. */
  start(): void {
    this.#running ??= this.#loop();
  }

  /** Ends a run that is under way. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new SgwError('aborted', 'aborted', 'the service ends'));
    await this.#running;
  }

  async #loop(): Promise<void> {
    const { context, everyMs, log } = this.#options;
    const { clock, random } = context.blocks;
    const lookMs = Math.max(LOOK_MS_MIN, Math.min(LOOK_MS_MAX, everyMs / 8));
    while (!this.#stop.signal.aborted) {
      try {
        // By chance, so that servers that began together do not look together.
        await clock.sleep(lookMs * (0.5 + random.float()), this.#stop.signal);
        await this.runIfDue(this.#stop.signal);
      } catch (error) {
        const failure = toSgwError(error);
        if (!isFired(this.#stop.signal)) log.warn({ code: failure.code, reason: failure.message }, 'gc failed');
      }
    }
  }

  /**
   * Runs gc when it is due and no other server does. Returns what it did; undefined when it was not due.
   * @throws what gc throws: corrupt `gc-stopped`; unavailable `gc-lease-lost`, `gc-contended`
   */
  async runIfDue(signal: AbortSignal): Promise<GcReport | undefined> {
    const { context, graceMs = GRACE_MS, log } = this.#options;
    const holder = context.blocks.random.bytes(12).toString('hex');
    if (!(await this.#take(holder, signal))) return undefined;
    const lost = new AbortController();
    const ended = new AbortController();
    const renewing = this.#renew(holder, lost, ended.signal);
    const both = AbortSignal.any([signal, lost.signal]);
    try {
      await this.#prune(both);
      await this.#noteOwners(both);
      const report = await this.#collect(graceMs, both);
      const { removed, waiting, purgedVolumes } = report;
      log.info({ removed, waiting, purgedVolumes: purgedVolumes.length }, 'gc ran');
      return report;
    } finally {
      ended.abort();
      await renewing;
      await this.#finish(holder).catch(() => undefined);
    }
  }

  /** What fails keeps nothing from being collected. */
  async #prune(signal: AbortSignal): Promise<void> {
    const { prune, log } = this.#options;
    try {
      const pruned = await prune?.(signal);
      if (pruned !== undefined) log.info(pruned, 'what nobody asks for any more was removed');
    } catch (error) {
      if (isFired(signal)) throw error;
      log.warn({ err: toSgwError(error) }, 'what nobody asks for any more was not removed');
    }
  }

  async #collect(graceMs: number, signal: AbortSignal): Promise<GcReport> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await collectGarbage(this.#options.context.blocks, { graceMs, signal });
      } catch (error) {
        if (toSgwError(error).code !== 'gc-contended' || attempt === CONTENDED_TRIES) throw error;
      }
    }
  }

  /** Whose what is about to be purged was: those that were not begun through the data endpoint have no record yet. */
  async #noteOwners(signal: AbortSignal): Promise<void> {
    const catalog = new Catalog(this.#options.context.blocks);
    const all = { includeDeleted: true, signal };
    const volumes = (await catalog.listVolumes(all)).map((entry) => ({ id: entry.volumeId, ...entry }));
    const snapshots = (await catalog.listSnapshots(all)).map((entry) => ({ id: entry.snapshotId, ...entry }));
    for (const { id, state, accountId } of [...volumes, ...snapshots])
      if (state === 'deleted') await this.#records.record(id, { accountId, gatewayId: '' }, signal);
  }

  /** Takes the lease when a run is due and nobody has it. */
  async #take(holder: string, signal: AbortSignal): Promise<boolean> {
    const { blocks } = this.#options.context;
    const mine = this.#lease(holder, null);
    const now = await readDocument<Lease>(blocks, serviceKeys.gcLease, signal);
    if (now === undefined) return await createDocument(blocks, serviceKeys.gcLease, mine, signal);
    if (!this.#isDue(now.value)) return false;
    const taken = await changeDocument<Lease>(
      blocks,
      serviceKeys.gcLease,
      (lease) => (this.#isDue(lease) ? mine : lease),
      signal,
    );
    return taken.holder === holder;
  }

  #isDue({ startedAt, until, finishedAt }: Lease): boolean {
    const nowMs = this.#options.context.blocks.clock.nowMs();
    // One that was cut off is done again, once its lease is over.
    if (finishedAt === null) return nowMs >= Date.parse(until);
    return Math.abs(nowMs - Date.parse(startedAt)) >= this.#options.everyMs;
  }

  #lease(holder: string, finishedAt: string | null): Lease {
    const { context } = this.#options;
    const until = new Date(context.blocks.clock.nowMs() + LEASE_MS).toISOString();
    return { holder, startedAt: timeOf(context), until, finishedAt };
  }

  /** Moves the lease on until the signal fires; `lost` fires when another one has it. */
  async #renew(holder: string, lost: AbortController, ended: AbortSignal): Promise<void> {
    const { blocks } = this.#options.context;
    let heldUntilMs = blocks.clock.nowMs() + LEASE_MS;
    while (!ended.aborted) {
      try {
        await blocks.clock.sleep(LEASE_MS / 4, ended);
        const until = new Date(blocks.clock.nowMs() + LEASE_MS).toISOString();
        await changeDocument<Lease>(blocks, serviceKeys.gcLease, (lease) => {
          if (lease.holder !== holder) throw leaseLost();
          return { ...lease, until };
        });
        heldUntilMs = Date.parse(until);
      } catch (error) {
        if (isFired(ended)) return;
        const failure = toSgwError(error);
        if (failure.code !== 'gc-lease-lost' && blocks.clock.nowMs() < heldUntilMs) continue;
        lost.abort(leaseLost());
        return;
      }
    }
  }

  async #finish(holder: string): Promise<void> {
    const { context } = this.#options;
    const finishedAt = timeOf(context);
    await changeDocument<Lease>(context.blocks, serviceKeys.gcLease, (lease) =>
      lease.holder === holder ? { ...lease, finishedAt } : lease,
    );
  }
}

/** Asked anew: it may have fired since it was asked last. */
const isFired = (signal: AbortSignal): boolean => signal.aborted;

const leaseLost = (): SgwError =>
  new SgwError('unavailable', 'gc-lease-lost', 'another server of the service runs gc now', {
    hint: 'Nothing is to be done: it does the same.',
  });
