/**
 * Reads a view through the worker threads: gets spans, decodes and checks them, and writes them where asked.
 * Bytes in flight are bounded; segments that are read are counted.
 */
import { isCorrupt, PAGE_BYTES, type FrameJob, type FramePool, type VolumeView } from '../blockstore/index.ts';
import { MIB, assert } from '../kit/index.ts';
import { runInOrder } from './ordered-pipeline.ts';
import { planRead, type OnDamage, type PlannedSpan, type PlanOptions, type ReadUnit } from './read-plan.ts';

export interface ReadOptions {
  readonly pool: FramePool;
  readonly view: VolumeView;
  /** Where the workers write; undefined: they only check. */
  readonly target: { readonly path: string; readonly sizeBytes: number } | undefined;
  readonly fromPage: number;
  /** Called as units are done, in order: mapped pages done, and the page below which everything is. */
  readonly onDone: (pages: number, donePage: number | undefined) => Promise<void>;
  /** Takes damage, and the reading goes on behind it; for readers without a target. */
  readonly onDamage?: OnDamage | undefined;
  /** As for `planRead`. */
  readonly sample?: PlanOptions['sample'];
  readonly signal?: AbortSignal | undefined;
}

export interface ReadTotals {
  /** Pages that were decoded and found to match their hashes. */
  readonly pages: number;
  /** Bytes written to the target: of the last page only what lies within the size. */
  readonly writtenBytes: number;
  /** Segments that were read. */
  readonly objects: number;
}

const UNIT_WEIGHT_BYTES = 12 * MIB;

/**
 * Reads every mapped page from `fromPage` on.
 * @throws corrupt naming object and extent for what is missing or does not match its checksums, unless `onDamage` takes it
 */
export async function readView(options: ReadOptions): Promise<ReadTotals> {
  const { view, target } = options;
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const objects = new Set<string>();
  let pages = 0;
  let writtenBytes = 0;
  try {
    await runInOrder<ReadUnit, UnitDone>({
      source: planRead(view, {
        fromPage: options.fromPage,
        signal,
        onDamage: options.onDamage,
        sample: options.sample,
      }),
      weigh: (unit) => unit.storedBytes + unit.pages * PAGE_BYTES,
      weightMax: Math.max(4, 3 * options.pool.threads) * UNIT_WEIGHT_BYTES,
      work: async (unit, workSignal) => await readSound(options, unit, workSignal),
      consume: async (unit, done) => {
        for (const span of unit.spans) objects.add(span.ref.key);
        pages += done.pages;
        writtenBytes += done.writtenBytes;
        await options.onDone(unit.pages, unit.donePage);
      },
      signal,
    });
  } finally {
    stop.abort();
  }
  if (target !== undefined)
    assert(writtenBytes === bytesOf(pages, view.sizeBytes, writtenBytes), 'every mapped page was written');
  return { pages, writtenBytes, objects: objects.size };
}

/** Only the volume's last page can be partial. */
function bytesOf(pages: number, sizeBytes: number, writtenBytes: number): number {
  const whole = pages * PAGE_BYTES;
  const tail = sizeBytes % PAGE_BYTES;
  return tail !== 0 && writtenBytes === whole - PAGE_BYTES + tail ? writtenBytes : whole;
}

interface UnitDone {
  /** Decoded, and found to match their hashes. */
  readonly pages: number;
  readonly writtenBytes: number;
}

/** Reads a unit; where that meets damage which `onDamage` takes, frame by frame, what is sound of it. */
async function readSound(options: ReadOptions, unit: ReadUnit, signal: AbortSignal): Promise<UnitDone> {
  const { pool, view, target, onDamage } = options;
  try {
    return { pages: unit.pages, writtenBytes: await readUnit(pool, view, unit, target, signal) };
  } catch (error) {
    if (onDamage === undefined || !isCorrupt(error)) throw error;
    const [frame] = unit.spans.flatMap((span) => span.frames);
    const frames = unit.spans.reduce((count, span) => count + span.frames.length, 0);
    if (frames === 1 && frame !== undefined) {
      for (const { page, count } of frame.slots) onDamage(error, page, count);
      return { pages: 0, writtenBytes: 0 };
    }
  }
  let pages = 0;
  for (const single of unit.spans.flatMap(framesAlone)) pages += (await readSound(options, single, signal)).pages;
  return { pages, writtenBytes: 0 };
}

/** Each frame of a span as a unit of its own. */
function framesAlone({ ref, frames }: PlannedSpan): ReadUnit[] {
  return frames.map((frame) => {
    const { offset, storedLength } = frame.entry;
    const span = { ref, offset, length: storedLength, frames: [frame] };
    const pages = frame.slots.reduce((sum, slot) => sum + slot.count, 0);
    return { spans: [span], storedBytes: storedLength, pages, donePage: undefined };
  });
}

async function readUnit(
  pool: FramePool,
  view: VolumeView,
  unit: ReadUnit,
  target: ReadOptions['target'],
  signal: AbortSignal,
): Promise<number> {
  const buffers = await Promise.all(
    unit.spans.map(async (span) => await view.segments.readSpan(span.ref, span.offset, span.length, signal)),
  );
  const spans = unit.spans.map((span, i) => ({ bytes: buffers[i] ?? Buffer.alloc(0), baseOffset: span.offset }));
  const frames = unit.spans.flatMap((span, i) => framesOf(span, i));
  const { writtenBytes } = await pool.decode(
    { spans, frames, ...(target === undefined ? {} : { target }) },
    { signal },
  );
  return writtenBytes;
}

function framesOf(span: PlannedSpan, spanNumber: number): FrameJob[] {
  return span.frames.map((frame) => ({
    span: spanNumber,
    entry: frame.entry,
    segmentKey: span.ref.key,
    ...(frame.opening === undefined ? {} : { opening: frame.opening }),
    pageHashes: frame.pageHashes,
    slots: [...frame.slots],
  }));
}
