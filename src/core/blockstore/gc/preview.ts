/** What deleting a volume or a snapshot would free. */
import type { BlockStoreOptions, Cancellable } from '../options.ts';
import type { RootName } from './mark.ts';
import { surveyStore } from './survey.ts';

/**
 * Bytes in the store that only this volume or snapshot needs, its documents with them. Costs a mark of the store.
 * @throws corrupt `gc-stopped` when some root can't be read
 */
export async function previewFree(
  options: BlockStoreOptions,
  of: RootName,
  { signal }: Cancellable = {},
): Promise<number> {
  return (await surveyStore(options, { exclusiveTo: of, signal })).exclusiveBytes;
}
