/**
 * Restores to local images (C24): `restores/<restoreId>.json`. While one is `restoring`, what its snapshot reaches is a root of
 * gc, also when the snapshot is deleted meanwhile. Its id begins with that of the snapshot, so that it is found with nothing
 * but that and the store.
 *
 * States: `restoring` -> `completed` | `abandoned`.
 */
import { assert, SgwError, type Random, type SnapshotId, type VolumeId } from '../kit/index.ts';
import { changeDocument, createDocument, readDocument } from './documents.ts';
import type { SnapshotEntry } from './entries.ts';
import { keys } from './keys.ts';
import { withSignal, type BlockStoreOptions } from './options.ts';
import { openSnapshotView, type VolumeView } from './volume-view.ts';

/** `snap-` and 17 hex digits, `-`, and 8 hex digits. */
export type RestoreId = `${SnapshotId}-${string}`;

export interface RestoreEntry {
  readonly restoreId: RestoreId;
  readonly snapshotId: SnapshotId;
  readonly state: 'restoring' | 'completed' | 'abandoned';
  readonly accountId: string;
  /** Of the snapshot, and so of the image. */
  readonly sizeBytes: number;
  readonly createdAt: string;
  /** When it was completed or abandoned. */
  readonly endedAt: string | null;
  /** 32 bytes, hex: what the marks are made with. */
  readonly secret: string;
  readonly blockBytes: number;
  /** The image may carry no mark any more. */
  readonly isFinishing: boolean;
  /** Where the image was when the restore began, and what tells that it is the same one. */
  readonly image: {
    readonly path: string;
    readonly device: string;
    readonly inode: string;
    /** When the file was created, nanoseconds since 1970; 0 where that can't be told. Inode numbers are used again. */
    readonly bornAtNs: string;
    /** Of a block device: what tells it from others that have its number later; absent for a file, and in older entries. */
    readonly identity?: string;
  };
  /** Who began it: the gateway's id. */
  readonly gatewayId: string;
  /** A clone of the snapshot, which shadows the image; absent where none does. */
  readonly volumeId?: VolumeId;
  /** What is needed of the snapshot, should it be deleted. */
  readonly snapshot: Pick<SnapshotEntry, 'name' | 'volumeName' | 'seq' | 'createdAt' | 'root'>;
  /** Of a completed one: blocks in the order in which guests touched them first. */
  readonly profile: readonly number[];
  /** Of a completed one that was served: the state of its gateway does not say so yet, and asks here. */
  readonly awaitsNote?: true;
}

/** A gateway that has not noted for so long that its restore is completed is taken for gone. */
const AWAITED_MS = 90 * 24 * 60 * 60_000;

export const newRestoreId = (random: Random, snapshotId: SnapshotId): RestoreId =>
  `${snapshotId}-${random.bytes(4).toString('hex')}`;

export const isRestoreId = (text: string): text is RestoreId => /^snap-[0-9a-f]{17}-[0-9a-f]{8}$/.test(text);

/**
 * Stores a restore that begins. Durable when it resolves: what the snapshot reaches is kept from now on.
 * @throws notFound `snapshot-not-found` when the snapshot was deleted before that
 */
export async function createRestore(
  options: BlockStoreOptions,
  entry: RestoreEntry,
  signal?: AbortSignal,
): Promise<void> {
  const created = await createDocument(options, keys.restore(entry.restoreId), entry, signal);
  assert(created, 'a restore id is new');
  // What is deleted before the restore is there, gc may have missed (C11).
  const now = await readDocument<SnapshotEntry>(options, keys.snapshot(entry.snapshotId), signal);
  if (now?.value.state === 'completed') return;
  await endRestore(options, entry.restoreId, 'abandoned');
  throw new SgwError('notFound', 'snapshot-not-found', `snapshot "${entry.snapshot.name}" was deleted`, {
    details: { snapshotId: entry.snapshotId },
  });
}

/** @throws notFound `restore-not-found` */
export async function getRestore(
  options: BlockStoreOptions,
  restoreId: RestoreId,
  signal?: AbortSignal,
): Promise<RestoreEntry> {
  const stored = await readDocument<RestoreEntry>(options, keys.restore(restoreId), signal);
  if (stored !== undefined) return stored.value;
  throw new SgwError('notFound', 'restore-not-found', `there is no restore ${restoreId}`, { details: { restoreId } });
}

/** Restores of one snapshot, or all, newest first. */
export async function listRestores(
  options: BlockStoreOptions,
  snapshotId?: SnapshotId,
  signal?: AbortSignal,
): Promise<RestoreEntry[]> {
  const entries = await Array.fromAsync(eachRestore(options, snapshotId, signal));
  return entries.sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
}

/** As `listRestores`, one by one and in no order: for who looks at those of all accounts, which may be many. */
export async function* eachRestore(
  options: BlockStoreOptions,
  snapshotId?: SnapshotId,
  signal?: AbortSignal,
): AsyncGenerator<RestoreEntry> {
  for await (const { key } of options.objects.list(`${keys.restores}${snapshotId ?? ''}`, withSignal(signal))) {
    const stored = await readDocument<RestoreEntry>(options, key, signal);
    if (stored !== undefined) yield stored.value;
  }
}

/** Notes that the image may carry no mark from now on. Durable when it resolves. */
export async function noteFinishing(options: BlockStoreOptions, restoreId: RestoreId): Promise<void> {
  await changeDocument<RestoreEntry>(options, keys.restore(restoreId), (now) =>
    now.isFinishing ? now : { ...now, isFinishing: true },
  );
}

/** Notes that a volume shadows the image. Durable when it resolves. */
export async function noteVolume(options: BlockStoreOptions, restoreId: RestoreId, volumeId: VolumeId): Promise<void> {
  await changeDocument<RestoreEntry>(options, keys.restore(restoreId), (now) => ({ ...now, volumeId }));
}

/**
 * Ends a restore, which then keeps nothing from gc. One that has ended stays as it is. With `awaitsNote` its object stays until
 * `noteKnown`. Durable when it resolves.
 */
export async function endRestore(
  options: BlockStoreOptions,
  restoreId: RestoreId,
  state: 'completed' | 'abandoned',
  profile: readonly number[] = [],
  awaitsNote = false,
): Promise<void> {
  const endedAt = new Date(options.clock.nowMs()).toISOString();
  const ended = { state, endedAt, profile, ...(awaitsNote ? { awaitsNote: true as const } : {}) };
  await changeDocument<RestoreEntry>(options, keys.restore(restoreId), (now) =>
    now.state === 'restoring' ? { ...now, ...ended } : now,
  );
}

/** The state of its gateway says that it is completed: nobody needs its object. Durable when it resolves. */
export async function noteKnown(options: BlockStoreOptions, restoreId: RestoreId): Promise<void> {
  await changeDocument<RestoreEntry>(options, keys.restore(restoreId), (now) => {
    const { awaitsNote, ...known } = now;
    return awaitsNote === undefined ? now : known;
  });
}

/** The file is overwritten: what the restore made is not there any more. One under way is abandoned. Durable when it resolves. */
export async function forgetImage(options: BlockStoreOptions, restoreId: RestoreId): Promise<void> {
  const endedAt = new Date(options.clock.nowMs()).toISOString();
  await changeDocument<RestoreEntry>(options, keys.restore(restoreId), (now) => {
    const image = { ...now.image, device: '', inode: '' };
    return now.state === 'restoring' ? { ...now, state: 'abandoned', endedAt, image } : { ...now, image };
  });
}

/** Removes ended restores of the snapshot but for the newest that has a profile, each only as it was read. */
export async function pruneRestores(
  options: BlockStoreOptions,
  snapshotId: SnapshotId,
  signal?: AbortSignal,
): Promise<void> {
  const ended = (await listRestores(options, snapshotId, signal)).filter(({ state }) => state !== 'restoring');
  const kept = ended.find(({ profile }) => profile.length > 0) ?? ended[0];
  for (const entry of ended) if (entry !== kept) await removeRestore(options, entry.restoreId, signal);
}

/** Removes what has ended, unless its gateway has to learn of that first. */
export async function removeRestore(
  options: BlockStoreOptions,
  restoreId: RestoreId,
  signal?: AbortSignal,
): Promise<void> {
  const key = keys.restore(restoreId);
  const stored = await readDocument<RestoreEntry>(options, key, signal);
  if (stored === undefined || stored.value.state === 'restoring') return;
  const { awaitsNote, endedAt } = stored.value;
  const isAwaited = options.clock.nowMs() - Date.parse(endedAt ?? '') < AWAITED_MS;
  if (awaitsNote === true && isAwaited) return;
  await options.objects.delete(key, { ifMatch: stored.etag, ...withSignal(signal) });
}

/** Opens what a restore restores, whether or not the snapshot is there still. */
export const openRestoreView = (
  options: BlockStoreOptions,
  { snapshotId, sizeBytes, snapshot }: RestoreEntry,
): VolumeView => openSnapshotView(options, { ...snapshot, snapshotId, sizeBytes, state: 'completed' });
