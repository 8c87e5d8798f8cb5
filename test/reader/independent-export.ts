/** Exports everything that a store holds, by docs/formats alone: each volume that is not deleted, each completed snapshot. */
import { createHash } from 'node:crypto';
import { must, parseDocument } from './independent-formats.ts';
import type { StoredObjects } from './independent-places.ts';
import { openedByProvider } from './independent-provider.ts';
import { readSnapshot, readVolume, toBuffer } from './independent-reader.ts';
import { openDocument, unlock, type Secret, type StoreKeys } from './independent-sealing.ts';

export interface ExportedDisk {
  readonly id: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly bytes: Buffer;
}

export interface ExportedStore {
  readonly storeId: string;
  /** By age. */
  readonly volumes: readonly ExportedDisk[];
  readonly snapshots: readonly ExportedDisk[];
}

interface Entry {
  readonly name: string;
  readonly state: string;
  readonly createdAt: string;
}

/** `secret` opens an encrypted store; a service key one that its service seals. */
export async function exportStore(
  stored: StoredObjects,
  secret?: Secret | { readonly kind: 'serviceKey'; readonly bytes: Buffer },
): Promise<ExportedStore> {
  if (secret?.kind !== 'serviceKey') return await exportFrom(stored, secret, false);
  return await exportFrom(await openedByProvider(stored, secret.bytes), undefined, true);
}

async function exportFrom(
  objects: StoredObjects,
  secret: Secret | undefined,
  isOpened: boolean,
): Promise<ExportedStore> {
  const { get } = objects;
  const description = await documentOf(objects, 'sgw.json', undefined);
  const isSealed = description['keyDerivation'] !== null && !isOpened;
  must(isSealed === (secret !== undefined), 'sgw.json: a secret is needed for an encrypted store, and for no other');
  const keys = secret === undefined ? undefined : await unlock(get, secret);
  const names = await objects.keys();
  const volumes: (ExportedDisk & Entry)[] = [];
  for (const id of idsOf(names, /^volumes\/(vol-[0-9a-f]{17})\/volume\.json$/)) {
    const entry = (await documentOf(objects, `volumes/${id}/volume.json`, keys)) as unknown as Entry;
    if (entry.state !== 'available') continue;
    volumes.push({ ...entry, ...diskOf(id, entry.name, await toBuffer(await readVolume(get, id, 'newest', keys))) });
  }
  const snapshots: (ExportedDisk & Entry)[] = [];
  for (const id of idsOf(names, /^snapshots\/(snap-[0-9a-f]{17})\/snapshot\.json$/)) {
    const entry = (await documentOf(objects, `snapshots/${id}/snapshot.json`, keys)) as unknown as Entry;
    if (entry.state !== 'completed') continue;
    snapshots.push({ ...entry, ...diskOf(id, entry.name, await toBuffer(await readSnapshot(get, id, keys))) });
  }
  const byAge = (a: Entry, b: Entry): number => (a.createdAt < b.createdAt ? -1 : 1);
  return { storeId: String(description['storeId']), volumes: volumes.sort(byAge), snapshots: snapshots.sort(byAge) };
}

async function documentOf(
  { get }: StoredObjects,
  key: string,
  keys: StoreKeys | undefined,
): Promise<Record<string, unknown>> {
  const bytes = await get(key);
  must(bytes !== undefined, `${key} is missing`);
  const stored = parseDocument(key, bytes) as Record<string, unknown>;
  return keys === undefined ? stored : openDocument(keys, key, stored);
}

const idsOf = (keys: readonly string[], pattern: RegExp): string[] =>
  keys.map((key) => pattern.exec(key)?.[1]).filter((id) => id !== undefined);

const diskOf = (id: string, name: string, bytes: Buffer): ExportedDisk => ({
  ...{ id, name, sizeBytes: bytes.length, bytes },
  sha256: createHash('sha256').update(bytes).digest('hex'),
});
