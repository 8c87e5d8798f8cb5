/**
 * The catalog as one account sees it: its own volumes and snapshots, and the snapshots that their owners share with it.
 * What another account has does not exist here, so that nothing built over it can show or change it. Work on the whole
 * store (gc, scrub, statistics) uses blockstore's `Catalog`.
 */
import {
  Catalog,
  noSnapshot,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeEntry,
} from '../blockstore/index.ts';
import { SgwError, type SnapshotId, type VolumeId } from '../kit/index.ts';

type ListOptions = NonNullable<Parameters<Catalog['surveyVolumes']>[0]>;

export class AccountCatalog extends Catalog {
  readonly accountId: string;

  constructor(options: BlockStoreOptions, accountId: string) {
    super(options);
    this.accountId = accountId;
  }

  /** Whose account a damaged entry is of can not be known: each account sees its id. */
  override async surveyVolumes(options: ListOptions = {}): ReturnType<Catalog['surveyVolumes']> {
    const { entries, damaged } = await super.surveyVolumes(options);
    return { entries: entries.filter((entry) => this.owns(entry)), damaged };
  }

  /** The account's own, and those shared with it. */
  override async surveySnapshots(options: ListOptions = {}): ReturnType<Catalog['surveySnapshots']> {
    const { entries, damaged } = await super.surveySnapshots(options);
    return { entries: entries.filter((entry) => this.sees(entry)), damaged };
  }

  /** The account's own: among these names are unique. */
  override async listSnapshots(options: ListOptions = {}): Promise<SnapshotEntry[]> {
    return (await super.listSnapshots(options)).filter((entry) => this.owns(entry));
  }

  /** @throws notFound `volume-not-found`, also of another account's */
  override async getVolume(id: VolumeId, signal?: AbortSignal): Promise<VolumeEntry> {
    const entry = await super.getVolume(id, signal);
    if (this.owns(entry)) return entry;
    throw new SgwError('notFound', 'volume-not-found', `there is no volume ${id}`, { details: { volumeId: id } });
  }

  /** @throws notFound `snapshot-not-found`, also of another account's that is not shared with this one */
  override async getSnapshot(id: SnapshotId, signal?: AbortSignal): Promise<SnapshotEntry> {
    const entry = await super.getSnapshot(id, signal);
    if (this.sees(entry)) return entry;
    throw noSnapshot(id);
  }

  /** @throws denied `not-owner` */
  override async updateVolume(
    id: VolumeId,
    change: (entry: VolumeEntry) => VolumeEntry | Promise<VolumeEntry>,
    signal?: AbortSignal,
  ): Promise<VolumeEntry> {
    return await super.updateVolume(id, (now) => change(this.requireOwn('volume', now)), signal);
  }

  /** @throws denied `not-owner` */
  override async updateSnapshot(
    id: SnapshotId,
    change: (entry: SnapshotEntry) => SnapshotEntry,
    signal?: AbortSignal,
  ): Promise<SnapshotEntry> {
    return await super.updateSnapshot(id, (now) => change(this.requireOwn('snapshot', now)), signal);
  }

  owns(entry: { readonly accountId: string }): boolean {
    return entry.accountId === this.accountId;
  }

  sees(entry: SnapshotEntry): boolean {
    const isShared = (entry.grants ?? []).some(
      (grant) => grant.accountId === this.accountId && grant.by === entry.accountId,
    );
    return this.owns(entry) || isShared;
  }

  /** @throws denied `not-owner` of what the account sees but does not own */
  requireOwn<T extends { readonly name: string; readonly accountId: string }>(what: string, entry: T): T {
    if (this.owns(entry)) return entry;
    throw new SgwError('denied', 'not-owner', `${what} "${entry.name}" belongs to account ${entry.accountId}`, {
      hint: 'Only its owner can change it.',
      details: { name: entry.name, ownerAccountId: entry.accountId },
    });
  }
}
