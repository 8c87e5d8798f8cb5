/**
 * Bytes received and not used yet. Chunks are kept as they came; what is asked for in one piece is copied only where it
 * lies across chunks.
 */
import { assert } from '../kit/index.ts';

/** Chunks below this are put together, once there are some. */
const SMALL_BYTES = 4096;
const SMALL_FROM = 64;
const SLAB_BYTES = 64 * 1024;

export class ByteQueue {
  #chunks: Buffer[] = [];
  #first = 0;
  #length = 0;
  /** Where small chunks are put together, how far it is filled, and the chunk that it makes. */
  #slab: Buffer | undefined;
  #slabEnd = 0;
  #packed: Buffer | undefined;

  get length(): number {
    return this.#length;
  }

  /** How many buffers hold the bytes. */
  get chunkCount(): number {
    return this.#chunks.length;
  }

  /** Keeps a chunk, whose memory is the queue's from then on, unless `own` is called when those who could take of it have done so. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#length += chunk.length;
    if (chunk.length < SMALL_BYTES && this.#chunks.length >= SMALL_FROM) this.#pack(chunk);
    else this.#chunks.push(chunk);
  }

  /** Copies what is left of the chunk that was pushed last, whose memory is somebody else's. */
  own(): void {
    const last = this.#chunks.length - 1;
    const chunk = this.#chunks[last];
    if (chunk === undefined || chunk === this.#packed) return;
    this.#chunks[last] = Buffer.from(last === 0 ? chunk.subarray(this.#first) : chunk);
    if (last === 0) this.#first = 0;
  }

  /** Copies a small chunk behind the one before it, since a buffer of its own would take many times its bytes. */
  #pack(chunk: Buffer): void {
    if (
      this.#slab === undefined ||
      this.#slab.length - this.#slabEnd < chunk.length ||
      this.#chunks.at(-1) !== this.#packed
    ) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#slabEnd = 0;
      this.#packed = this.#slab.subarray(0, 0);
      this.#chunks.push(this.#packed);
    }
    chunk.copy(this.#slab, this.#slabEnd);
    this.#slabEnd += chunk.length;
    this.#packed = this.#slab.subarray(0, this.#slabEnd);
    this.#chunks[this.#chunks.length - 1] = this.#packed;
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

  /** Takes as many bytes as `target` has, which must be there, into it. */
  takeInto(target: Buffer): void {
    assert(this.#length >= target.length, 'no more bytes are taken than there are');
    this.#gather(target.length, target);
  }

  /** Takes `count` bytes that lie across chunks. */
  #gather(count: number, bytes: Buffer = Buffer.allocUnsafeSlow(count)): Buffer {
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
