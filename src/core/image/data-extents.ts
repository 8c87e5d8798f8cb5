/**
 * Finds where a sparse file has data. Extents come in ascending order, rounded out to the caller's
 * alignment, clipped to the range asked for, merged, and never longer than a bound, so that a file
 * of any shape is walked with constant memory and without holding the event loop.
 *
 * A hole reads as zeroes, so leaving one out loses nothing. The reverse does not hold: data may be
 * zeroes. Where the file system can't tell, everything is data. A file that is written meanwhile may
 * gain data behind the walk; the caller keeps it still or looks again.
 */
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { assert, GIB, KIB, throwIfAborted } from '../kit/index.ts';
import type { SystemCalls } from './system-calls.ts';

/** Part of a file, in bytes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

export interface DataExtentOptions {
  /** Extents start and end at multiples of this many bytes, or at the ends of the range. Default 64 KiB. */
  readonly alignBytes?: number;
  /** The longest extent in bytes, a multiple of the alignment. Default 1 GiB. */
  readonly extentBytesMax?: number;
  readonly signal?: AbortSignal;
}

const SEEKS_PER_TURN = 1024;

/** The data extents of `fd` in [from, to). `calls` undefined: all of it. */
export async function* dataExtents(
  fd: number,
  from: number,
  to: number,
  calls: SystemCalls | undefined,
  options: DataExtentOptions = {},
): AsyncGenerator<Extent, void, undefined> {
  const align = options.alignBytes ?? 64 * KIB;
  const longest = options.extentBytesMax ?? GIB;
  assert(
    align > 0 && longest >= align && longest % align === 0,
    `extents of ${String(longest)} bytes fit the alignment`,
  );
  assert(from >= 0 && from <= to, `extents are asked for in ascending order, not ${String(from)} to ${String(to)}`);
  let pending: { offset: number; end: number } | undefined;
  for await (const found of alignedExtents(fd, from, to, calls, align, options.signal)) {
    if (pending?.end === found.offset) pending.end = found.end;
    else {
      if (pending !== undefined) yield toExtent(pending);
      pending = { ...found };
    }
    while (pending.end - pending.offset > longest) {
      const end = pending.offset - (pending.offset % align) + longest;
      yield toExtent({ offset: pending.offset, end });
      pending.offset = end;
      throwIfAborted(options.signal);
    }
  }
  if (pending !== undefined) yield toExtent(pending);
}

const toExtent = (span: { offset: number; end: number }): Extent => ({
  offset: span.offset,
  length: span.end - span.offset,
});

/** Each step goes at least one alignment ahead, however finely data and holes alternate. */
async function* alignedExtents(
  fd: number,
  from: number,
  to: number,
  calls: SystemCalls | undefined,
  align: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ offset: number; end: number }, void, undefined> {
  let cursor = from;
  for (let steps = 1; cursor < to; steps++) {
    throwIfAborted(signal);
    if (steps % SEEKS_PER_TURN === 0) await yieldToEventLoop();
    const data = calls?.seekData(fd, cursor) ?? 'unknown';
    if (data === 'end' || (typeof data === 'number' && data >= to)) return;
    const offset = data === 'unknown' ? cursor : Math.max(cursor, data - (data % align));
    const hole = data === 'unknown' ? 'unknown' : (calls?.seekHole(fd, data) ?? 'unknown');
    const dataEnd = typeof hole === 'number' ? Math.max(hole, offset + 1) : to;
    const end = Math.min(to, Math.ceil(dataEnd / align) * align);
    yield { offset, end };
    cursor = end;
  }
}
