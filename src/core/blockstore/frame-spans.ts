/** Which bytes of a segment to get for some of its frames. */
import type { FrameEntry } from './segment-index.ts';

export interface FrameSpan<F> {
  readonly offset: number;
  readonly length: number;
  readonly frames: readonly F[];
}

export interface SpanLimits {
  /** Bytes between two frames that are read along rather than left out. */
  readonly gapBytesMax: number;
  readonly spanBytesMax: number;
}

/** Frames that lie near each other are read at once; in the order of their places. */
export function spansOfFrames<F extends { readonly entry: FrameEntry }>(
  frames: readonly F[],
  { gapBytesMax, spanBytesMax }: SpanLimits,
): FrameSpan<F>[] {
  const spans: { offset: number; length: number; frames: F[] }[] = [];
  for (const frame of frames.toSorted((a, b) => a.entry.offset - b.entry.offset)) {
    const { offset, storedLength } = frame.entry;
    const last = spans.at(-1);
    const fits =
      last !== undefined &&
      offset - (last.offset + last.length) <= gapBytesMax &&
      offset + storedLength - last.offset <= spanBytesMax;
    if (fits) {
      last.length = offset + storedLength - last.offset;
      last.frames.push(frame);
    } else spans.push({ offset, length: storedLength, frames: [frame] });
  }
  return spans;
}
