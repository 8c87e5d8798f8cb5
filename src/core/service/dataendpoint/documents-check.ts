/**
 * Whether a document that comes in is one that its account may write. Pure: what has to be known of other objects is given.
 */
import type { Head, RecoveryPolicy, SnapshotEntry } from '../../blockstore/index.ts';
import { isSamePointer, requirePointer, type NodePointer } from '../../blockstore/inspect/index.ts';
import { isVolumeId } from '../../kit/index.ts';
import { asSnapshot, type Stored } from './records.ts';
import { refuseContents } from './rights.ts';

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** @throws denied `write-refused` when a field of the document that never changes did */
export function requireUnchanged(key: string, before: Stored, after: Stored, fields: readonly string[]): void {
  const changed = fields.find((field) => !same(before[field], after[field]));
  if (changed !== undefined) throw refuseContents(key, `its field ${changed} does not change`);
}

/** The roots that a head names. @throws denied `write-refused`, `map-refused` for what is none */
export function rootsOfHead(key: string, stored: Stored): NodePointer[] {
  const head = stored as unknown as Partial<Head>;
  const { checkpoint, consistent, recovery } = head;
  const checkpoints: readonly unknown[] = [
    checkpoint,
    ...(consistent === null || consistent === undefined ? [] : [consistent]),
    ...(Array.isArray(recovery?.points) ? (recovery.points as readonly unknown[]) : []),
  ];
  return checkpoints.flatMap((one) => {
    const { root, seq, sizeBytes } = (one ?? {}) as { root?: unknown; seq?: unknown; sizeBytes?: unknown };
    const isFormed = root !== undefined && isCount(seq) && isCount(sizeBytes) && typeof root === 'object';
    if (!isFormed) throw refuseContents(key, 'it has a checkpoint that is none');
    return root === null ? [] : [requirePointer(key, root as NodePointer)];
  });
}

/** Far above what any volume has: gc of all accounts goes by it. */
const TIERS_MAX = 16;
const POINTS_MAX = 10_000;

/** What gc thins the recovery points by. @throws denied `write-refused` when it is none */
export function requireRecovery(key: string, stored: Stored): void {
  if (stored['recovery'] === undefined) return;
  const { policy, points } = (stored['recovery'] ?? {}) as { policy?: unknown; points?: unknown };
  const { allForMs, allMax, tiers } = (policy ?? {}) as Partial<Record<keyof RecoveryPolicy, unknown>>;
  const isFormed =
    isCount(allForMs) &&
    isCount(allMax) &&
    Array.isArray(tiers) &&
    tiers.length <= TIERS_MAX &&
    tiers.every(isTier) &&
    Array.isArray(points) &&
    points.length <= POINTS_MAX &&
    points.every(isTimed);
  if (!isFormed) throw refuseContents(key, 'its recovery points are none');
}

const isTier = (tier: unknown): boolean => {
  const { periodMs, forMs } = (tier ?? {}) as { periodMs?: unknown; forMs?: unknown };
  return isCount(periodMs) && periodMs !== 0 && isCount(forMs);
};

const isTimed = (point: unknown): boolean => isCount(((point ?? {}) as { commitTimeMs?: unknown }).commitTimeMs);

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

interface HolderField {
  readonly gatewayId: string;
  readonly name: string;
}

/** @throws denied `write-refused` unless the holder is one, or none */
export function holderOf(key: string, stored: Stored): HolderField | null {
  const { holder } = stored as { readonly holder?: unknown };
  if (holder === null) return null;
  const { gatewayId, name } = (holder ?? {}) as Partial<HolderField>;
  if (typeof gatewayId !== 'string' || typeof name !== 'string') throw refuseContents(key, 'its holder is none');
  return { gatewayId, name };
}

export function epochOf(key: string, stored: Stored): number {
  const { epoch } = stored;
  if (isCount(epoch)) return epoch as number;
  throw refuseContents(key, 'its epoch is none');
}

/** A head that begins a volume holds nothing but, of a clone, the root of what it is cloned from. */
export function requireFirstHead(key: string, stored: Stored): void {
  const { holder, recovery, epoch } = stored as Partial<Head>;
  if (epoch !== 0 || holder !== null || recovery !== undefined)
    throw refuseContents(key, 'it is not that of a volume that begins');
  const [first, ...others] = rootsOfHead(key, stored);
  if (others.some((other) => first === undefined || !isSamePointer(first, other)))
    throw refuseContents(key, 'it has several roots');
}

const VOLUME_STATES: ReadonlySet<unknown> = new Set(['available', 'importing', 'deleted', 'purging']);
/** Of a volume's entry, never changed. */
export const VOLUME_FIXED = ['volumeId', 'accountId', 'createdAt', 'parentSnapshotId', 'lineage'];

/** @throws denied `write-refused` */
export function requireVolumeEntry(key: string, volumeId: string, accountId: string, entry: Stored): void {
  const { parentSnapshotId, lineage } = entry;
  if (entry['volumeId'] !== volumeId) throw refuseContents(key, 'it is the entry of another volume');
  if (entry['accountId'] !== accountId) throw refuseContents(key, 'it names another account as the owner');
  if (!VOLUME_STATES.has(entry['state'])) throw refuseContents(key, 'its state is none');
  if (typeof lineage !== 'string' || !isVolumeId(lineage)) throw refuseContents(key, 'its lineage is none');
  if (parentSnapshotId !== null && typeof parentSnapshotId !== 'string')
    throw refuseContents(key, 'its parent is none');
  if (parentSnapshotId === null && lineage !== volumeId)
    throw refuseContents(key, 'it is no clone, and of another lineage');
  requireVolumeSize(key, entry);
}

/** What the limits of its account are counted by. @throws denied `write-refused` */
export function requireVolumeSize(key: string, { sizeBytes }: Stored): void {
  if (!isCount(sizeBytes)) throw refuseContents(key, 'its size is none');
}

/** Purging is for good: nothing brings a volume back that gc may have begun to take away. */
export function requireVolumeStep(key: string, before: Stored, after: Stored): void {
  if (before['state'] === 'purging' && after['state'] !== 'purging')
    throw refuseContents(key, 'the volume is being purged');
}

/** Of a snapshot's entry, never changed; grants are given by the service alone. */
const SNAPSHOT_FIXED = ['snapshotId', 'accountId', 'volumeId', 'lineage', 'createdAt', 'maker', 'grants', 'upload'];
/** Fixed once it is completed. */
const SNAPSHOT_SHOWN = ['seq', 'sizeBytes', 'mappedPages', 'root', 'creators', 'completedAt'];

const SNAPSHOT_STEPS: Readonly<Record<string, readonly string[]>> = {
  pending: ['pending', 'completed', 'failed', 'deleted'],
  completed: ['completed', 'deleted'],
  failed: ['failed', 'deleted'],
  deleted: ['deleted'],
};

/** An entry that begins: it shows nothing yet. @throws denied `write-refused` */
export function requireFirstSnapshot(key: string, snapshotId: string, accountId: string, entry: Stored): void {
  const { state, root, creators, grants, volumeId, upload } = entry as Partial<SnapshotEntry> & { upload?: unknown };
  if (entry['snapshotId'] !== snapshotId) throw refuseContents(key, 'it is the entry of another snapshot');
  if (entry['accountId'] !== accountId) throw refuseContents(key, 'it names another account as the owner');
  const isEmpty = state === 'pending' && root === null && Array.isArray(creators) && creators.length === 0;
  if (!isEmpty) throw refuseContents(key, 'a snapshot begins pending, and shows nothing');
  if (grants !== undefined) throw refuseContents(key, 'the service alone shares snapshots');
  if (upload !== undefined) throw refuseContents(key, 'the service alone takes uploads');
  if (typeof volumeId !== 'string' || !isVolumeId(volumeId)) throw refuseContents(key, 'its volume is none');
}

/**
 * Whether the entry may follow the one before. Returns the root that it shows from now on, when that is to be checked.
 * @throws denied `write-refused`
 */
export function snapshotStep(key: string, before: Stored, after: Stored): NodePointer | undefined {
  requireUnchanged(key, before, after, SNAPSHOT_FIXED);
  const [from, to] = [String(before['state']), String(after['state'])];
  if (SNAPSHOT_STEPS[from]?.includes(to) !== true)
    throw refuseContents(key, `a snapshot that is ${from.slice(0, 16)} does not become ${to.slice(0, 16)}`);
  const isCompleted = from === 'pending' && to === 'completed';
  if (!isCompleted) {
    requireUnchanged(key, before, after, SNAPSHOT_SHOWN);
    return undefined;
  }
  const { root, creators, mappedPages, seq, sizeBytes } = asSnapshot(after);
  const isFormed = isCount(seq) && isCount(sizeBytes) && typeof (root as unknown) === 'object';
  if (!isFormed) throw refuseContents(key, 'it does not say what it shows');
  const pointer = root === null ? undefined : requirePointer(key, root);
  // They were checked when the map came, and it has the exact set at its root (docs/adr/0003).
  if (!same(creators, pointer?.creators ?? [])) throw refuseContents(key, 'its creators are not those of its map');
  if (mappedPages !== (pointer?.mappedPages ?? 0)) throw refuseContents(key, 'its pages are not those of its map');
  return pointer;
}

const RESTORE_FIXED = ['restoreId', 'snapshotId', 'accountId', 'sizeBytes', 'createdAt', 'secret', 'snapshot'];
const RESTORE_STEPS: Readonly<Record<string, readonly string[]>> = {
  restoring: ['restoring', 'completed', 'abandoned'],
  completed: ['completed'],
  abandoned: ['abandoned'],
};

/** @throws denied `write-refused` */
export function requireRestoreStep(key: string, before: Stored, after: Stored): void {
  requireUnchanged(key, before, after, RESTORE_FIXED);
  const [from, to] = [String(before['state']), String(after['state'])];
  if (RESTORE_STEPS[from]?.includes(to) !== true)
    throw refuseContents(key, `a restore that is ${from.slice(0, 16)} does not become ${to.slice(0, 16)}`);
}

/** Three times what sgw sets, since clocks differ: a pin keeps what it names from gc. */
const PIN_MS_MAX = 3 * 60 * 60_000;
const PIN_ROOTS_MAX = 64;
const PIN_OBJECTS_MAX = 65_536;

export interface PinFields {
  readonly holder: string;
  readonly roots: readonly NodePointer[];
  readonly objects: readonly string[];
}

/** @throws denied `write-refused` */
export function pinOf(key: string, stored: Stored, nowMs: number): PinFields {
  const { holder, roots, objects, deadline } = stored;
  const endsMs = typeof deadline === 'string' ? Date.parse(deadline) : Number.NaN;
  const isFormed =
    typeof holder === 'string' &&
    Array.isArray(roots) &&
    roots.length <= PIN_ROOTS_MAX &&
    Array.isArray(objects) &&
    objects.length <= PIN_OBJECTS_MAX &&
    objects.every((object) => typeof object === 'string') &&
    endsMs <= nowMs + PIN_MS_MAX;
  if (!isFormed) throw refuseContents(key, 'it is no pin, or one for too long');
  return {
    holder,
    roots: roots.map((root) => requirePointer(key, root as NodePointer)),
    objects: objects,
  };
}
