/** What an unrestored block is to contain: from the snapshot, or given by a write that covers it. */
import type { BlockDevice } from '../blockdevice/index.ts';

/** What a write gives a whole block: bytes, or zeroes. */
export type GivenContent = { readonly data: Buffer } | { readonly zero: true; readonly mayTrim: boolean };

/** Consecutive bytes of one block, or several. Without data they are zeroes. */
export interface ContentPiece {
  readonly at: number;
  readonly length: number;
  readonly data: Buffer | undefined;
  readonly mayTrim: boolean;
}

const PIECES_MAX = 256;

/** Given content as pieces. */
export function givenPieces(given: GivenContent, length: number): ContentPiece[] {
  if ('data' in given) return [{ at: 0, length, data: given.data, mayTrim: true }];
  return [{ at: 0, length, data: undefined, mayTrim: given.mayTrim }];
}

/** Reads what the snapshot has at an extent; what it has not is not asked for. @throws what reading it throws */
export async function fetchPieces(
  source: BlockDevice,
  offset: number,
  length: number,
  signal: AbortSignal,
): Promise<ContentPiece[]> {
  const pieces: ContentPiece[] = [];
  const reading: Promise<void>[] = [];
  for (let at = 0; at < length;) {
    for (const extent of await source.extents(offset + at, length - at, PIECES_MAX, { signal })) {
      const data = extent.isZero ? undefined : Buffer.allocUnsafe(extent.length);
      const read = data && source.read(offset + at, data, { signal });
      if (read !== undefined) {
        // Seen below; until then it must not count as unhandled.
        read.catch(() => undefined);
        reading.push(read);
      }
      pieces.push({ at, length: extent.length, data, mayTrim: true });
      at += extent.length;
    }
  }
  await Promise.all(reading);
  return pieces;
}

/** What `pieces` say of `length` bytes from `from` on. */
export function cutPieces(pieces: readonly ContentPiece[], from: number, length: number): ContentPiece[] {
  const end = from + length;
  return pieces.flatMap(({ at, length: all, data, mayTrim }) => {
    const start = Math.max(at, from);
    const stop = Math.min(at + all, end);
    if (start >= stop) return [];
    return [{ at: start - from, length: stop - start, data: data?.subarray(start - at, stop - at), mayTrim }];
  });
}
