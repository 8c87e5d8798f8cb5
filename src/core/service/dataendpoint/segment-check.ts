/**
 * Whether a segment that comes in is one that its account may write: of this volume and seq, and of its frames' creators
 * (C17) each set has the account itself, and beside it only accounts whose frames it was granted. The segment goes by piece
 * by piece; its end, where its tables are, is looked at before the last piece is let through.
 */
import { parseSegmentTail } from '../../blockstore/inspect/index.ts';
import { SgwError } from '../../kit/index.ts';
import type { StreamedBody } from '../../objectstore/index.ts';
import { refuseContents } from './rights.ts';

/** Footer and tables of the largest segments have some hundred KiB; what has more extents than fit here is refused. */
export const SEGMENT_TAIL_BYTES = 4 * 1024 * 1024;

export interface SegmentFacts {
  readonly key: string;
  readonly volumeId: string;
  readonly seq: number;
  readonly accountId: string;
  /** Accounts whose frames may be merged into the account's own. */
  readonly others: ReadonlySet<string>;
  /** True in a store with a key of its customer: then creators are sealed, and only the rest can be checked. */
  readonly isSealed: boolean;
}

/** The body as it was, but for its last piece, which only comes when the segment may be stored. */
export function checkedSegment(body: StreamedBody, facts: SegmentFacts): StreamedBody {
  return { ...body, pieces: watched(body, facts) };
}

async function* watched(body: StreamedBody, facts: SegmentFacts): AsyncGenerator<Uint8Array> {
  const kept: Uint8Array[] = [];
  let keptBytes = 0;
  let held: Uint8Array | undefined;
  for await (const piece of body.pieces) {
    if (held !== undefined) yield held;
    held = piece;
    kept.push(piece);
    keptBytes += piece.length;
    while (keptBytes - (kept[0]?.length ?? 0) >= SEGMENT_TAIL_BYTES) {
      keptBytes -= kept[0]?.length ?? 0;
      kept.shift();
    }
  }
  const tail = Buffer.concat(kept);
  kept.length = 0;
  checkTail(tail, body.sizeBytes, facts);
  if (held !== undefined) yield held;
}

function checkTail(tail: Buffer, sizeBytes: number, facts: SegmentFacts): void {
  const { key, isSealed } = facts;
  let parsed;
  try {
    parsed = parseSegmentTail(key, tail, sizeBytes);
  } catch (error) {
    if (isSealed && error instanceof SgwError && error.code === 'key-needed') return;
    throw error instanceof SgwError && error.kind === 'corrupt' ? refuseContents(key, error.message) : error;
  }
  if (isSealed) throw refuseContents(key, 'it is not sealed, in a store whose segments are');
  if (!('index' in parsed)) throw refuseContents(key, 'its tables are too large');
  const { footer, frameCount } = parsed.index;
  if (footer.volumeId !== facts.volumeId || footer.seq !== facts.seq)
    throw refuseContents(key, `it is segment ${String(footer.seq)} of ${footer.volumeId.slice(0, 32)}`);
  if (footer.kind === 'tombstone') throw refuseContents(key, 'only gc places tombstones');
  const isAllowed = (set: readonly unknown[]): boolean =>
    set.every((account) => account === facts.accountId || facts.others.has(String(account)));
  const sets: readonly unknown[] = footer.creators;
  if (!sets.every((set) => Array.isArray(set) && isAllowed(set)))
    throw refuseContents(key, 'it names creators whose blocks this account was not granted');
  for (let i = 0; i < frameCount; i++) {
    const set = footer.creators[parsed.index.frame(i).creators] ?? [];
    if (!set.includes(facts.accountId))
      throw refuseContents(key, `frame ${String(i)} does not name this account among its creators`);
  }
}
