/**
 * Plans the reading of a whole view: which spans of which segments to get, and which frames to decode from them.
 *
 * Leaves are gathered into windows of about 8 MiB of mapped pages. Inside a window, frames of one segment that lie
 * next to each other become one span of up to 4 MiB, and small spans of a window share one unit of work.
 * Invariants: units come window by window, ascending; every mapped page from `fromPage` on is in exactly one unit.
 * Windows are planned a few ahead, and the segments of a window side by side, since each may cost a way to the store.
 */
import {
  BLOCK_PAGES,
  isCorrupt,
  PAGE_BYTES,
  PAGE_HASH_BYTES,
  popcount16,
  spansOfFrames,
  type FrameEntry,
  type FrameOpening,
  type PageRun,
  type SegmentIndex,
  type SegmentRef,
  type VolumeView,
} from '../blockstore/index.ts';
import { MIB, Semaphore, SgwError } from '../kit/index.ts';
import type { MapSample } from './map-sample.ts';

const WINDOW_PAGES = (8 * MIB) / PAGE_BYTES;
const SPAN_BYTES_MAX = 4 * MIB;
/** Bytes between two wanted frames that are read along rather than asked for separately. */
const SPAN_GAP_BYTES_MAX = 64 * 1024;
const UNIT_SPANS_MAX = 16;
/** Windows that are planned before those that were asked for are read. */
const WINDOWS_AHEAD = 4;
/** Segments whose tables are read at once. */
const LOADS_MAX = 32;

/** One GET. */
export interface PlannedSpan {
  readonly ref: SegmentRef;
  readonly offset: number;
  readonly length: number;
  readonly frames: readonly PlannedFrame[];
}

export interface PlannedFrame {
  readonly entry: FrameEntry;
  /** Opens the frame when its segment is sealed. */
  readonly opening: FrameOpening | undefined;
  /** Hashes of all pages of the frame, in slot order. */
  readonly pageHashes: Uint8Array;
  readonly slots: readonly { readonly slot: number; readonly page: number; readonly count: number }[];
}

/** Spans that are decoded together. */
export interface ReadUnit {
  readonly spans: readonly PlannedSpan[];
  readonly storedBytes: number;
  readonly pages: number;
  /** Set on the last unit of a window: every page below this one is done with it and the units before. */
  readonly donePage: number | undefined;
}

/** Is told of pages that can't be read, and why; the reading then goes on without them. */
export type OnDamage = (error: SgwError, firstPage: number, pageCount: number) => void;

export interface PlanOptions {
  readonly fromPage: number;
  readonly signal: AbortSignal;
  readonly onDamage?: OnDamage | undefined;
  /** Says which parts of the map are read; without it, everything is. */
  readonly sample?: Pick<MapSample, 'enter' | 'leave'> | undefined;
}

/** Mapped runs that are planned together. */
interface Window {
  readonly runs: readonly PageRun[];
  /** Below it everything lies in this window and those before. */
  readonly endPage: number;
}

/**
 * The units that read every mapped page from `fromPage` on.
 * @throws corrupt when segments or frames are missing or damaged, unless `onDamage` takes it
 */
export async function* planRead(view: VolumeView, options: PlanOptions): AsyncGenerator<ReadUnit> {
  const stop = new AbortController();
  const stopped = { ...options, signal: AbortSignal.any([options.signal, stop.signal]) };
  const loads = new Semaphore(LOADS_MAX);
  const planned: Promise<ReadUnit[]>[] = [];
  try {
    for await (const window of windowsOf(view, stopped)) {
      const units = planWindow(view, window, loads, stopped);
      // Its failure is seen when its turn comes.
      units.catch(() => undefined);
      planned.push(units);
      if (planned.length > WINDOWS_AHEAD) yield* (await planned.shift()) ?? [];
    }
    for (const units of planned) yield* await units;
  } finally {
    stop.abort();
    await Promise.allSettled(planned);
  }
}

async function* windowsOf(
  view: VolumeView,
  { fromPage, signal, onDamage, sample }: PlanOptions,
): AsyncGenerator<Window> {
  let runs: PageRun[] = [];
  let pages = 0;
  let endPage = fromPage;
  const walk = {
    ...{ fromPage, signal },
    ...(onDamage === undefined ? {} : { damage: onDamage }),
    ...(sample === undefined ? {} : { enter: sample.enter, leave: sample.leave }),
  };
  for await (const leaf of view.map.leaves(walk)) {
    for (const run of leaf.runs) {
      if (run.page + run.count <= fromPage) continue;
      runs.push(run);
      pages += run.count;
      endPage = run.page + run.count;
    }
    if (pages < WINDOW_PAGES) continue;
    yield { runs, endPage };
    runs = [];
    pages = 0;
  }
  yield { runs, endPage };
}

async function planWindow(
  view: VolumeView,
  { runs, endPage }: Window,
  loads: Semaphore,
  { signal, onDamage }: PlanOptions,
): Promise<ReadUnit[]> {
  const bySegment = Map.groupBy(runs, ({ source }) => source.segmentId);
  const spans = await Promise.all(
    [...bySegment.values()].map(async (ofSegment) => {
      const release = await loads.acquire(1, signal);
      try {
        return await planReadable(view, ofSegment, signal, onDamage);
      } finally {
        release();
      }
    }),
  );
  return [...unitsOf(spans.flat(), endPage)];
}

function* unitsOf(spans: readonly PlannedSpan[], endPage: number): Generator<ReadUnit> {
  let unit: PlannedSpan[] = [];
  let storedBytes = 0;
  for (const span of spans) {
    if (unit.length > 0 && (storedBytes + span.length > SPAN_BYTES_MAX || unit.length >= UNIT_SPANS_MAX)) {
      yield { spans: unit, storedBytes, pages: pagesOfSpans(unit), donePage: undefined };
      unit = [];
      storedBytes = 0;
    }
    unit.push(span);
    storedBytes += span.length;
  }
  if (unit.length > 0) yield { spans: unit, storedBytes, pages: pagesOfSpans(unit), donePage: endPage };
}

function pagesOfSpans(spans: readonly PlannedSpan[]): number {
  let pages = 0;
  for (const span of spans) for (const frame of span.frames) for (const slot of frame.slots) pages += slot.count;
  return pages;
}

/** As `planSegment`; where that meets damage, run by run, without those that can't be read. */
async function planReadable(
  view: VolumeView,
  runs: readonly PageRun[],
  signal: AbortSignal,
  onDamage: OnDamage | undefined,
): Promise<PlannedSpan[]> {
  try {
    return await planSegment(view, runs, signal);
  } catch (error) {
    if (onDamage === undefined || !isCorrupt(error)) throw error;
    const [only] = runs;
    if (runs.length === 1 && only !== undefined) {
      onDamage(error, only.page, only.count);
      return [];
    }
  }
  const spans: PlannedSpan[] = [];
  for (const run of runs) spans.push(...(await planReadable(view, [run], signal, onDamage)));
  return spans;
}

async function planSegment(view: VolumeView, runs: readonly PageRun[], signal: AbortSignal): Promise<PlannedSpan[]> {
  const first = runs[0];
  if (first === undefined) return [];
  const ref = first.source;
  const index = await view.segments.index(ref, signal);
  const hashes = await view.segments.pageHashes(ref, signal);
  const frames = new Map<number, PlannedFrame & { slots: { slot: number; page: number; count: number }[] }>();
  for (const run of runs) {
    let frame = frames.get(run.frame);
    if (frame === undefined) {
      const entry = frameOf(index, run);
      const firstHash = entry.hashIndex * PAGE_HASH_BYTES;
      // A copy of its own: a view would take the whole table along to the worker.
      const pageHashes = new Uint8Array(
        hashes.subarray(firstHash, firstHash + popcount16(entry.mask) * PAGE_HASH_BYTES),
      );
      frame = { entry, opening: index.opening(run.frame), pageHashes, slots: [] };
      frames.set(run.frame, frame);
    }
    checkRun(ref.key, frame.entry, run);
    frame.slots.push({ slot: run.slot, page: run.page, count: run.count });
  }
  return spansOf(ref, [...frames.values()]);
}

function spansOf(ref: SegmentRef, frames: readonly PlannedFrame[]): PlannedSpan[] {
  const limits = { gapBytesMax: SPAN_GAP_BYTES_MAX, spanBytesMax: SPAN_BYTES_MAX };
  return spansOfFrames(frames, limits).map((span) => ({ ref, ...span }));
}

function frameOf(index: SegmentIndex, run: PageRun): FrameEntry {
  if (run.frame < index.frameCount) return index.frame(run.frame);
  throw frameMismatch(run.source.key, run, `has no frame ${String(run.frame)}`);
}

/** The frame must hold just the pages that the map says it holds, in these slots. */
function checkRun(key: string, entry: FrameEntry, run: PageRun): void {
  const firstBit = run.page % BLOCK_PAGES;
  const wanted = ((1 << run.count) - 1) << firstBit;
  const fits =
    entry.block === Math.floor(run.page / BLOCK_PAGES) &&
    (entry.mask & wanted) === wanted &&
    popcount16(entry.mask & ((1 << firstBit) - 1)) === run.slot;
  if (!fits) throw frameMismatch(key, run, `holds other pages in frame ${String(run.frame)} than the map says`);
}

function frameMismatch(key: string, run: PageRun, what: string): SgwError {
  return new SgwError(
    'corrupt',
    'frame-mismatch',
    `object ${key} ${what}: extent ${String(run.page * PAGE_BYTES)}+${String(run.count * PAGE_BYTES)}`,
    {
      hint: 'Restore the object from a copy of the store, or use another snapshot.',
      details: { key, offset: run.page * PAGE_BYTES, length: run.count * PAGE_BYTES },
    },
  );
}
