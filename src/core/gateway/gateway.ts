/**
 * A gateway over one home, as one account sees it: the registry of its volumes and snapshots, and everything the local API
 * asks of it. What is open of the home is in `open-home.ts`.
 */
import type { Logger, VolumeId } from '../kit/index.ts';
import type * as Api from '../localapi/index.ts';
import type { ConfigurationReceipt, GatewayConfiguration } from '../protocol/index.ts';
import type { Replication } from '../replication/index.ts';
import type { TakeoverProgram } from './groups/takeover-program.ts';
import type { Membership } from './groups/membership.ts';
import type { GroupVerbs } from './groups/verbs.ts';
import { OpenHome } from './open-home.ts';
import { scheduleDocuments } from './schedules/documents.ts';
import type { ScheduleEvent, ScheduleRunner } from './schedules/runner.ts';
import type { ScheduleSources } from './schedules/verbs.ts';
import type { GatewayParts } from './parts.ts';
import type { WaitingListener } from './serving/served.ts';
import type { Serving } from './serving/serving.ts';
import type { Session } from './session.ts';
import { deleteSnapshot, listSnapshots, renameSnapshot, showSnapshot, takeSnapshot } from './snapshots.ts';
import { exportsOf } from './serving/documents.ts';
import { readStatus } from './status.ts';
import { openableStore, refuseProviderStore, requireWholeStore, wayRemarks } from './store-place.ts';
import { createVolume, deleteVolume, listVolumes, renameVolume, resizeVolume, showVolume } from './volumes.ts';

type In<N extends Api.OperationName> = Api.Input<N>;
type Out<N extends Api.OperationName> = Promise<Api.Result<N>>;
type Call = Api.CallContext;

export class Gateway implements AsyncDisposable {
  readonly #parts: GatewayParts;
  readonly #home: OpenHome;

  constructor(parts: GatewayParts, home = new OpenHome(parts)) {
    this.#parts = parts;
    this.#home = home;
  }

  /** The same open home for another account, or for the home's own; closing either closes both. */
  forAccount(accountId: string | undefined): Gateway {
    const { accountId: _, ...parts } = this.#parts;
    return new Gateway(accountId === undefined ? parts : { ...parts, accountId }, this.#home);
  }

  /**
   * Makes sure that the store answers, and unlocks it where it is encrypted: later calls ask for no secret. Loads what serving
   * takes, so that `serve` begins at once.
   */
  async open(call: Call): Promise<void> {
    await Promise.all([this.#open(call), import('./serving/serving.ts')]);
  }

  /** Serves what is attached, until the `Serving` is stopped. For a daemon. */
  async serve(call: Call): Promise<Serving> {
    return await this.#home.serve(call);
  }

  /** Runs the schedules until the runner is stopped. For a daemon that serves already. */
  async runSchedules(onEvent: (event: ScheduleEvent) => void, call: Call): Promise<ScheduleRunner> {
    return await this.#home.runSchedules(onEvent, call);
  }

  /** Has the volumes of this gateway's group replicated, if it is in one, until the membership is stopped. For a daemon that serves already. */
  async joinGroup(
    how: { readonly log: Logger; readonly exportsAt: () => readonly string[] },
    call: Call,
  ): Promise<Membership> {
    const { home, clock, random } = this.#parts;
    const [{ Membership: Member }, { ServiceGroupBook }] = await Promise.all([
      import('./groups/membership.ts'),
      import('./groups/book.ts'),
    ]);
    const openSession = async (of: Call): Promise<Session> => this.#open(of);
    const membership = new Member({
      ...{ home, clock, random, ...how, openSession },
      serving: this.#home.requireServing('replicating volumes'),
      takeovers: this.#home.takeovers,
      secrets: call.secrets,
      book: new ServiceGroupBook(async () => (await openSession(call)).service),
      onReplication: (replication) => {
        this.#home.replicateBy(replication);
      },
    });
    this.#home.regroupBy(async () => membership.look());
    membership.start();
    return membership;
  }

  /** What replicates the volumes of this gateway's group; undefined where nothing does. */
  get replication(): Replication | undefined {
    return this.#home.replication;
  }

  /** As `joinGroup`, by what replicates already. */
  replicateBy(replication: Replication): void {
    this.#home.replicateBy(replication);
    this.#home.regroupBy(async () => replication.reload());
  }

  /** Runs the operator's program after a take-over, if he has named one. */
  get takeovers(): TakeoverProgram {
    return this.#home.takeovers;
  }

  /** The verbs of groups. */
  async groups(): Promise<GroupVerbs> {
    const { GroupVerbs: Verbs } = await import('./groups/verbs.ts');
    return new Verbs({
      openSession: async (call) => this.#open(call),
      replication: () => this.#home.replication,
      regroup: async () => this.#home.regroup(),
    });
  }

  async activate(input: In<'activate'>, call: Call): Out<'activate'> {
    const { activate } = await import('./activation.ts');
    return await activate(this.#parts, await this.#home.record(), input, call);
  }

  async beginActivation(input: In<'activation.begin'>, call: Call): Out<'activation.begin'> {
    const { beginRemote } = await import('./network/activation.ts');
    return await beginRemote(this.#parts, await this.#home.record(), input, call);
  }

  async awaitActivation(input: In<'activation.await'>, call: Call): Out<'activation.await'> {
    const { awaitClaim } = await import('./network/activation.ts');
    return await awaitClaim(this.#parts, input, call);
  }

  async finishActivation(input: In<'activation.finish'>, call: Call): Out<'activation.finish'> {
    const { finishRemote } = await import('./network/finish.ts');
    return await finishRemote(this.#parts, input, call);
  }

  async withdrawActivation(call: Call): Out<'activation.withdraw'> {
    const { withdrawRemote } = await import('./network/activation.ts');
    return await withdrawRemote(this.#parts, call);
  }

  async status(call: Call): Out<'status'> {
    const record = await this.#home.record();
    const exports = exportsOf(this.#parts.home, record, this.#home.serving);
    const schedules = scheduleDocuments(record?.schedules ?? {}, this.#parts.clock.nowMs(), this.#home.schedules);
    const grouped = (await this.replication?.report()) ?? [];
    return await readStatus(
      this.#parts,
      record,
      () => this.#open(call),
      { exports, schedules, waiting: this.#waiting, takeovers: this.#home.takeovers, grouped },
      call,
    );
  }

  /** Addresses that could not be had yet. */
  get #waiting(): readonly WaitingListener[] {
    return this.#home.serving?.listening?.waiting ?? [];
  }

  async doctor(call: Call): Out<'doctor'> {
    const { examine } = await import('./doctor.ts');
    return await examine({
      parts: this.#parts,
      exports: (record) => exportsOf(this.#parts.home, record, this.#home.serving),
      schedules: ({ schedules = {} }) => scheduleDocuments(schedules, this.#parts.clock.nowMs(), this.#home.schedules),
      waiting: this.#waiting,
      checkStore: async () => this.checkStore({}, call),
    });
  }

  async recoverLog(input: In<'volume.recover-log'>, call: Call): Out<'volume.recover-log'> {
    const { recoverLog } = await import('./log-recovery.ts');
    return await recoverLog(await this.#open(call), input, call);
  }

  async configure(input: In<'configure'>, call: Call): Out<'configure'> {
    const { configure } = await import('./configuration.ts');
    const document = await configure(
      this.#parts,
      await this.#home.requireRecord(),
      () => this.#open(call),
      async () => (await this.#home.serving?.reload()) ?? [],
      input,
      call,
    );
    if (document.changed.includes('store')) this.#home.retireStore();
    return document;
  }

  /**
   * Puts a configuration in force that came from the service. Its receipt says what could not be done; a home whose operator
   * owns the configuration refuses it. @throws unsupported `operator-owned`
   */
  async takeConfiguration(configuration: GatewayConfiguration, call: Call): Promise<ConfigurationReceipt> {
    const { takeConfiguration } = await import('./provided.ts');
    const reload = async (): Promise<readonly string[]> => (await this.#home.serving?.reload()) ?? [];
    return await takeConfiguration({ parts: this.#parts, reload }, configuration, call);
  }

  async showBandwidth(): Out<'bandwidth.show'> {
    const { showBandwidth } = await import('./bandwidth.ts');
    return await showBandwidth(this.#parts);
  }

  async setBandwidth(input: In<'bandwidth.set'>, call: Call): Out<'bandwidth.set'> {
    const { setBandwidth } = await import('./bandwidth.ts');
    return await this.#limited(await setBandwidth(this.#parts, input, call));
  }

  async removeBandwidth(call: Call): Out<'bandwidth.remove'> {
    const { removeBandwidth } = await import('./bandwidth.ts');
    return await this.#limited(await removeBandwidth(this.#parts, call));
  }

  /** With the limits that the state has now given to the stores that are open. */
  async #limited(document: Api.BandwidthDocument): Out<'bandwidth.show'> {
    this.#home.limit(await this.#home.requireRecord());
    return document;
  }

  async setSchedule(input: In<'schedule.set'>, call: Call): Out<'schedule.set'> {
    const { setSchedule } = await import('./schedules/verbs.ts');
    return await setSchedule(this.#schedules(call), input, call);
  }

  async showSchedules(input: In<'schedule.show'>, call: Call): Out<'schedule.show'> {
    const { showSchedules } = await import('./schedules/verbs.ts');
    return await showSchedules(this.#schedules(call), input, call);
  }

  async removeSchedule(input: In<'schedule.remove'>, call: Call): Out<'schedule.remove'> {
    const { removeSchedule } = await import('./schedules/verbs.ts');
    return await removeSchedule(this.#schedules(call), input, call);
  }

  #schedules(call: Call): ScheduleSources {
    return { parts: this.#parts, openSession: async () => this.#open(call), runner: this.#home.schedules };
  }

  /** Tries out the given store, or the gateway's own. Works without activation when a store is given. */
  async checkStore(input: In<'store.check'>, call: Call): Out<'store.check'> {
    const { clock, random, openStore } = this.#parts;
    const description = input.store ?? openableStore(this.#parts.home, (await this.#home.requireRecord()).store);
    const objects = await openStore(description, { create: false });
    try {
      await refuseProviderStore(objects, call.signal);
      const { probeStore } = await import('./store-probe.ts');
      const check = await probeStore({ objects, clock, random, signal: call.signal });
      return { ...check, remarks: [...check.remarks, ...wayRemarks(description)] };
    } finally {
      await objects.close();
    }
  }

  /** Works without activation. */
  async copyStore(input: In<'store.copy'>, call: Call): Out<'store.copy'> {
    const { copyStores } = await import('./store-copy.ts');
    return await copyStores(this.#parts, input, call);
  }

  async storeStats(input: In<'store.stats'>, call: Call): Out<'store.stats'> {
    await this.#requireWhole('counting a store');
    const { storeStats } = await import('./cost/store-stats.ts');
    return await storeStats(await this.#open(call), await this.#home.usage(), input, call);
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

  async attachVolume(input: In<'volume.attach'>, call: Call): Out<'volume.attach'> {
    const serving = this.#home.requireServing('attaching a volume');
    const { attachVolume } = await import('./attaching.ts');
    return await attachVolume(await this.#open(call), serving, input, call);
  }

  async detachVolume(input: In<'volume.detach'>, call: Call): Out<'volume.detach'> {
    const serving = this.#home.requireServing('detaching a volume');
    const { detachVolume } = await import('./attaching.ts');
    return await detachVolume(await this.#open(call), serving, input, call);
  }

  async changeChap(input: In<'volume.chap'>, call: Call): Out<'volume.chap'> {
    const serving = this.#home.requireServing('changing CHAP of an export');
    const { changeChap } = await import('./initiator-chap.ts');
    const told = async (volumeId: string): Promise<void> =>
      this.#home.replication?.exportTold(volumeId as VolumeId, call.signal);
    return await changeChap(await this.#open(call), { serving, told }, input, call);
  }

  async suspend(call: Call): Out<'gateway.suspend'> {
    const isNew = await this.#home.requireServing('suspending the gateway').suspend(call);
    return { pid: process.pid, changes: isNew ? ['Nothing is served until the gateway is resumed.'] : [] };
  }

  async resume(call: Call): Out<'gateway.resume'> {
    const isNew = await this.#home.requireServing('resuming the gateway').resume(call);
    return { pid: process.pid, changes: isNew ? ['What is attached is served again.'] : [] };
  }

  async resetCache(_call: Call): Out<'gateway.reset-cache'> {
    await this.#home.requireServing('emptying the cache').resetCache();
    return { pid: process.pid, changes: ['The cache is empty.'] };
  }

  async configureVolume(input: In<'volume.configure'>, call: Call): Out<'volume.configure'> {
    const { configureVolume } = await import('./attaching.ts');
    return await configureVolume(await this.#open(call), input, call);
  }

  async mapVolume(input: In<'volume.map'>, call: Call): Out<'volume.map'> {
    const { mapVolume } = await import('./volume-map.ts');
    return await mapVolume(await this.#open(call), input, call);
  }

  async verifyVolume(input: In<'volume.verify'>, call: Call): Out<'volume.verify'> {
    const { verifyVolume } = await import('./verification.ts');
    return await verifyVolume(await this.#open(call), input, call);
  }

  async listRecoveryPoints(input: In<'recovery-point.list'>, call: Call): Out<'recovery-point.list'> {
    const { listPoints } = await import('./recovery-points.ts');
    return await listPoints(await this.#open(call), input, call);
  }

  async createSnapshot(input: In<'snapshot.create'>, call: Call): Out<'snapshot.create'> {
    const made = await takeSnapshot(await this.#open(call), input, call);
    this.#home.schedules?.snapshotMade(made.volumeId);
    return made;
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

  async restoreSnapshot(input: In<'snapshot.restore'>, call: Call): Out<'snapshot.restore'> {
    const serving =
      input.attach === true ? this.#home.requireServing('serving an image while it is restored') : undefined;
    const { restoreSnapshot } = await import('./restoring/snapshot-restore.ts');
    return await restoreSnapshot(await this.#open(call), serving, input, call);
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
    return await deactivate(this.#parts, await this.#home.requireRecord(), async () => this.#open(call), call);
  }

  async #requireWhole(what: string): Promise<void> {
    requireWholeStore((await this.#home.requireRecord()).store, what);
  }

  async collectGarbage(input: In<'store.gc'>, call: Call): Out<'store.gc'> {
    await this.#requireWhole('gc');
    const { collectStoreGarbage } = await import('./garbage.ts');
    return await collectStoreGarbage(await this.#open(call), input, call);
  }

  async scrubStore(input: In<'store.scrub'>, call: Call): Out<'store.scrub'> {
    await this.#requireWhole('scrubbing');
    const { scrubStore } = await import('./scrub.ts');
    const { acceptOlder: acceptsOlder = false } = input;
    return await scrubStore(
      await this.#home.open(this.#parts.accountId, call, { acceptsOlder }),
      this.#home.witnessOf(await this.#home.requireRecord()),
      input,
      call,
    );
  }

  async rekeyStore(input: In<'store.rekey'>, call: Call): Out<'store.rekey'> {
    await this.#requireWhole('changing the keys of a store');
    const { rekeyStore } = await import('./key-source.ts');
    return await rekeyStore((await this.#open(call)).blocks, input, call);
  }

  async undeleteVolume(input: In<'volume.undelete'>, call: Call): Out<'volume.undelete'> {
    const { undeleteVolume } = await import('./garbage.ts');
    const undeleted = await undeleteVolume(await this.#open(call), input, call);
    this.#home.schedules?.changed();
    return undeleted;
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
    await this.#home.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #open(call: Call): Promise<Session> {
    return await this.#home.open(this.#parts.accountId, call);
  }
}
