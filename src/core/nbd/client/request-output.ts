/**
 * Gathers requests and hands them to the socket: all of one turn of the event loop in one corked write. Headers and short payloads are
 * put behind one another in a pooled buffer; a long payload is sent from where it is.
 */
import type { Writable } from 'node:stream';
import { InFlight, Output, type BufferPool } from '../../sockets/index.ts';
import { CMD, REQUEST_BYTES, REQUEST_MAGIC } from '../wire.ts';
import type { ClientRequest, Slot } from './request.ts';

/** From here on a payload is not copied. */
const LONG_BYTES = 32 * 1024;

export class RequestOutput {
  readonly #output: Output;

  constructor(socket: Writable, pool: BufferPool) {
    // Who asks bounds what is under way.
    this.#output = new Output(socket, pool, new InFlight(Infinity));
  }

  /** Sends a request soon, together with what else is asked in this turn. */
  add(request: ClientRequest, slot: Slot): void {
    const payload = request.type === CMD.write ? request.data : undefined;
    const isLong = payload !== undefined && payload.length >= LONG_BYTES;
    const room = this.#output.reserve(REQUEST_BYTES + (payload === undefined || isLong ? 0 : payload.length));
    const { bytes } = room.buffer;
    writeHeader(bytes, room.start, request, slot);
    if (payload !== undefined && !isLong) payload.copy(bytes, room.start + REQUEST_BYTES);
    this.#output.keep(room);
    if (isLong) this.#output.pass(payload);
    this.#output.schedule();
  }

  /** Hands everything to the socket. */
  flush(): void {
    this.#output.flush();
  }

  /** Lets go of memory; what was handed to the socket keeps its own. */
  close(): void {
    this.#output.close();
  }
}

function writeHeader(bytes: Buffer, at: number, request: ClientRequest, slot: Slot): void {
  const { type, flags, offset, length } = request;
  bytes.writeUInt32BE(REQUEST_MAGIC, at);
  bytes.writeUInt16BE(flags, at + 4);
  bytes.writeUInt16BE(type, at + 6);
  bytes.writeUInt32BE(slot.uses, at + 8);
  bytes.writeUInt32BE(slot.index, at + 12);
  bytes.writeUInt32BE(Math.floor(offset / 0x1_0000_0000), at + 16);
  bytes.writeUInt32BE(offset % 0x1_0000_0000, at + 20);
  bytes.writeUInt32BE(length, at + 24);
}
