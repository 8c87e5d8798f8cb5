/** The replies of one connection: their bytes, behind one another in its output. */
import { Output } from '../sockets/index.ts';
import {
  CHUNK,
  CHUNK_FLAG_DONE,
  CHUNK_HEADER_BYTES,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from './wire.ts';

/** The opaque 64 bits that a request is known by. */
export interface Cookie {
  readonly high: number;
  readonly low: number;
}

export class Replies extends Output {
  simple(errno: number, { high, low }: Cookie): void {
    const room = this.reserve(SIMPLE_REPLY_BYTES);
    writeSimple(room.buffer.bytes, room.start, errno, high, low);
    this.keep(room);
  }

  /** A structured reply of status chunks, one for each payload. */
  statuses(payloads: readonly Buffer[], cookie: Cookie): void {
    payloads.forEach((payload, i) => {
      this.#chunk(CHUNK.blockStatus, cookie, payload, i === payloads.length - 1 ? CHUNK_FLAG_DONE : 0);
    });
  }

  #chunk(type: number, { high, low }: Cookie, payload: Buffer, flags = CHUNK_FLAG_DONE): void {
    const room = this.reserve(CHUNK_HEADER_BYTES + payload.length);
    writeChunkHeader(room.buffer.bytes, room.start, type, high, low, payload.length);
    room.buffer.bytes.writeUInt16BE(flags, room.start + 4);
    payload.copy(room.buffer.bytes, room.start + CHUNK_HEADER_BYTES);
    this.keep(room);
  }

  structuredError(errno: number, message: string, cookie: Cookie): void {
    const text = Buffer.from(message.slice(0, 1000), 'utf8');
    const payload = Buffer.alloc(6 + text.length);
    payload.writeUInt32BE(errno, 0);
    payload.writeUInt16BE(text.length, 4);
    text.copy(payload, 6);
    this.#chunk(CHUNK.error, cookie, payload);
  }
}

export function writeSimple(bytes: Buffer, at: number, errno: number, high: number, low: number): void {
  bytes.writeUInt32BE(SIMPLE_REPLY_MAGIC, at);
  bytes.writeUInt32BE(errno, at + 4);
  bytes.writeUInt32BE(high, at + 8);
  bytes.writeUInt32BE(low, at + 12);
}

/** The header of the only, and so last, chunk of a structured reply. */
export function writeChunkHeader(
  bytes: Buffer,
  at: number,
  type: number,
  high: number,
  low: number,
  length: number,
): void {
  bytes.writeUInt32BE(STRUCTURED_REPLY_MAGIC, at);
  bytes.writeUInt16BE(CHUNK_FLAG_DONE, at + 4);
  bytes.writeUInt16BE(type, at + 6);
  bytes.writeUInt32BE(high, at + 8);
  bytes.writeUInt32BE(low, at + 12);
  bytes.writeUInt32BE(length, at + 16);
}
