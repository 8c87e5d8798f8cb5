/**
 * Memory for payloads and replies, used again and again: fresh memory for each would cost page faults. A buffer goes back when nobody
 * holds it any more. What is kept while unused is bounded; what is in use is bounded by the connections' limits.
 */

/** What is small is gathered in buffers of this size. */
export const BATCH_BYTES = 256 * 1024;
/** From here on a piece has a buffer of its own. */
export const LARGE_BYTES = 64 * 1024;
const KEPT_BYTES_MAX = 64 << 20;

export class PooledBuffer {
  readonly bytes: Buffer;
  /** How many parts of it are still to be filled or sent. */
  #holds = 1;
  readonly #pool: BufferPool;

  constructor(bytes: Buffer, pool: BufferPool) {
    this.bytes = bytes;
    this.#pool = pool;
  }

  hold(): void {
    this.#holds += 1;
  }

  /** To be called once for each hold, and once for the buffer itself. */
  release(): void {
    this.#holds -= 1;
    if (this.#holds === 0) this.#pool.put(this.bytes);
  }
}

export class BufferPool {
  readonly #free = new Map<number, Buffer[]>();
  #keptBytes = 0;

  /** A buffer of at least `bytes`: a power of two. */
  get(bytes: number): PooledBuffer {
    const size = bytes <= LARGE_BYTES ? LARGE_BYTES : 2 ** Math.ceil(Math.log2(bytes));
    const kept = this.#free.get(size)?.pop();
    if (kept !== undefined) this.#keptBytes -= size;
    return new PooledBuffer(kept ?? Buffer.allocUnsafeSlow(size), this);
  }

  put(bytes: Buffer): void {
    if (this.#keptBytes + bytes.length > KEPT_BYTES_MAX) return;
    const free = this.#free.get(bytes.length);
    if (free === undefined) this.#free.set(bytes.length, [bytes]);
    else free.push(bytes);
    this.#keptBytes += bytes.length;
  }
}

/** Memory of a pool that was given out, until its `buffer` is released. */
export interface Lent {
  readonly bytes: Buffer;
  readonly buffer: PooledBuffer;
}

/** Gives out memory of a pool, small pieces one behind the other in the same buffer. */
export class Arena {
  readonly #pool: BufferPool;
  #current: PooledBuffer | undefined;
  #end = 0;

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  take(bytes: number): Lent {
    if (bytes >= LARGE_BYTES) {
      const buffer = this.#pool.get(bytes);
      return { bytes: buffer.bytes.subarray(0, bytes), buffer };
    }
    if (this.#current === undefined || this.#end + bytes > BATCH_BYTES) {
      this.close();
      this.#current = this.#pool.get(BATCH_BYTES);
    }
    const start = this.#end;
    this.#end += bytes;
    this.#current.hold();
    return { bytes: this.#current.bytes.subarray(start, this.#end), buffer: this.#current };
  }

  /** Lets go of its buffer; what was given out is good until it is released. */
  close(): void {
    this.#current?.release();
    this.#current = undefined;
    this.#end = 0;
  }
}
