/**
 * Bytes received and not used yet. Chunks are kept as they came; what is asked for in one piece is copied only where it
 * lies across chunks.
 */
import { assert } from '../kit/index.ts';

export class ByteQueue {
  #chunks: Buffer[] = [];
  #first = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The next `count` bytes without taking them; undefined when there are not so many. */
  peek(count: number): Buffer | undefined {
    if (this.#length < count) return undefined;
    const [chunk] = this.#chunks;
    if (chunk !== undefined && chunk.length - this.#first >= count)
      return chunk.subarray(this.#first, this.#first + count);
    const bytes = this.#gather(count);
    const [rest] = this.#chunks;
    if (rest !== undefined) this.#chunks[0] = rest.subarray(this.#first);
    this.#first = 0;
    this.#chunks.unshift(bytes);
    this.#length += count;
    return bytes;
  }

  /** Takes `count` bytes, which must be there. */
  take(count: number): Buffer {
    assert(this.#length >= count, 'no more bytes are taken than there are');
    const [chunk] = this.#chunks;
    if (count === 0 || chunk === undefined) return Buffer.alloc(0);
    const left = chunk.length - this.#first;
    if (left < count) return this.#gather(count);
    const bytes = chunk.subarray(this.#first, this.#first + count);
    this.#length -= count;
    if (left === count) {
      this.#chunks.shift();
      this.#first = 0;
    } else this.#first += count;
    return bytes;
  }

  /** Takes `count` bytes that lie across chunks. */
  #gather(count: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(count);
    for (let at = 0; at < count;) {
      const chunk = this.#chunks[0] ?? bytes;
      const part = Math.min(count - at, chunk.length - this.#first);
      chunk.copy(bytes, at, this.#first, this.#first + part);
      at += part;
      this.#first += part;
      if (this.#first === chunk.length) {
        this.#chunks.shift();
        this.#first = 0;
      }
    }
    this.#length -= count;
    return bytes;
  }
}
