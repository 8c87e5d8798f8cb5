/**
 * A gateway over one home: the registry of its volumes and snapshots, and everything the local API asks of it.
 *
 * States: open -> closed. Nothing is opened before it is needed: a home that is not activated can still be activated and
 * asked for its status, and reading a list starts no worker thread. Invariants: calls share one open store, closed by
 * `close`, when no call is under way; the identity is read anew for each call, since another process may change it.
 */
import type { BlockStoreOptions, KeyRing } from '../blockstore/index.ts';
import type * as Api from '../localapi/index.ts';
import type { ObjectStore } from '../objectstore/index.ts';
import { openState, type GatewayState } from '../state/index.ts';
import { AccountCatalog } from './account-catalog.ts';
import { Locks } from './locks.ts';
import { requireOwnState } from './own-state.ts';
import type { GatewayParts } from './parts.ts';
import { ServiceAccess } from './service-access.ts';
import { notActivated, type Session } from './session.ts';
import { deleteSnapshot, listSnapshots, renameSnapshot, showSnapshot, takeSnapshot } from './snapshots.ts';
import { readStatus } from './status.ts';
import { openableStore, openStoreOf } from './store-place.ts';
import { createVolume, deleteVolume, listVolumes, renameVolume, resizeVolume, showVolume } from './volumes.ts';
import { HomeWitness } from './witness.ts';

type In<N extends Api.OperationName> = Api.Input<N>;
type Out<N extends Api.OperationName> = Promise<Api.Result<N>>;
type Call = Api.CallContext;

export class Gateway implements AsyncDisposable {
  readonly #parts: GatewayParts;
  #store: Promise<ObjectStore> | undefined;
  /** The gateway and the store that it was opened for: a home may be activated anew meanwhile. */
  #openedFor: string | undefined;
  /** Of an encrypted store, once a call has unlocked it. */
  #keys: KeyRing | undefined;
  #witness: HomeWitness | undefined;
  /** Accounts other than the home's own that were found. An account is never removed. */
  readonly #knownAccounts = new Set<string>();
  /** Stores of before they were moved. */
  readonly #retired: Promise<ObjectStore>[] = [];

  constructor(parts: GatewayParts) {
    this.#parts = parts;
  }

  async activate(input: In<'activate'>, call: Call): Out<'activate'> {
    const { activate } = await import('./activation.ts');
    return await activate(this.#parts, await this.#record(), input, call);
  }

  async status(call: Call): Out<'status'> {
    return await readStatus(this.#parts, await this.#record(), () => this.#open(call), call);
  }

  async configure(input: In<'configure'>, call: Call): Out<'configure'> {
    const { configure } = await import('./configuration.ts');
    const document = await configure(this.#parts, await this.#requireRecord(), () => this.#open(call), input, call);
    if (document.changed.includes('store')) this.#retireStore();
    return document;
  }

  /** Tries out the given store, or the gateway's own. Works without activation when a store is given. */
  async checkStore(input: In<'store.check'>, call: Call): Out<'store.check'> {
    const { clock, random, openStore } = this.#parts;
    const description = input.store ?? openableStore(this.#parts.home, (await this.#requireRecord()).store);
    const objects = await openStore(description, { create: false });
    try {
      const { probeStore } = await import('./store-probe.ts');
      return await probeStore({ objects, clock, random, signal: call.signal });
    } finally {
      await objects.close();
    }
  }

  async storeStats(call: Call): Out<'store.stats'> {
    const { storeStats } = await import('./store-stats.ts');
    return await storeStats(await this.#open(call), call);
  }

  async createVolume(input: In<'volume.create'>, call: Call): Out<'volume.create'> {
    return await createVolume(await this.#open(call), input, call);
  }

  async importVolume(input: In<'volume.import'>, call: Call): Out<'volume.import'> {
    const { importVolume } = await import('./volume-import.ts');
    return await importVolume(await this.#open(call), input, call);
  }

  async listVolumes(input: In<'volume.list'>, call: Call): Out<'volume.list'> {
    return await listVolumes(await this.#open(call), input, call);
  }

  async showVolume(input: In<'volume.show'>, call: Call): Out<'volume.show'> {
    return await showVolume(await this.#open(call), input, call);
  }

  async resizeVolume(input: In<'volume.resize'>, call: Call): Out<'volume.resize'> {
    return await resizeVolume(await this.#open(call), input, call);
  }

  async renameVolume(input: In<'volume.rename'>, call: Call): Out<'volume.rename'> {
    return await renameVolume(await this.#open(call), input, call);
  }

  async deleteVolume(input: In<'volume.delete'>, call: Call): Out<'volume.delete'> {
    return await deleteVolume(await this.#open(call), input, call);
  }

  async mapVolume(input: In<'volume.map'>, call: Call): Out<'volume.map'> {
    const { mapVolume } = await import('./volume-map.ts');
    return await mapVolume(await this.#open(call), input, call);
  }

  async verifyVolume(input: In<'volume.verify'>, call: Call): Out<'volume.verify'> {
    const { verifyVolume } = await import('./verification.ts');
    return await verifyVolume(await this.#open(call), input, call);
  }

  async createSnapshot(input: In<'snapshot.create'>, call: Call): Out<'snapshot.create'> {
    return await takeSnapshot(await this.#open(call), input, call);
  }

  async listSnapshots(input: In<'snapshot.list'>, call: Call): Out<'snapshot.list'> {
    return await listSnapshots(await this.#open(call), input, call);
  }

  async showSnapshot(input: In<'snapshot.show'>, call: Call): Out<'snapshot.show'> {
    return await showSnapshot(await this.#open(call), input, call);
  }

  async renameSnapshot(input: In<'snapshot.rename'>, call: Call): Out<'snapshot.rename'> {
    return await renameSnapshot(await this.#open(call), input, call);
  }

  async diffSnapshots(input: In<'snapshot.diff'>, call: Call): Out<'snapshot.diff'> {
    const { diffSnapshots } = await import('./snapshot-diff.ts');
    return await diffSnapshots(await this.#open(call), input, call);
  }

  async exportSnapshot(input: In<'snapshot.export'>, call: Call): Out<'snapshot.export'> {
    const { exportSnapshot } = await import('./snapshot-export.ts');
    return await exportSnapshot(await this.#open(call), input, call);
  }

  async importSnapshot(input: In<'snapshot.import'>, call: Call): Out<'snapshot.import'> {
    const { importSnapshot } = await import('./snapshot-import.ts');
    return await importSnapshot(await this.#open(call), input, call);
  }

  async deleteSnapshot(input: In<'snapshot.delete'>, call: Call): Out<'snapshot.delete'> {
    return await deleteSnapshot(await this.#open(call), input, call);
  }

  async verifySnapshot(input: In<'snapshot.verify'>, call: Call): Out<'snapshot.verify'> {
    const { verifySnapshot } = await import('./verification.ts');
    return await verifySnapshot(await this.#open(call), input, call);
  }

  async deactivate(call: Call): Out<'deactivate'> {
    const { deactivate } = await import('./deactivation.ts');
    return await deactivate(this.#parts, await this.#requireRecord(), await this.#open(call), call);
  }

  async collectGarbage(input: In<'store.gc'>, call: Call): Out<'store.gc'> {
    const { collectStoreGarbage } = await import('./garbage.ts');
    return await collectStoreGarbage(await this.#open(call), input, call);
  }

  async scrubStore(input: In<'store.scrub'>, call: Call): Out<'store.scrub'> {
    const { scrubStore } = await import('./scrub.ts');
    return await scrubStore(await this.#open(call), this.#witnessOf(await this.#requireRecord()), input, call);
  }

  async rekeyStore(input: In<'store.rekey'>, call: Call): Out<'store.rekey'> {
    const { rekeyStore } = await import('./key-source.ts');
    return await rekeyStore((await this.#open(call)).blocks, input, call);
  }

  async undeleteVolume(input: In<'volume.undelete'>, call: Call): Out<'volume.undelete'> {
    const { undeleteVolume } = await import('./garbage.ts');
    return await undeleteVolume(await this.#open(call), input, call);
  }

  async shareSnapshot(input: In<'snapshot.share'>, call: Call): Out<'snapshot.share'> {
    const { shareSnapshot } = await import('./sharing.ts');
    return await shareSnapshot(await this.#open(call), input, call);
  }

  async unshareSnapshot(input: In<'snapshot.unshare'>, call: Call): Out<'snapshot.unshare'> {
    const { unshareSnapshot } = await import('./sharing.ts');
    return await unshareSnapshot(await this.#open(call), input, call);
  }

  async createAccount(input: In<'service.account.create'>, call: Call): Out<'service.account.create'> {
    const { createAccount } = await import('./accounts.ts');
    return await createAccount(await this.#open(call), input, call);
  }

  async listAccounts(call: Call): Out<'service.account.list'> {
    const { listAccounts } = await import('./accounts.ts');
    return await listAccounts(await this.#open(call), call);
  }

  /** Closes what was opened. Idempotent. */
  async close(): Promise<void> {
    this.#witness?.flush();
    this.#retireStore();
    for (const opened of this.#retired.splice(0)) await (await opened.catch(() => undefined))?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #record(): Promise<GatewayState | null> {
    return (await openState(this.#parts.home)).gateway;
  }

  async #requireRecord(): Promise<GatewayState> {
    const record = await this.#record();
    if (record === null) throw notActivated(this.#parts.home);
    return record;
  }

  /** What a call works with: the store as it was opened first, and the identity as it is configured now. */
  async #open(call: Call): Promise<Session> {
    const { home, clock, random, openPool } = this.#parts;
    const record = await this.#requireRecord();
    this.#retireOthers(record);
    if (this.#store === undefined) await requireOwnState(home, record);
    this.#store ??= openStoreOf(this.#parts, record, record.store, call.signal).catch((error: unknown) => {
      this.#store = undefined;
      throw error;
    });
    const objects = await this.#store;
    const witness = this.#witnessOf(record);
    // What calls before this one have noted.
    witness.flush();
    const shut = { objects, clock, random };
    // An older key document opens the same key: what is older is told by what reads it to change it, and by a scrub.
    const keys = record.encryption === 'none' ? undefined : await this.#unlocked(shut, record, call);
    const blocks = { ...shut, witness, ...(keys === undefined ? {} : { keys }) };
    const service = new ServiceAccess(this.#parts, blocks, record);
    const accountId = await this.#actingAccount(record, service, call);
    const { gatewayId, name, mode, storeId } = record;
    const identity = { gatewayId, name, mode, accountId };
    const catalog = new AccountCatalog(blocks, accountId);
    return { home, storeId, identity, blocks, catalog, service, locks: new Locks(home), openPool };
  }

  /** The home's own account needs no asking; another one has to be known to the service. @throws `account-not-found` */
  async #actingAccount(record: GatewayState, service: ServiceAccess, call: Call): Promise<string> {
    const accountId = this.#parts.accountId ?? record.accountId;
    if (accountId === record.accountId || this.#knownAccounts.has(accountId)) return accountId;
    await service.operate('account.find', { accountId }, call);
    this.#knownAccounts.add(accountId);
    return accountId;
  }

  /** The store's key, unlocked by the first call that needs it. Calls that wait for secrets do not wait for each other. */
  async #unlocked(blocks: BlockStoreOptions, { storeId }: GatewayState, call: Call): Promise<KeyRing> {
    if (this.#keys?.storeId === storeId) return this.#keys;
    const { openKeys } = await import('./key-source.ts');
    const keys = await openKeys(blocks, call);
    this.#keys = keys;
    return keys;
  }

  #witnessOf({ storeId }: GatewayState): HomeWitness {
    if (this.#witness?.storeId !== storeId) {
      this.#witness?.flush();
      this.#witness = new HomeWitness(this.#parts.home, storeId);
    }
    return this.#witness;
  }

  #retireOthers({ gatewayId, storeId }: GatewayState): void {
    const now = `${gatewayId} ${storeId}`;
    if (this.#openedFor === now) return;
    this.#retireStore();
    this.#knownAccounts.clear();
    this.#openedFor = now;
  }

  /** Calls that are under way still use it. */
  #retireStore(): void {
    if (this.#store !== undefined) this.#retired.push(this.#store);
    this.#store = undefined;
  }
}
