/**
 * What is open of one home: its store, the key of an encrypted one, and what was seen of it. Shared by the accounts that a
 * daemon acts for.
 *
 * States: open -> closed. Nothing is opened before it is needed: a home that is not activated can still be activated and
 * asked for its status. Invariants: calls share one open store, closed by `close`, when no call is under way; the identity
 * is read anew for each call, since another process may change it; a call that is stopped stops no other.
 */
import type { BlockStoreOptions, KeyRing } from '../blockstore/index.ts';
import { assert, throwIfAborted, toSgwError, untilAborted, type ErrorKind } from '../kit/index.ts';
import type { CallContext } from '../localapi/index.ts';
import type { ObjectStore } from '../objectstore/index.ts';
import { openState, type GatewayState } from '../state/index.ts';
import { daemonNeeded } from './daemon-needed.ts';
import { AccountCatalog } from './account-catalog.ts';
import type { KnownUsage } from './cost/store-stats.ts';
import type { KeeperParts, UsageKeeper } from './cost/usage-keeper.ts';
import type { Replication } from '../replication/index.ts';
import { ratesAt } from './bandwidth.ts';
import { TakeoverProgram } from './groups/takeover-program.ts';
import { Locks } from './locks.ts';
import { requireOwnState } from './own-state.ts';
import type { GatewayParts } from './parts.ts';
import type { RemoteService } from './network/remote-service.ts';
import { ServiceAccess, type Service } from './service-access.ts';
import { notActivated, type Session } from './session.ts';
import type { ScheduleEvent, ScheduleRunner } from './schedules/runner.ts';
import type { Serving } from './serving/serving.ts';
import { LateStore } from './late-store.ts';
import { openStoreOf } from './store-place.ts';
import { HomeWitness, LateNotes } from './witness.ts';

/** How often it is seen whether other limits of the traffic begin. */
const LIMITS_EVERY_MS = 15_000;
/** The store may be there in a while. */
const MAY_PASS: readonly ErrorKind[] = ['unavailable', 'timeout', 'denied'];

export class OpenHome {
  readonly #parts: GatewayParts;
  #store: Promise<ObjectStore> | undefined;
  /** The gateway and the store that it was opened for: a home may be activated anew meanwhile. */
  #openedFor: string | undefined;
  /** Of an encrypted store, once a call has unlocked it. */
  #keys: KeyRing | undefined;
  #witness: HomeWitness | undefined;
  #serving: Serving | undefined;
  #schedules: ScheduleRunner | undefined;
  #replication: Replication | undefined;
  #regroup: (() => Promise<void>) | undefined;
  /** Runs the operator's program after take-overs. */
  readonly takeovers: TakeoverProgram;
  #usage: UsageKeeper | undefined;
  /** Accounts other than the home's own that were found. An account is never removed. */
  readonly #knownAccounts = new Set<string>();
  /** The service that the gateway was activated at over the network. */
  #remote: RemoteService | undefined;
  #bandwidth: GatewayState['bandwidth'];
  /** The version of the configuration that it is from. */
  #limitedBy = 0;
  readonly #closed = new AbortController();
  /** Stores of before they were moved. */
  readonly #retired: Promise<ObjectStore>[] = [];

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.takeovers = new TakeoverProgram(parts);
  }

  /** What the daemon serves; undefined in other processes, and before it began. */
  get serving(): Serving | undefined {
    return this.#serving;
  }

  /** What replicates the volumes of this gateway's group; undefined where it is in none, and in processes that are no daemon. */
  get replication(): Replication | undefined {
    return this.#replication;
  }

  /** Has a daemon find out which group it is in, and with which volumes; nothing in other processes. */
  async regroup(): Promise<void> {
    await this.#regroup?.();
  }

  regroupBy(regroup: () => Promise<void>): void {
    this.#regroup = regroup;
  }

  /** Asks this from now on about volumes of the group. Who made it stops it, and says undefined then. */
  replicateBy(replication: Replication | undefined): void {
    this.#replication = replication;
  }

  /** @throws unavailable `daemon-needed` */
  requireServing(what: string): Serving {
    if (this.#serving === undefined) throw daemonNeeded(what);
    return this.#serving;
  }

  /**
   * Serves what is attached from now on; resolves when each export was tried once. Who asked for it stops it.
   * @throws unsupported `serving-unavailable`; conflict `not-activated`
   */
  async serve(call: CallContext): Promise<Serving> {
    const { home, version, clock, random, requests, serving: parts } = this.#parts;
    assert(this.#serving === undefined, 'a home is served once');
    assert(parts !== undefined, 'a daemon has what serving takes');
    const { Serving: Served } = await import('./serving/serving.ts');
    const openSession = async (accountId: string, of: CallContext): Promise<Session> => this.open(accountId, of);
    const serving = new Served({
      home,
      version,
      clock,
      random,
      parts: await parts(),
      ...(requests === undefined ? {} : { requests }),
      openSession,
    });
    this.#serving = serving;
    void this.#keepLimits();
    await serving.start(call);
    const usage = await this.#keepUsage(serving);
    this.#usage = usage;
    serving.closing = () => usage?.sample();
    serving.ended = async () => usage?.[Symbol.asyncDispose]();
    return serving;
  }

  /** What runs the schedules; undefined in processes that are no daemon. */
  get schedules(): ScheduleRunner | undefined {
    return this.#schedules;
  }

  /** Runs the schedules from now on. Who asked for it stops it. */
  async runSchedules(onEvent: (event: ScheduleEvent) => void, call: CallContext): Promise<ScheduleRunner> {
    const { home, clock } = this.#parts;
    assert(this.#schedules === undefined, 'the schedules of a home are run once');
    const { ScheduleRunner: Runner } = await import('./schedules/runner.ts');
    const openSession = async (accountId: string, of: CallContext): Promise<Session> => this.open(accountId, of);
    const { gatewayId } = await this.requireRecord();
    this.#schedules = new Runner({ home, gatewayId, clock, openSession, secrets: call.secrets, onEvent });
    this.#schedules.start();
    return this.#schedules;
  }

  async #keepUsage(serving: Serving): Promise<UsageKeeper | undefined> {
    const { home, clock, requests: tally } = this.#parts;
    if (tally === undefined) return undefined;
    const { UsageKeeper: Keeper } = await import('./cost/usage-keeper.ts');
    const { storeId } = await this.requireRecord();
    const served = (): ReturnType<KeeperParts['served']> =>
      serving.show().flatMap(({ record, stats }) => {
        const volumeId = record.scratchVolumeId ?? record.volumeId;
        return stats === null || volumeId === null ? [] : [{ volumeId, stats }];
      });
    return await Keeper.open({ home, storeId, clock, tally, served });
  }

  /** What is known of the requests to the store. */
  async usage(): Promise<KnownUsage> {
    const { home, requests: tally } = this.#parts;
    if (this.#usage !== undefined && tally !== undefined)
      return { book: this.#usage.book, counted: { tally, sinceMs: this.#usage.sinceMs } };
    const { readUsage } = await import('./cost/usage-keeper.ts');
    return { book: await readUsage(home, (await this.requireRecord()).storeId), counted: undefined };
  }

  /** Closes what was opened. Idempotent. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#usage?.[Symbol.asyncDispose]();
    this.#witness?.flush();
    this.retireStore();
    await this.#remote?.[Symbol.asyncDispose]();
    for (const opened of this.#retired.splice(0)) await (await opened.catch(() => undefined))?.close();
  }

  async record(): Promise<GatewayState | null> {
    return (await openState(this.#parts.home)).gateway;
  }

  /** @throws conflict `not-activated` */
  async requireRecord(): Promise<GatewayState> {
    const record = await this.record();
    if (record === null) throw notActivated(this.#parts.home);
    return record;
  }

  /** What a call works with: the store as it was opened first, and the identity as it is configured now. */
  async open(
    actingFor: string | undefined,
    call: CallContext,
    { acceptsOlder = false }: { readonly acceptsOlder?: boolean } = {},
  ): Promise<Session> {
    const { home, clock, random, openPool, serving: openServing } = this.#parts;
    const record = await this.requireRecord();
    this.#retireOthers(record);
    this.limit(record);
    if (this.#store === undefined) await requireOwnState(home, record);
    const objects = await this.#openedStore(record, call);
    const witness = this.witnessOf(record);
    // What calls before this one have noted.
    witness.flush();
    const shut = { objects, clock, random };
    const seen = acceptsOlder ? undefined : witness;
    const keys = record.encryption === 'customer' ? await this.#unlocked(shut, seen, record, call) : undefined;
    const blocks = { ...shut, witness, ...(keys === undefined ? {} : { keys }) };
    const service = await this.#serviceOf(record, blocks);
    const accountId = actingFor ?? record.accountId;
    await this.#requireAccount(accountId, record, service, call);
    const { gatewayId, name, mode, storeId } = record;
    const identity = { gatewayId, name, mode, accountId };
    const catalog = new AccountCatalog(blocks, accountId);
    const locks = new Locks(home);
    const { serving } = this;
    const served = { settings: record, serving, openServing };
    return { home, storeId, identity, blocks, catalog, service, locks, ...served, openPool };
  }

  /** That of the store, or the one that the gateway was activated at over the network. */
  async #serviceOf(record: GatewayState, blocks: BlockStoreOptions): Promise<Service> {
    const { service, storeId } = record;
    if (service === undefined) return new ServiceAccess(this.#parts, blocks, record);
    const { RemoteService: Remote } = await import('./network/remote-service.ts');
    this.#remote ??= new Remote(this.#parts, service);
    const access = new ServiceAccess(this.#parts, blocks, record, this.#remote);
    if (storeId === service.serviceId) return access;
    const { OwnStoreService } = await import('./network/own-store-service.ts');
    return new OwnStoreService(access, async () => this.#parts.openService(blocks, storeId));
  }

  /** Applies limits of the traffic, from now on. */
  limit({ bandwidth, configurationVersion }: Pick<GatewayState, 'bandwidth' | 'configurationVersion'>): void {
    // A call may have read the state before others changed it.
    if (configurationVersion < this.#limitedBy) return;
    this.#limitedBy = configurationVersion;
    this.#bandwidth = bandwidth;
    this.#parts.limitStores?.(ratesAt(bandwidth, this.#parts.clock.nowMs()));
  }

  /** A daemon follows the hours that limits are for. */
  async #keepLimits(): Promise<void> {
    const { clock, limitStores } = this.#parts;
    const { signal } = this.#closed;
    try {
      for (;;) {
        await clock.sleep(LIMITS_EVERY_MS, signal);
        limitStores?.(ratesAt(this.#bandwidth, clock.nowMs()));
      }
    } catch {
      // Closed.
    }
  }

  /** The first call opens it for all; one that came later fails only with a try that began after it did. */
  async #openedStore(record: GatewayState, call: CallContext): Promise<ObjectStore> {
    for (let isEarlier = this.#store !== undefined; ; isEarlier = false) {
      this.#store ??= this.#openStore(record, call.signal);
      const opening = this.#store;
      try {
        return await untilAborted(opening, call.signal);
      } catch (error) {
        throwIfAborted(call.signal);
        if (this.#store === opening) this.#store = undefined;
        const { kind } = toSgwError(error);
        // Who opened it for all was stopped; this call was not.
        if (kind !== 'aborted' && !(isEarlier && MAY_PASS.includes(kind))) throw error;
      }
    }
  }

  /** A daemon that serves local images, shadowed or restored, does so also while the store is out of reach: it is opened when it is back (C22). */
  async #openStore(record: GatewayState, signal: AbortSignal): Promise<ObjectStore> {
    const open = async (stop: AbortSignal): Promise<ObjectStore> =>
      openStoreOf(this.#parts, record, record.store, stop);
    const servesImages = record.attachments.some(
      ({ imagePath, restore }) => imagePath !== undefined || restore?.completed !== undefined,
    );
    // What is sealed can't be begun without the key that the store has.
    if (this.#parts.serving === undefined || !servesImages || record.encryption === 'customer')
      return await open(signal);
    try {
      return await open(signal);
    } catch (error) {
      const failure = toSgwError(error);
      if (!MAY_PASS.includes(failure.kind) && failure.code !== 'store-missing') throw failure;
      return new LateStore(record.store, open, this.#parts.clock);
    }
  }

  /** The home's own account needs no asking; another one has to be known to the service. @throws `account-not-found` */
  async #requireAccount(accountId: string, record: GatewayState, service: Service, call: CallContext): Promise<void> {
    if (accountId === record.accountId || this.#knownAccounts.has(accountId)) return;
    await service.operate('account.find', { accountId }, call);
    this.#knownAccounts.add(accountId);
  }

  /**
   * The store's key, unlocked by the first call that needs it. Calls that wait for secrets do not wait for each other. With
   * the `witness`, an older key document than was seen is refused: what it opens may have leaked since.
   */
  async #unlocked(
    blocks: BlockStoreOptions,
    witness: HomeWitness | undefined,
    { storeId }: GatewayState,
    call: CallContext,
  ): Promise<KeyRing> {
    if (this.#keys?.storeId === storeId) return this.#keys;
    const { openKeys } = await import('./key-source.ts');
    const noting = witness === undefined ? undefined : new LateNotes(witness);
    const keys = await openKeys({ ...blocks, ...(noting === undefined ? {} : { witness: noting }) }, call);
    // Not sealed, so it counts only once it has opened the key.
    noting?.keep();
    this.#keys = keys;
    return keys;
  }

  /** What this home has seen of the store. */
  witnessOf({ storeId }: GatewayState): HomeWitness {
    if (this.#witness?.storeId !== storeId) {
      this.#witness?.flush();
      this.#witness = new HomeWitness(this.#parts.home, storeId);
    }
    return this.#witness;
  }

  #retireOthers({ gatewayId, storeId }: GatewayState): void {
    const now = `${gatewayId} ${storeId}`;
    if (this.#openedFor === now) return;
    this.retireStore();
    void this.#remote?.[Symbol.asyncDispose]();
    this.#remote = undefined;
    this.#limitedBy = 0;
    this.#knownAccounts.clear();
    this.#openedFor = now;
  }

  /** Calls that are under way still use it. */
  retireStore(): void {
    if (this.#store !== undefined) this.#retired.push(this.#store);
    this.#store = undefined;
  }
}
