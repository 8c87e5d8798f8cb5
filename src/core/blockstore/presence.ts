/** Whether a volume is still there for what is begun on it. */
import { SgwError, type VolumeId } from '../kit/index.ts';
import { readDocument } from './documents.ts';
import type { VolumeEntry } from './entries.ts';
import { keys } from './keys.ts';
import type { DocumentReading } from './options.ts';

/**
 * To be asked once what keeps gc from the volume is durable: an epoch taken, a snapshot pending. A deletion from then on
 * meets that; one before it is seen here.
 * @throws notFound `volume-not-found` when the volume is deleted
 */
export async function requirePresent(
  options: DocumentReading,
  volumeId: VolumeId,
  signal?: AbortSignal,
): Promise<void> {
  const state = (await readDocument<VolumeEntry>(options, keys.volume(volumeId), signal))?.value.state;
  if (state === 'available' || state === 'importing') return;
  throw new SgwError('notFound', 'volume-not-found', `volume ${volumeId} was deleted`, {
    hint: 'While there is time, `sgw volume undelete` brings it back: `sgw volume list --deleted`.',
    details: { volumeId },
  });
}
