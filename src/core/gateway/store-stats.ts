/** What a store holds, counted from one list of its keys. */
import { Catalog } from '../blockstore/index.ts';
import type { CallContext, StoreStatsDocument } from '../localapi/index.ts';
import type { Session } from './session.ts';

/** Kinds of objects by their keys (docs/formats/README.md), in the order of showing. */
const KINDS: readonly (readonly [kind: string, pattern: RegExp])[] = [
  ['segments', /^volumes\/[^/]+\/log\//],
  ['volume maps', /^volumes\/[^/]+\/map\//],
  ['volume documents', /^volumes\//],
  ['snapshot maps', /^snapshots\/[^/]+\/map/],
  ['snapshot documents', /^snapshots\//],
  ['restores', /^restores\//],
  ['pins', /^pins\//],
  ['gc documents', /^gc\//],
  ['uploads', /^uploads\//],
  ['service documents', /^service\//],
  ['store description', /^sgw\.json$/],
];

const kindOf = (key: string): string => KINDS.find(([, pattern]) => pattern.test(key))?.[0] ?? 'other';

/** Objects and bytes by kind; kinds that there are none of are left out. Costs a list of the whole store. */
export async function storeStats(session: Session, call: CallContext): Promise<StoreStatsDocument> {
  const { objects } = session.blocks;
  const counts = new Map<string, { objects: number; bytes: number }>();
  let total = 0;
  let totalBytes = 0;
  for await (const { key, sizeBytes } of objects.list('', { signal: call.signal })) {
    const kind = kindOf(key);
    const count = counts.get(kind) ?? { objects: 0, bytes: 0 };
    counts.set(kind, { objects: count.objects + 1, bytes: count.bytes + sizeBytes });
    total += 1;
    totalBytes += sizeBytes;
  }
  // Of the whole store, whatever account asks.
  const catalog = new Catalog(session.blocks);
  const [volumes, snapshots] = await Promise.all([
    catalog.surveyVolumes({ signal: call.signal }),
    catalog.surveySnapshots({ signal: call.signal }),
  ]);
  const order = [...KINDS.map(([kind]) => kind), 'other'];
  return {
    store: objects.description,
    storeId: session.storeId,
    objects: total,
    totalBytes,
    kinds: order.flatMap((kind) => {
      const count = counts.get(kind);
      return count === undefined ? [] : [{ kind, ...count }];
    }),
    volumes: volumes.entries.length + volumes.damaged.length,
    snapshots: snapshots.entries.length + snapshots.damaged.length,
  };
}
