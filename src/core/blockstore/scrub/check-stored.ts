/** What checksums alone tell of an object at hand, without the store and without a key, also where it is sealed. */
import type { SgwError } from '../../kit/index.ts';
import { isCorrupt } from '../damage.ts';
import { checkDocument } from '../documents.ts';
import { parseMapObject } from '../map-object.ts';
import { checkStoredSegment } from '../segment-parse.ts';
import { objectName } from './object-name.ts';

/** Why the bytes are not those of a whole object; undefined when they are, and for keys that are not known. */
export function damageOfStored(key: string, bytes: Buffer): SgwError | undefined {
  const { kind } = objectName(key);
  try {
    if (kind === 'document') checkDocument(key, bytes);
    if (kind === 'map') parseMapObject(key, bytes);
    if (kind === 'segment' || kind === 'upload') checkStoredSegment(key, bytes);
    return undefined;
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return error;
  }
}
