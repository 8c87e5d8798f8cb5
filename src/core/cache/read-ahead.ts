/**
 * Which reads go on where others ended, and what to fetch before it is asked for. Several streams at a time, mixed with each
 * other and with random reads; requests of one stream may come a little out of order, as a client with many in flight sends them.
 *
 * Pure: it neither reads nor knows what is in the cache. It makes no garbage for reads that it fetches nothing for.
 */

/** Streams and candidates together; beyond that the one that was quiet longest makes room, candidates first. */
const STREAMS_MAX = 32;
/** Reads after which a stream without one is a candidate again. */
const QUIET_READS = 4096;
/** How far from its end a read still belongs to a stream. */
const REORDER_BYTES = 256 * 1024;
/** Reads in sequence that make a stream, or fewer that are as long as this together. */
const STEPS_MIN = 3;
const RUN_BYTES_MIN = 256 * 1024;
const DENSITY_MIN = 0.75;
const FIRST_WINDOW_BYTES = 128 * 1024;
/** What is fetched ends with a block, since a frame is never more than one. */
const BLOCK_BYTES = 65_536;

export interface ReadAheadOptions {
  /** The most to be ahead of a stream; 0: never fetch anything. */
  readonly readAheadBytes: number;
}

export interface ReadAheadExtent {
  readonly offset: number;
  readonly length: number;
}

/** The reads of one volume. */
export class ReadAhead {
  readonly #limitBytes: number;
  /** By stream. Where it began, where it is, bytes that were really read between, where what was fetched ends. */
  readonly #start = new Float64Array(STREAMS_MAX);
  readonly #next = new Float64Array(STREAMS_MAX).fill(-Infinity);
  readonly #read = new Float64Array(STREAMS_MAX);
  readonly #fetched = new Float64Array(STREAMS_MAX);
  readonly #window = new Float64Array(STREAMS_MAX);
  readonly #steps = new Float64Array(STREAMS_MAX);
  readonly #usedAt = new Float64Array(STREAMS_MAX);
  #reads = 0;

  constructor({ readAheadBytes }: ReadAheadOptions) {
    this.#limitBytes = readAheadBytes;
  }

  /**
   * Notes a read, which every read must be told of, also those that the cache answers; the extent to fetch now, or undefined.
   * It begins where the last one of the stream ended, or at the stream's place; up to `sizeBytes`, the volume's end. Its bytes
   * were not asked for yet, but may be in the cache. A caller that does not fetch it is not asked to again.
   */
  observe(offset: number, length: number, sizeBytes = Number.MAX_SAFE_INTEGER): ReadAheadExtent | undefined {
    if (this.#limitBytes === 0 || length === 0) return undefined;
    this.#reads++;
    const stream = this.#streamOf(offset);
    if (stream < 0) {
      this.#begin(offset, length);
      return undefined;
    }
    this.#advance(stream, offset, length);
    return this.#isStream(stream) ? this.#fetch(stream, sizeBytes) : undefined;
  }

  /** Forgets all streams, as when the volume's size changed. */
  reset(): void {
    this.#next.fill(-Infinity);
    this.#steps.fill(0);
    this.#usedAt.fill(0);
  }

  /** The stream whose end is nearest, if it is near enough; -1: none. */
  #streamOf(offset: number): number {
    let best = -1;
    let bestDistance = REORDER_BYTES + 1;
    for (let stream = 0; stream < STREAMS_MAX; stream++) {
      const distance = Math.abs(offset - (this.#next[stream] ?? 0));
      if (distance >= bestDistance) continue;
      best = stream;
      bestDistance = distance;
    }
    return best;
  }

  #begin(offset: number, length: number): void {
    const stream = this.#victim();
    this.#start[stream] = offset;
    this.#next[stream] = offset + length;
    this.#read[stream] = length;
    this.#fetched[stream] = 0;
    this.#window[stream] = FIRST_WINDOW_BYTES;
    this.#steps[stream] = 1;
    this.#usedAt[stream] = this.#reads;
  }

  #victim(): number {
    let victim = 0;
    let victimAge = -1;
    for (let stream = 0; stream < STREAMS_MAX; stream++) {
      const quiet = this.#reads - (this.#usedAt[stream] ?? 0);
      const isKept = quiet < QUIET_READS && this.#isStream(stream);
      const age = isKept ? quiet / (QUIET_READS * 2) : quiet;
      if (age <= victimAge) continue;
      victim = stream;
      victimAge = age;
    }
    return victim;
  }

  #advance(stream: number, offset: number, length: number): void {
    const end = offset + length;
    this.#usedAt[stream] = this.#reads;
    this.#read[stream] = (this.#read[stream] ?? 0) + length;
    this.#start[stream] = Math.min(this.#start[stream] ?? 0, offset);
    this.#window[stream] = Math.max(this.#window[stream] ?? 0, length * 2);
    if (end <= (this.#next[stream] ?? 0)) return;
    this.#next[stream] = end;
    this.#steps[stream] = (this.#steps[stream] ?? 0) + 1;
  }

  /** Enough reads in sequence, and three quarters of what lies between were read: random reads leave gaps. */
  #isStream(stream: number): boolean {
    const span = (this.#next[stream] ?? 0) - (this.#start[stream] ?? 0);
    const steps = this.#steps[stream] ?? 0;
    if (steps < STEPS_MIN && !(steps > 1 && span >= RUN_BYTES_MIN)) return false;
    return (this.#read[stream] ?? 0) >= span * DENSITY_MIN;
  }

  #fetch(stream: number, sizeBytes: number): ReadAheadExtent | undefined {
    const next = this.#next[stream] ?? 0;
    const window = Math.min(this.#window[stream] ?? 0, this.#limitBytes);
    const from = Math.max(next, this.#fetched[stream] ?? 0);
    // Half a window at a time, so that there is always as much under way as was read since.
    if (from - next > window / 2) return undefined;
    const limit = Math.min(next + this.#limitBytes, sizeBytes);
    const to = Math.min(Math.ceil((next + window) / BLOCK_BYTES) * BLOCK_BYTES, limit);
    if (to <= from) return undefined;
    this.#fetched[stream] = to;
    this.#window[stream] = window * 2;
    return { offset: from, length: to - from };
  }
}
