/** Copying one object: read, checked, written, and never an older version over a newer one that another attempt wrote. */
import { SgwError } from '../../kit/index.ts';
import type { ObjectBody, ObjectInfo, ObjectStore } from '../../objectstore/index.ts';
import { isCorrupt } from '../damage.ts';
import { withSignal } from '../options.ts';
import { damageOfStored } from '../scrub/check-stored.ts';
import { objectName } from '../scrub/object-name.ts';
import type { Findings } from './findings.ts';
import type { Pair } from './merge.ts';

/** Another attempt writes as well, or the source changes: each try that fails means that one of them went on. */
const TRIES_MAX = 64;
/** No tombstone is larger. A larger log object is never replaced by anything but a tombstone (C2). */
const TOMBSTONE_BYTES_MAX = 4096;
/** Of a map, with a hash of the whole. */
const TRAILER_BYTES = 48;
/** Created once and never changed. */
const AUDIT = 'service/audit/';

export interface Ends {
  readonly from: ObjectStore;
  readonly to: ObjectStore;
  /** Objects whose checksums are wrong in the source: they are copied as they are. */
  readonly damage: Findings;
  /** Objects that the source can't give. */
  readonly unreadable: Findings;
}

/** What came of it: what stands there now, and whether it was written. */
export interface Copied {
  readonly bytes: Buffer;
  readonly isWritten: boolean;
}

/**
 * Makes the object under `key` what it is in the source; undefined when it is not there any more, or can't be read, or is not
 * `isWanted`. What was there before is known as `seen`; undefined: nothing was.
 */
export async function copyObject(
  ends: Ends,
  key: string,
  seen: ObjectInfo | undefined,
  signal?: AbortSignal,
  isWanted: (bytes: Buffer) => boolean = () => true,
): Promise<Copied | undefined> {
  let before = seen;
  for (let attempt = 0; attempt < TRIES_MAX; attempt++) {
    const source = await readSource(ends, key, signal);
    if (source === undefined || !isWanted(source.bytes)) return undefined;
    const condition = before === undefined ? ({ ifAbsent: true } as const) : { ifMatch: before.etag };
    const result = await ends.to.put(key, source.bytes, { condition, ...withSignal(signal) });
    const { bytes } = source;
    if (result.outcome === 'stored') return { bytes, isWritten: true };
    const there = await ends.to.get(key, withSignal(signal));
    if (there?.bytes.equals(bytes) === true) return { bytes, isWritten: false };
    before = there;
  }
  throw new SgwError('unavailable', 'document-contended', `object ${key} is changed by others all the time`, {
    hint: 'Try again.',
    details: { key },
  });
}

/** As `copyObject` for what may be there and the same already, as documents are after the first round. */
export async function copyIfDifferent(ends: Ends, key: string, signal?: AbortSignal): Promise<Copied | undefined> {
  const there = await ends.to.get(key, withSignal(signal));
  if (there === undefined) return await copyObject(ends, key, undefined, signal);
  const source = await readSource(ends, key, signal);
  if (source === undefined) return undefined;
  if (source.bytes.equals(there.bytes)) return { bytes: source.bytes, isWritten: false };
  return await copyObject(ends, key, there, signal);
}

/** Notes what is wrong with it. Undefined when it is gone, or can't be read. */
async function readSource(ends: Ends, key: string, signal?: AbortSignal): Promise<ObjectBody | undefined> {
  try {
    const source = await ends.from.get(key, withSignal(signal));
    if (source === undefined) return undefined;
    const damage = damageOfStored(key, source.bytes);
    if (damage !== undefined) ends.damage.note(key, damage);
    return source;
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    ends.unreadable.note(key, error);
    return undefined;
  }
}

/** Whether what was copied once is still what the source has. Reads little: never a whole segment. */
export async function isCopied(
  { from, to }: Pick<Ends, 'from' | 'to'>,
  pair: Required<Pair>,
  signal?: AbortSignal,
): Promise<boolean> {
  const { key } = pair;
  const sizeBytes = pair.from?.sizeBytes ?? 0;
  if (pair.from === undefined || pair.to?.sizeBytes !== sizeBytes) return false;
  const { kind } = objectName(key);
  // A block that was written through the API is never replaced.
  if (kind === 'upload' || (kind === 'segment' && sizeBytes > TOMBSTONE_BYTES_MAX) || key.startsWith(AUDIT))
    return true;
  const span = kind === 'map' && sizeBytes > TRAILER_BYTES ? { span: { suffix: TRAILER_BYTES } } : {};
  try {
    const [a, b] = await Promise.all(
      [from, to].map(async (store) => store.get(key, { ...span, ...withSignal(signal) })),
    );
    return a !== undefined && b !== undefined && a.bytes.equals(b.bytes);
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return false;
  }
}
