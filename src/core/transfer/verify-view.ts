/** Checks everything that a view maps without writing it anywhere, and goes on after damage. */
import { PAGE_BYTES, type FramePool, type VolumeView } from '../blockstore/index.ts';
import { DamageLedger, type HurtExtent } from '../blockstore/scrub/index.ts';
import type { Random } from '../kit/index.ts';
import { countMismatch } from './map-count.ts';
import { MapSample } from './map-sample.ts';
import { readView } from './read-view.ts';

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
  const sample = sampleOf(options, mappedPages);
  let donePages = 0;
  const totals = await readView({
    pool,
    view,
    target: undefined,
    fromPage: 0,
    signal,
    sample,
    onDamage: (error, firstPage, pageCount) => {
      ledger.hurtPages(error, subject, firstPage, pageCount);
    },
    onDone: (pages) => {
      donePages += pages;
      options.onProgress?.(donePages * PAGE_BYTES, mappedPages * PAGE_BYTES);
      return Promise.resolve();
    },
  });
  // A sample of something is something: else the map counts what it does not have.
  const expected = sample === undefined || sample.taken.parts === 0 ? mappedPages : sample.taken.pages;
  if (ledger.empty && totals.pages !== expected) throw countMismatch(totals.pages, expected);
  const damage = ledger.damage.map(({ key, message, affects }) => ({
    key,
    message,
    extents: affects.flatMap((hurt) => hurt.extents),
  }));
  return { checkedBytes: totals.pages * PAGE_BYTES, checkedObjects: totals.objects, damage };
}

/** Undefined where all is read. */
function sampleOf({ sample }: VerifyOptions, mappedPages: number): MapSample | undefined {
  if (sample === undefined) return undefined;
  const parts = new MapSample(sample.share, mappedPages, sample.random);
  return parts.isAll ? undefined : parts;
}
