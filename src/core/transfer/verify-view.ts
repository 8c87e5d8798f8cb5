/** Checks everything that a view maps without writing it anywhere, and goes on after damage. */
import { LEAF_PAGES, PAGE_BYTES, type FramePool, type VolumeView } from '../blockstore/index.ts';
import { DamageLedger, type HurtExtent } from '../blockstore/scrub/index.ts';
import type { Random } from '../kit/index.ts';
import { countMismatch } from './map-count.ts';
import { readView, type ReadOptions } from './read-view.ts';

export interface VerifyOptions {
  readonly pool: FramePool;
  readonly view: VolumeView;
  /** Reads about this share of it, here and there, above 0 and up to 1; all when absent. */
  readonly sample?: { readonly share: number; readonly random: Random } | undefined;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** An object, what is wrong with it, and what of the view can't be read for that. */
export interface ViewDamage {
  readonly key: string;
  readonly message: string;
  readonly extents: readonly HurtExtent[];
}

export interface VerifyReport {
  /** Bytes of pages that were read, decoded and matched their hashes. */
  readonly checkedBytes: number;
  /** Segments that hold them. */
  readonly checkedObjects: number;
  /** By key; none when all is well. */
  readonly damage: readonly ViewDamage[];
}

/** However small the share, so much of a volume is read where there is so much. */
const SAMPLED_PAGES_MIN = 4 * LEAF_PAGES;

/** Evenly spaced over what is mapped, from a random place on: whole parts of the map, of a leaf's size at most. */
function sampled({ share, random }: NonNullable<VerifyOptions['sample']>, mappedPages: number): ReadOptions['enter'] {
  const part = Math.max(share, Math.min(1, SAMPLED_PAGES_MIN / Math.max(1, mappedPages)));
  if (part >= 1) return undefined;
  let due = random.float();
  let isRoot = true;
  return ({ mappedPages: below }) => {
    const isWhole = below > LEAF_PAGES || isRoot;
    isRoot = false;
    if (isWhole) return true;
    due += (part * below) / LEAF_PAGES;
    if (due < 1) return false;
    due -= 1;
    return true;
  };
}

/**
 * Reads and decodes every mapped page of the view, or of the sample, and checks it against its stored hash.
 * @throws corrupt `map-count` when a map without other damage has not the pages that it counts; what the store throws
 */
export async function verifyView(options: VerifyOptions): Promise<VerifyReport> {
  const { pool, view, signal } = options;
  const { sizeBytes } = view;
  const { mappedPages } = view.map;
  const ledger = new DamageLedger();
  const subject = { kind: 'volume', id: '', name: '', sizeBytes } as const;
  let donePages = 0;
  const totals = await readView({
    pool,
    view,
    target: undefined,
    fromPage: 0,
    signal,
    enter: options.sample === undefined ? undefined : sampled(options.sample, mappedPages),
    onDamage: (error, firstPage, pageCount) => {
      ledger.hurtPages(error, subject, firstPage, pageCount);
    },
    onDone: (pages) => {
      donePages += pages;
      options.onProgress?.(donePages * PAGE_BYTES, mappedPages * PAGE_BYTES);
      return Promise.resolve();
    },
  });
  if (options.sample === undefined && ledger.empty && totals.pages !== mappedPages)
    throw countMismatch(totals.pages, mappedPages);
  const damage = ledger.damage.map(({ key, message, affects }) => ({
    key,
    message,
    extents: affects.flatMap((hurt) => hurt.extents),
  }));
  return { checkedBytes: totals.pages * PAGE_BYTES, checkedObjects: totals.objects, damage };
}
