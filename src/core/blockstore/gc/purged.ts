/**
 * `gc/purged/<yyyy-mm-dd>.json`: the ids of volumes and snapshots whose documents gc has removed (docs/formats/documents.md).
 * Noted before they go, so that one who knew them can tell a purge from a loss, and what comes late from what lost its
 * entry. Kept for ever.
 */
import { changeDocument, createDocument, readDocument } from '../documents.ts';
import { keys } from '../keys.ts';
import { withSignal, type BlockStoreOptions, type DocumentReading } from '../options.ts';

export interface Purged {
  readonly volumes: ReadonlySet<string>;
  readonly snapshots: ReadonlySet<string>;
}

interface PurgedDocument {
  readonly volumes: readonly string[];
  readonly snapshots: readonly string[];
}

/** Every volume and snapshot that was ever purged. */
export async function readPurged(options: DocumentReading, signal?: AbortSignal): Promise<Purged> {
  const volumes = new Set<string>();
  const snapshots = new Set<string>();
  for await (const { key } of options.objects.list(keys.purged, withSignal(signal))) {
    const day = await readDocument<PurgedDocument>(options, key, signal);
    for (const id of day?.value.volumes ?? []) volumes.add(id);
    for (const id of day?.value.snapshots ?? []) snapshots.add(id);
  }
  return { volumes, snapshots };
}

/** Notes ids under today. Durable when it resolves. */
export async function notePurged(
  options: BlockStoreOptions,
  purged: PurgedDocument,
  signal?: AbortSignal,
): Promise<void> {
  if (purged.volumes.length === 0 && purged.snapshots.length === 0) return;
  const key = `${keys.purged}${new Date(options.clock.nowMs()).toISOString().slice(0, 10)}.json`;
  if (await createDocument(options, key, purged, signal)) return;
  const union = (now: readonly string[], more: readonly string[]): string[] => [...new Set([...now, ...more])];
  await changeDocument<PurgedDocument>(
    options,
    key,
    (now) => ({
      ...now,
      volumes: union(now.volumes, purged.volumes),
      snapshots: union(now.snapshots, purged.snapshots),
    }),
    signal,
  );
}
