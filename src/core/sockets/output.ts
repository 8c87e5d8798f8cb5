/**
 * Gathers what one connection answers and hands it to its socket, as few writes as can be: everything that one turn of
 * the event loop answers goes out corked. Answers up to a size are put together in one buffer, into which devices read
 * directly; larger ones are written as they are.
 */
import type { Writable } from 'node:stream';
import { BATCH_BYTES, LARGE_BYTES, type BufferPool, type PooledBuffer } from './buffer-pool.ts';
import type { InFlight } from './in-flight.ts';

/** Answers of one connection that its client has not taken yet. */
export interface BacklogLimits {
  readonly backlogBytesMax: number;
  /** In its place while those of all connections are at their limit; no less than the socket's own buffer. */
  readonly scarceBytesMax: number;
}

/** Room for one reply: `head` bytes of header and then data, in a buffer that is held until it was sent. */
export interface Room {
  readonly buffer: PooledBuffer;
  readonly start: number;
  readonly length: number;
}

interface Piece {
  readonly bytes: Uint8Array;
  /** Held until it was sent; undefined of bytes that are somebody else's. */
  readonly buffer: PooledBuffer | undefined;
}

const pieceOf = (buffer: PooledBuffer, start: number, end: number): Piece => ({
  bytes: buffer.bytes.subarray(start, end),
  buffer,
});

export class Output {
  readonly #socket: Writable;
  readonly #pool: BufferPool;
  readonly #unsent: InFlight;
  #pieces: Piece[] = [];
  #current: PooledBuffer | undefined;
  /** What of the current buffer is not in a piece yet: from `#start` to `#end`. */
  #start = 0;
  #end = 0;
  #isScheduled = false;
  /** Bytes that were handed to the socket. */
  sentBytes = 0;
  /** Bytes that were gathered since the last flush. */
  waitingBytes = 0;

  /** `unsent` counts what was handed to the sockets of all connections until the system has taken it. */
  constructor(socket: Writable, pool: BufferPool, unsent: InFlight) {
    this.#socket = socket;
    this.#pool = pool;
    this.#unsent = unsent;
  }

  /** Whether more may be answered: the client keeps up. */
  mayGather({ backlogBytesMax, scarceBytesMax }: BacklogLimits): boolean {
    const bytesMax = this.#unsent.hasRoom ? backlogBytesMax : Math.min(scarceBytesMax, backlogBytesMax);
    return this.#socket.writableLength + this.waitingBytes < bytesMax;
  }

  /** Room for a reply of `length` bytes that is filled at once: then `keep` or `drop` it, before anything else. */
  reserve(length: number): Room {
    if (length >= LARGE_BYTES) return { buffer: this.#pool.get(length), start: 0, length };
    if (this.#current === undefined || this.#end + length > BATCH_BYTES) {
      this.#closeCurrent();
      this.#current = this.#pool.get(BATCH_BYTES);
      this.#start = 0;
      this.#end = 0;
    }
    return { buffer: this.#current, start: this.#end, length };
  }

  /** The reply in the room is complete. */
  keep({ buffer, start, length }: Room): void {
    this.waitingBytes += length;
    if (buffer === this.#current) this.#end = start + length;
    else this.#addPiece(pieceOf(buffer, start, start + length));
  }

  /** There will be no reply in the room. */
  drop({ buffer }: Room): void {
    if (buffer !== this.#current) buffer.release();
  }

  /**
   * The room is filled later: it stays where it is until `complete`. A room that is never completed, since its call failed,
   * keeps its buffer out of the pool: what failed may still be writing there.
   */
  defer(room: Room): void {
    const { buffer, start, length } = room;
    if (buffer !== this.#current) return;
    buffer.hold();
    this.#cutPiece();
    this.#start = start + length;
    this.#end = this.#start;
  }

  /** A deferred room is complete. With `inOrder` it goes behind all that was kept before, else before or behind that. */
  complete({ buffer, start, length }: Room, inOrder = false): void {
    if (inOrder) this.#cutPiece();
    this.waitingBytes += length;
    this.#pieces.push(pieceOf(buffer, start, start + length));
    this.schedule();
  }

  /** Sends `bytes` from where they are, behind all that was kept before; nobody changes them until the system has them. */
  pass(bytes: Uint8Array): void {
    this.waitingBytes += bytes.length;
    this.#addPiece({ bytes, buffer: undefined });
  }

  /** Sends soon, together with what else is answered in this turn. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.flush();
    });
  }

  /** Hands everything to the socket. */
  flush(): void {
    this.#isScheduled = false;
    this.waitingBytes = 0;
    this.#cutPiece();
    const pieces = this.#pieces;
    if (pieces.length === 0) return;
    this.#pieces = [];
    const socket = this.#socket;
    if (socket.destroyed) {
      for (const { buffer } of pieces) buffer?.release();
      return;
    }
    if (pieces.length > 1) socket.cork();
    const unsent = this.#unsent;
    for (const { bytes, buffer } of pieces) {
      const { length } = bytes;
      this.sentBytes += length;
      unsent.add(length);
      socket.write(bytes, () => {
        unsent.remove(length);
        buffer?.release();
      });
    }
    if (pieces.length > 1) socket.uncork();
    // A buffer that is nearly used up makes room for a fresh one; the rest of another one is used on.
    if (this.#end > BATCH_BYTES / 2) this.#closeCurrent();
  }

  /** Lets go of memory. */
  close(): void {
    this.flush();
    this.#closeCurrent();
  }

  /** Makes a piece of what was gathered in the current buffer. */
  #cutPiece(): void {
    if (this.#current === undefined || this.#end === this.#start) return;
    this.#current.hold();
    this.#pieces.push(pieceOf(this.#current, this.#start, this.#end));
    this.#start = this.#end;
  }

  #addPiece(piece: Piece): void {
    this.#cutPiece();
    this.#pieces.push(piece);
  }

  #closeCurrent(): void {
    this.#cutPiece();
    this.#current?.release();
    this.#current = undefined;
    this.#start = 0;
    this.#end = 0;
  }
}
