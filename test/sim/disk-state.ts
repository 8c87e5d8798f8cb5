/**
 * What a disk of the simulation holds: for each page that is not zero, which commit wrote it, how much of it was left
 * by shrinking, and which accounts it comes from. One number a page, so that states are cheap to keep and to compare.
 */
import { FrameEncoder, blockViews } from '../../src/core/blockstore/frame-codec.ts';
import {
  BLOCK_BYTES,
  BLOCK_PAGES,
  PAGE_BYTES,
  pagesOf,
  type Batch,
  type PageExtent,
} from '../../src/core/blockstore/index.ts';

/** Accounts of the simulation; a page's creators are a set of these. */
export const ACCOUNTS = ['000000000001', '000000000002', '000000000003'] as const;
const CREATOR_SETS = 8;
const LENGTHS = 8192;

/** Stamp, kept bytes and creators of a page that is not zero. */
export interface PageContent {
  readonly stamp: number;
  /** Bytes from the page's start; zeroes follow. */
  readonly keptBytes: number;
  /** Bit i: ACCOUNTS[i]. */
  readonly creators: number;
}

const pack = (content: PageContent): number =>
  (content.stamp * LENGTHS + content.keptBytes) * CREATOR_SETS + content.creators;

const unpack = (packed: number): PageContent => {
  const creators = packed % CREATOR_SETS;
  const rest = (packed - creators) / CREATOR_SETS;
  const keptBytes = rest % LENGTHS;
  return { stamp: (rest - keptBytes) / LENGTHS, keptBytes, creators };
};

/** Never changed once made. */
export interface DiskState {
  readonly sizeBytes: number;
  /** Pages that are not zero. */
  readonly pages: ReadonlyMap<number, number>;
  readonly consistent: boolean;
}

export interface DiskChange {
  readonly stamp: number;
  readonly account: number;
  readonly writes: readonly number[];
  readonly unmap: readonly PageExtent[];
  readonly consistent: boolean;
}

/** A name of the contents: two states that read the same have the same one. */
export function contentName(state: Pick<DiskState, 'sizeBytes' | 'pages'>): string {
  const pages = [...state.pages].sort(([a], [b]) => a - b).map(([page, packed]) => `${String(page)}=${String(packed)}`);
  return `${String(state.sizeBytes)}: ${pages.join(' ')}`;
}

/** As `contentName`, for people. */
export function describeState(state: Pick<DiskState, 'sizeBytes' | 'pages'>): string {
  const pages = [...state.pages]
    .sort(([a], [b]) => a - b)
    .map(([page, packed]) => {
      const { stamp, keptBytes, creators } = unpack(packed);
      return `${String(page)}=<${String(stamp)}>${keptBytes === PAGE_BYTES ? '' : `/${String(keptBytes)}`}@${String(creators)}`;
    });
  return `${String(state.sizeBytes)} bytes: ${pages.join(' ')}`;
}

const STAMP_DIGITS = 9;
const stampText = (stamp: number): string => `<${String(stamp).padStart(STAMP_DIGITS, '0')}>`;

/** The page that a commit writes. */
function stampPage(stamp: number): Buffer {
  return Buffer.alloc(PAGE_BYTES, stampText(stamp));
}

const keptAt = (page: number, sizeBytes: number): number => Math.min(PAGE_BYTES, sizeBytes - page * PAGE_BYTES);

/** The state after a change, pages past the end left out. */
export function changed(before: DiskState, change: DiskChange): DiskState {
  const pages = new Map(before.pages);
  for (const { firstPage, pageCount } of change.unmap)
    for (let page = firstPage; page < firstPage + pageCount; page++) pages.delete(page);
  for (const page of change.writes)
    pages.set(
      page,
      pack({ stamp: change.stamp, keptBytes: keptAt(page, before.sizeBytes), creators: 1 << change.account }),
    );
  return { sizeBytes: before.sizeBytes, pages, consistent: change.consistent };
}

/** The state after a resize by an account: what it cuts of the last page is merged, so it is a creator of it as well. */
export function resized(before: DiskState, sizeBytes: number, account: number): DiskState {
  const pages = new Map(before.pages);
  for (const [page, packed] of before.pages) {
    if (page >= pagesOf(sizeBytes)) pages.delete(page);
    else if (sizeBytes < before.sizeBytes && keptAt(page, sizeBytes) < PAGE_BYTES) {
      const content = unpack(packed);
      const keptBytes = Math.min(content.keptBytes, keptAt(page, sizeBytes));
      pages.set(page, pack({ ...content, keptBytes, creators: content.creators | (1 << account) }));
    }
  }
  return { ...before, sizeBytes, pages };
}

/** The batch that makes a change. */
export function batchOf(before: DiskState, change: DiskChange): Batch {
  const encoder = new FrameEncoder();
  const data = stampPage(change.stamp);
  const pages = [...change.writes].sort((a, b) => a - b);
  for (const block of new Set(pages.map((page) => Math.floor(page / BLOCK_PAGES)))) {
    const bytes = Buffer.alloc(BLOCK_BYTES);
    for (const page of pages) {
      if (Math.floor(page / BLOCK_PAGES) !== block) continue;
      data.copy(bytes, (page % BLOCK_PAGES) * PAGE_BYTES, 0, keptAt(page, before.sizeBytes));
    }
    encoder.add(block, blockViews(bytes));
  }
  return { encoded: [encoder.finish()], unmap: change.unmap, consistent: change.consistent };
}

/**
 * What a stored page says it is.
 * @throws Error when it is no page that the simulation ever wrote
 */
export function contentOf(bytes: Buffer, creators: readonly string[]): number {
  const stamp = Number(bytes.toString('latin1', 1, 1 + STAMP_DIGITS));
  const whole = stampPage(stamp);
  let keptBytes = PAGE_BYTES;
  if (!bytes.equals(whole)) {
    while (keptBytes > 0 && bytes[keptBytes - 1] === 0) keptBytes -= 1;
    if (bytes.compare(whole, 0, keptBytes, 0, keptBytes) !== 0)
      throw new Error(
        `a page begins with ${JSON.stringify(bytes.toString('latin1', 0, 16))}, and is none that was written`,
      );
  }
  return pack({ stamp, keptBytes, creators: creatorBits(creators) });
}

/** The accounts that pages come from. */
export const creatorsOf = (pages: ReadonlyMap<number, number>): number =>
  [...pages.values()].reduce((bits, packed) => bits | unpack(packed).creators, 0);

export function creatorBits(creators: readonly string[]): number {
  let bits = 0;
  for (const creator of creators) {
    const number = ACCOUNTS.indexOf(creator as (typeof ACCOUNTS)[number]);
    if (number < 0) throw new Error(`nobody has account ${creator}`);
    bits |= 1 << number;
  }
  return bits;
}
