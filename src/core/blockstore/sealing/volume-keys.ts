/** The data keys of volumes, `volumes/<volumeId>/key.json`: made with the volume, never changed (docs/formats/keys.md). */
import type { KeyObject } from 'node:crypto';
import { assert, type VolumeId } from '../../kit/index.ts';
import { damaged, missing } from '../damage.ts';
import { createDocument, readDocument } from '../documents.ts';
import { keys } from '../keys.ts';
import type { BlockStoreOptions, DocumentReading } from '../options.ts';

interface VolumeKeyDocument {
  readonly volumeId: VolumeId;
  /** The account whose key wraps it. */
  readonly keyId: string;
  /** Salt, ciphertext and tag, base64. */
  readonly wrapped: string;
}

/** Makes the data key of a new volume; nothing in a store without a key. Durable when it resolves. */
export async function createDataKey(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  signal?: AbortSignal,
): Promise<void> {
  const ring = options.keys;
  if (ring === undefined) return;
  const wrapped = ring.newDataKey(options.random, volumeId).toString('base64');
  const document: VolumeKeyDocument = { volumeId, keyId: ring.keyId, wrapped };
  const created = await createDocument(options, keys.volumeKey(volumeId), document, signal);
  assert(created, 'a volume id is new');
}

/**
 * The data key of a volume; undefined in a store without a key, or where the key is not unlocked.
 * @throws corrupt `object-missing`, `object-damaged`
 */
export async function dataKeyOf(
  reading: DocumentReading,
  volumeId: VolumeId,
  signal?: AbortSignal,
): Promise<KeyObject | undefined> {
  const ring = reading.keys;
  if (ring === undefined) return undefined;
  const known = ring.knownDataKey(volumeId);
  if (known !== undefined) return known;
  const key = keys.volumeKey(volumeId);
  const stored = await readDocument<VolumeKeyDocument>(reading, key, signal);
  if (stored === undefined) throw missing(key);
  const opened = ring.openDataKey(volumeId, Buffer.from(stored.value.wrapped, 'base64'));
  if (opened === undefined) throw damaged(key, 'it was not wrapped with the key of this store, or was altered');
  return opened;
}
