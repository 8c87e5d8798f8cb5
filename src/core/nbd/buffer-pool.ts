/**
 * Memory for replies, used again and again: fresh memory for each would cost page faults. A buffer goes back when nobody
 * holds it any more. What is kept while unused is bounded; what is in use is bounded by the connections' limits.
 */

/** Replies of one batch are gathered in buffers of this size. */
export const BATCH_BYTES = 256 * 1024;
const KEPT_BYTES_MAX = 64 << 20;

export class ReplyBuffer {
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

  /** A buffer of at least `bytes`: a power of two, or BATCH_BYTES. */
  get(bytes: number): ReplyBuffer {
    const size = bytes <= BATCH_BYTES ? BATCH_BYTES : 2 ** Math.ceil(Math.log2(bytes));
    const kept = this.#free.get(size)?.pop();
    if (kept !== undefined) this.#keptBytes -= size;
    return new ReplyBuffer(kept ?? Buffer.allocUnsafeSlow(size), this);
  }

  put(bytes: Buffer): void {
    if (this.#keptBytes + bytes.length > KEPT_BYTES_MAX) return;
    const free = this.#free.get(bytes.length);
    if (free === undefined) this.#free.set(bytes.length, [bytes]);
    else free.push(bytes);
    this.#keptBytes += bytes.length;
  }
}
