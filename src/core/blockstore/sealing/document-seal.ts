/**
 * Which documents of a store with a key are sealed, and how (docs/formats/keys.md): a few fields stay readable, so that
 * the store can be counted and swept without the key; all others are one sealed unit, bound to those and to its place.
 */
import type { Random } from '../../kit/index.ts';
import { damaged } from '../damage.ts';
import { keyNeeded } from './key-needed.ts';
import type { KeyRing } from './key-ring.ts';

/** Fields that are not secret; anything else is sealed, also what later versions add. */
const CLEAR_FIELDS: ReadonlySet<string> = new Set([
  'volumeId',
  'snapshotId',
  'state',
  'accountId',
  'sizeBytes',
  'createdAt',
  'deletedAt',
  'epoch',
]);
const NEVER_SEALED = /^(?:sgw\.json|copy\.json|keys\/.*|volumes\/[^/]*\/key\.json)$/;

/** Where a version of a document stands. */
export interface DocumentPlace {
  readonly key: string;
  readonly changeId: string;
  readonly version: number;
}

/** What is stored of a document's fields: all in a store without a key. */
export function sealFields(keys: KeyRing | undefined, random: Random, place: DocumentPlace, value: object): object {
  if (keys === undefined || NEVER_SEALED.test(place.key)) return value;
  const fields = Object.entries(value);
  const clear = fields.filter(([name]) => CLEAR_FIELDS.has(name));
  const secret = fields.filter(([name]) => !CLEAR_FIELDS.has(name));
  const plain = Buffer.from(JSON.stringify(Object.fromEntries(secret)), 'utf8');
  const sealed = keys.sealDocument(random, associatedOf(place, clear), plain);
  return { ...Object.fromEntries(clear), sealed: sealed.toString('base64') };
}

/**
 * The fields of a stored document.
 * @throws denied `key-needed`; corrupt `object-damaged` when it is not authentic, or not sealed where it has to be
 */
export function openFields(keys: KeyRing | undefined, place: DocumentPlace, stored: object): object {
  if (NEVER_SEALED.test(place.key)) return stored;
  const { sealed, ...rest } = stored as { readonly sealed?: unknown };
  if (sealed === undefined && keys === undefined) return stored;
  if (keys === undefined) throw keyNeeded(place.key);
  if (typeof sealed !== 'string') throw damaged(place.key, 'it is not sealed, in a store whose documents are');
  const clear = Object.entries(rest);
  const stray = clear.find(([name]) => !CLEAR_FIELDS.has(name));
  if (stray !== undefined) throw damaged(place.key, `its field ${stray[0]} is not sealed`);
  const plain = keys.openDocument(associatedOf(place, clear), Buffer.from(sealed, 'base64'));
  if (plain === undefined) throw damaged(place.key, 'it was not written with the key of this store, or was altered');
  return { ...rest, ...(JSON.parse(plain.toString('utf8')) as object) };
}

/** Key, change id, version and the clear fields as JSON, ascending by name, each part on a line of its own. */
function associatedOf(place: DocumentPlace, clear: readonly (readonly [string, unknown])[]): string {
  const sorted = clear.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return [place.key, place.changeId, String(place.version), JSON.stringify(Object.fromEntries(sorted))].join('\n');
}
