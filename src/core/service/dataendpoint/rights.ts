/**
 * What a gateway may do with each kind of object (docs/formats/data-endpoint.md, "Rights"). Everything that is not here is
 * refused: reading and listing as if it did not exist, writing in the same words whether it does.
 */
import { SgwError } from '../../kit/index.ts';
import type { KeyPlace } from '../../blockstore/inspect/index.ts';

export type ReadRight =
  /** Everybody. */
  | 'all'
  /** The account that owns the volume, snapshot or restore. */
  | 'owner'
  /** The same; and others what their granted roots reach of it. */
  | 'ownerOrParts'
  /** The same; and accounts that it is shared with, without what concerns third ones. */
  | 'ownerOrShared'
  /** The gateway that made it. */
  | 'holder'
  /** The account whose key it is. */
  | 'ownKey'
  /** What of it concerns the account. */
  | 'filtered';

export type PutRight =
  | 'none'
  /** By the checks of that kind: checks.ts. */
  | 'volume'
  | 'head'
  | 'volumeKey'
  | 'segment'
  | 'map'
  | 'snapshot'
  | 'snapshotMap'
  | 'restore'
  | 'pin';

interface Right {
  readonly read: ReadRight;
  readonly put: PutRight;
  readonly remove: 'none' | 'holder' | 'owner';
  /** The largest body that is taken. */
  readonly bytesMax: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;
/** With a thousand recovery points it has some hundred KiB. */
const HEAD = 8 * MIB;
/** A restore has up to 4096 numbers of blocks, a pin names the segments behind a checkpoint, an entry has up to 50 tags, 1000 grants. */
const DOCUMENT = 256 * KIB;
const NOTHING = { put: 'none', remove: 'none', bytesMax: 0 } as const;

export const RIGHTS: Readonly<Record<KeyPlace['kind'], Right>> = {
  store: { read: 'all', ...NOTHING },
  volume: { read: 'owner', put: 'volume', remove: 'none', bytesMax: DOCUMENT },
  head: { read: 'owner', put: 'head', remove: 'none', bytesMax: HEAD },
  volumeKey: { read: 'owner', put: 'volumeKey', remove: 'none', bytesMax: DOCUMENT },
  log: { read: 'ownerOrParts', put: 'segment', remove: 'none', bytesMax: 64 * MIB },
  map: { read: 'ownerOrParts', put: 'map', remove: 'none', bytesMax: 192 * MIB },
  snapshot: { read: 'ownerOrShared', put: 'snapshot', remove: 'none', bytesMax: DOCUMENT },
  snapshotMap: { read: 'ownerOrParts', put: 'snapshotMap', remove: 'none', bytesMax: 192 * MIB },
  upload: { read: 'ownerOrParts', ...NOTHING },
  restore: { read: 'owner', put: 'restore', remove: 'owner', bytesMax: DOCUMENT },
  pin: { read: 'holder', put: 'pin', remove: 'holder', bytesMax: DOCUMENT },
  accountKey: { read: 'ownKey', ...NOTHING },
  purged: { read: 'filtered', ...NOTHING },
};

/** The answer to a write that is not allowed, alike for what exists and what does not. */
export function refuseWrite(key: string): SgwError {
  return new SgwError('denied', 'store-rights', `this gateway may not write ${key.slice(0, 200)}`, {
    details: { key: key.slice(0, 200) },
  });
}

/** The answer to a write whose contents are not allowed. */
export function refuseContents(key: string, why: string): SgwError {
  return new SgwError('denied', 'write-refused', `the service does not take ${key.slice(0, 200)}: ${why}`, {
    details: { key: key.slice(0, 200) },
  });
}
