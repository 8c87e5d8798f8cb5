/**
 * Notices readers that go forward through a volume, and says what they will want next. Several at once are told apart; random
 * access makes no stream. Pure: no I/O.
 */

/** Readers that are told apart. */
const STREAMS_MAX = 8;
/** Reads in a row that make a stream. */
const HITS_MIN = 2;
const WINDOW_FIRST_BYTES = 256 * 1024;
/** A reader may leave out, or come back over, this much. */
const SLACK_BYTES = 64 * 1024;

interface Stream {
  /** Where its last read ended. */
  nextOffset: number;
  /** Where what was asked for ends. */
  aheadOffset: number;
  windowBytes: number;
  hits: number;
}

export class ReadAhead {
  readonly #windowBytesMax: number;
  /** The one used last comes last. */
  readonly #streams: Stream[] = [];

  constructor(options: { readonly windowBytesMax: number }) {
    this.#windowBytesMax = options.windowBytesMax;
  }

  /** Takes note of a read; returns the extent to get now, if any. */
  observe(offset: number, length: number): { readonly offset: number; readonly length: number } | undefined {
    if (this.#windowBytesMax === 0) return undefined;
    const end = offset + length;
    const streams = this.#streams;
    for (let i = streams.length - 1; i >= 0; i--) {
      const stream = streams[i];
      if (stream === undefined || Math.abs(offset - stream.nextOffset) > SLACK_BYTES) continue;
      if (i < streams.length - 1) {
        streams.splice(i, 1);
        streams.push(stream);
      }
      return this.#advance(stream, end);
    }
    if (streams.length >= STREAMS_MAX) streams.shift();
    streams.push({ nextOffset: end, aheadOffset: end, windowBytes: WINDOW_FIRST_BYTES, hits: 0 });
    return undefined;
  }

  #advance(stream: Stream, end: number): { readonly offset: number; readonly length: number } | undefined {
    if (end <= stream.nextOffset) return undefined;
    stream.nextOffset = end;
    stream.hits += 1;
    if (stream.hits < HITS_MIN) return undefined;
    const from = Math.max(stream.aheadOffset, end);
    // What is left of the window is enough for now.
    if (from - end > stream.windowBytes / 2) return undefined;
    stream.aheadOffset = end + stream.windowBytes;
    stream.windowBytes = Math.min(this.#windowBytesMax, stream.windowBytes * 2);
    return { offset: from, length: stream.aheadOffset - from };
  }
}
