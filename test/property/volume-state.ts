/** What a disk of the model is, and what changes make of it. */
import { FrameEncoder, blockViews } from '../../src/core/blockstore/frame-codec.ts';
import {
  BLOCK_BYTES,
  BLOCK_PAGES,
  PAGE_BYTES,
  pagesOf,
  type Batch,
  type DiffExtent,
} from '../../src/core/blockstore/index.ts';
import { seededRandom } from '../../src/core/kit/index.ts';
import { ACCOUNT, stamp } from '../unit/blockstore/volume-model.ts';

const OTHER_ACCOUNT = '000000000077';
const CREATORS = [[ACCOUNT], [OTHER_ACCOUNT], [ACCOUNT, OTHER_ACCOUNT]];
const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);
/** What a page may be filled with, by number: zeroes, text that compresses, noise that does not. */
const FILLINGS = [
  ZERO_PAGE,
  stamp(1),
  stamp(2),
  stamp(3),
  seededRandom(7).bytes(PAGE_BYTES),
  seededRandom(8).bytes(PAGE_BYTES),
];
export const FILLING_COUNT = FILLINGS.length;

/** Changes of one commit; pages past the end of the volume are left out. */
export interface Change {
  readonly writes: readonly { readonly page: number; readonly filling: number }[];
  readonly unmap: readonly { readonly firstPage: number; readonly pageCount: number }[];
  readonly creators: number;
}

/** What a disk reads as. `bytes` is whole pages, zero past `sizeBytes`. Never changed once made. */
export interface State {
  readonly bytes: Buffer;
  readonly sizeBytes: number;
  readonly consistent: boolean;
}

export function resized(state: State, sizeBytes: number): State {
  const bytes = Buffer.alloc(pagesOf(sizeBytes) * PAGE_BYTES);
  state.bytes.copy(bytes, 0, 0, Math.min(state.sizeBytes, sizeBytes));
  return { ...state, bytes, sizeBytes };
}

const pageOf = (bytes: Buffer, page: number): Buffer => bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);

/** The batch that makes a change, and what the volume is after it. */
export function prepare(before: State, change: Change, consistent: boolean): { batch: Batch; after: State } {
  const bytes = Buffer.from(before.bytes);
  const pages = pagesOf(before.sizeBytes);
  const touched = new Set<number>();
  for (const { firstPage, pageCount } of change.unmap) {
    for (let page = firstPage; page < Math.min(firstPage + pageCount, pages); page++) {
      pageOf(bytes, page).fill(0);
      touched.add(page);
    }
  }
  for (const { page, filling } of change.writes) {
    if (page >= pages) continue;
    FILLINGS[filling]?.copy(bytes, page * PAGE_BYTES);
    touched.add(page);
  }
  bytes.fill(0, before.sizeBytes);
  const sorted = [...touched].sort((a, b) => a - b);
  const unmap = sorted
    .filter((page) => pageOf(bytes, page).equals(ZERO_PAGE))
    .map((page) => ({ firstPage: page, pageCount: 1 }));
  const encoded = [encode(bytes, sorted, 0, change.creators), encode(bytes, sorted, 1, change.creators)];
  return {
    batch: { encoded, unmap: merged(unmap), consistent, creators: CREATORS },
    after: { ...before, bytes, consistent },
  };
}

/** Frames of the touched pages in every second block, so that a segment is made of two pieces. */
function encode(bytes: Buffer, pages: readonly number[], parity: number, creators: number): Batch['encoded'][number] {
  const encoder = new FrameEncoder();
  for (const block of new Set(pages.map((page) => Math.floor(page / BLOCK_PAGES)))) {
    if (block % 2 !== parity) continue;
    const own = Buffer.alloc(BLOCK_BYTES);
    for (const page of pages) {
      if (Math.floor(page / BLOCK_PAGES) === block) pageOf(bytes, page).copy(own, (page % BLOCK_PAGES) * PAGE_BYTES);
    }
    encoder.add(block, blockViews(own), undefined, (creators + block) % CREATORS.length);
  }
  return encoder.finish();
}

function merged<T extends { readonly firstPage: number; readonly pageCount: number }>(
  extents: readonly T[],
  alike: (a: T, b: T) => boolean = () => true,
): T[] {
  const out: T[] = [];
  for (const extent of extents) {
    const last = out.at(-1);
    if (last !== undefined && last.firstPage + last.pageCount === extent.firstPage && alike(last, extent)) {
      out[out.length - 1] = { ...last, pageCount: last.pageCount + extent.pageCount };
    } else out.push(extent);
  }
  return out;
}

export function diffOf(a: Buffer, b: Buffer): DiffExtent[] {
  const extents: DiffExtent[] = [];
  for (let page = 0; page < Math.max(a.length, b.length) / PAGE_BYTES; page++) {
    const old = page * PAGE_BYTES < a.length ? pageOf(a, page) : ZERO_PAGE;
    const now = page * PAGE_BYTES < b.length ? pageOf(b, page) : ZERO_PAGE;
    if (!old.equals(now))
      extents.push({ firstPage: page, pageCount: 1, state: now.equals(ZERO_PAGE) ? 'zeroed' : 'changed' });
  }
  return merged(extents, (x, y) => x.state === y.state);
}

export function dataPages(state: State): number {
  let count = 0;
  for (let page = 0; page < state.bytes.length / PAGE_BYTES; page++)
    if (!pageOf(state.bytes, page).equals(ZERO_PAGE)) count += 1;
  return count;
}
