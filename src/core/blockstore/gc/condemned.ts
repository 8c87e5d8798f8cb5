/**
 * `gc/condemned.json`: what the last mark found unreachable, and since when (C11, docs/formats/documents.md). What is
 * younger than the grace period is kept. All times are of the clocks of those who run gc, and of nobody else.
 *
 * Replacing it by compare-and-set is what lets one mark of several at once go on to remove something.
 */
import { SgwError, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import type { Etag } from '../../objectstore/index.ts';
import { createDocument, readDocument, replaceDocument, type DocumentVersion } from '../documents.ts';
import { keys } from '../keys.ts';
import type { BlockStoreOptions } from '../options.ts';

/** Objects in a list, so that it can be held in memory; the rest is left to the next run. */
const CONDEMNED_MAX = 100_000;

export interface CondemnedObject {
  readonly key: string;
  readonly etag: Etag;
  readonly sizeBytes: number;
  readonly sinceMs: number;
}

export interface CondemnedList {
  readonly objects: ReadonlyMap<string, CondemnedObject>;
  /** Snapshots that were pending, and since when gc has seen them so. */
  readonly pending: ReadonlyMap<SnapshotId, number>;
  /** Volumes without an entry. */
  readonly creating: ReadonlyMap<VolumeId, number>;
}

interface CondemnedDocument {
  readonly markedAt: string;
  readonly objects: readonly (readonly [key: string, etag: Etag, sizeBytes: number, sinceMs: number])[];
  readonly pending: readonly (readonly [id: SnapshotId, sinceMs: number])[];
  readonly creating: readonly (readonly [id: VolumeId, sinceMs: number])[];
}

/** The list with what is needed to replace it. */
export interface StoredList {
  readonly list: CondemnedList;
  readonly version: DocumentVersion | undefined;
}

export async function readCondemned(options: BlockStoreOptions, signal?: AbortSignal): Promise<StoredList> {
  const document = await readDocument<CondemnedDocument>(options, keys.condemned, signal);
  const value = document?.value;
  const objects = (value?.objects ?? []).map(
    ([key, etag, sizeBytes, sinceMs]) => [key, { key, etag, sizeBytes, sinceMs }] as const,
  );
  return {
    list: { objects: new Map(objects), pending: new Map(value?.pending), creating: new Map(value?.creating) },
    version: document,
  };
}

/** What a mark found. */
export interface Found {
  readonly unreachable: Iterable<{ readonly key: string; readonly etag: Etag; readonly sizeBytes: number }>;
  readonly pending: Iterable<SnapshotId>;
  readonly creating: Iterable<VolumeId>;
}

/**
 * From when on what was condemned can't be relied on: a mark may have missed what a snapshot reached that was pending
 * then, and that snapshot has been completed since. Without one, the end of time.
 */
export function reliableUntil(before: CondemnedList, stateOf: (id: SnapshotId) => string | undefined): number {
  const settled = [...before.pending].filter(([id]) => !['pending', 'failed'].includes(stateOf(id) ?? ''));
  return settled.reduce((earliest, [, sinceMs]) => Math.min(earliest, sinceMs), Number.POSITIVE_INFINITY);
}

/**
 * The list after a mark: what was in the one before keeps its time, unless that is still to come, or can't be relied on.
 */
export function nextList(
  before: CondemnedList,
  found: Found,
  nowMs: number,
  reliableUntilMs: number,
): CondemnedList & { readonly full: boolean } {
  const objects = new Map<string, CondemnedObject>();
  let full = false;
  for (const { key, etag, sizeBytes } of found.unreachable) {
    if (objects.size >= CONDEMNED_MAX) {
      full = true;
      break;
    }
    const known = before.objects.get(key);
    const isKept = known?.etag === etag && known.sinceMs < reliableUntilMs;
    objects.set(key, { key, etag, sizeBytes, sinceMs: isKept ? Math.min(known.sinceMs, nowMs) : nowMs });
  }
  const pending = since(before.pending, found.pending, nowMs);
  return { objects, pending, creating: since(before.creating, found.creating, nowMs), full };
}

function since<I extends string>(before: ReadonlyMap<I, number>, ids: Iterable<I>, nowMs: number): Map<I, number> {
  return new Map([...ids].map((id) => [id, Math.min(before.get(id) ?? nowMs, nowMs)]));
}

/**
 * Replaces the list. Durable when it resolves.
 * @throws unavailable `gc-contended` when another gc did so since it was read
 */
export async function writeCondemned(
  options: BlockStoreOptions,
  before: StoredList,
  list: CondemnedList,
  signal?: AbortSignal,
): Promise<StoredList> {
  const document: CondemnedDocument = {
    markedAt: new Date(options.clock.nowMs()).toISOString(),
    objects: [...list.objects.values()].map(({ key, etag, sizeBytes, sinceMs }) => [key, etag, sizeBytes, sinceMs]),
    pending: [...list.pending],
    creating: [...list.creating],
  };
  if (before.version === undefined) {
    if (!(await createDocument(options, keys.condemned, document, signal))) throw contended();
    return { list, version: (await readCondemned(options, signal)).version };
  }
  const result = await replaceDocument(options, keys.condemned, before.version, document, signal);
  if (result.outcome !== 'stored') throw contended();
  return { list, version: result };
}

/** Another gc marked meanwhile, so what this one found may be out of date. */
export function contended(): SgwError {
  return new SgwError('unavailable', 'gc-contended', 'another gc of this store marked at the same time', {
    hint: 'Run gc again; nothing is lost.',
    details: { key: keys.condemned },
  });
}
