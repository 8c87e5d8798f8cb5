/**
 * The replies of a server, without sockets: bytes go in through the queue, answers come out at the requests. What is read goes from
 * the queue into its request's own memory.
 *
 * Invariants: each request gets one answer; nothing is written outside a request's memory; a reply that is not whole keeps no
 * more than a header, a message or a list of extents in the queue. Whatever breaks the protocol is thrown, and ends the connection.
 */
import type { DeviceExtent } from '../../blockdevice/index.ts';
import { SgwError } from '../../kit/index.ts';
import type { ByteQueue } from '../../sockets/index.ts';
import {
  CHUNK,
  CHUNK_FLAG_DONE,
  CHUNK_HEADER_BYTES,
  CMD,
  ERRNO,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STATE,
  STRING_BYTES_MAX,
  STRUCTURED_REPLY_MAGIC,
} from '../wire.ts';
import type { ClientRequest, Slot, Slots } from './request.ts';

type Busy = Slot & { readonly request: ClientRequest };

/** A read whose data come: what of its memory is to be filled, and whether the reply ends with it. */
interface Filling {
  readonly slot: Busy;
  readonly target: Buffer;
  filledBytes: number;
  readonly isLast: boolean;
}

/** In a chunk's type: an error. */
const ERROR_BIT = 0x8000;
/** Offset (64 bits) of what follows. */
const DATA_PREFIX_BYTES = 8;
/** No more status descriptors (8 bytes each) are taken in one chunk. */
const STATUS_BYTES_MAX = 4 + 8 * 65_536;
/** Error (32 bits), length of the message (16), message, and for one kind an offset (64). */
const ERROR_BYTES_MAX = 6 + STRING_BYTES_MAX + 8;

export interface ReplyParserParts {
  readonly queue: ByteQueue;
  readonly slots: Slots;
  readonly isStructured: boolean;
  /** The id that `base:allocation` has; undefined when it was not agreed on. */
  readonly statusContext: number | undefined;
}

export class ReplyParser {
  readonly #parts: ReplyParserParts;
  #isStopped = false;
  #filling: Filling | undefined;

  constructor(parts: ReplyParserParts) {
    this.#parts = parts;
  }

  /** Takes the replies that are in the queue. @throws unavailable `nbd-reply` */
  consume(): void {
    while (!this.#isStopped && (this.#filling === undefined ? this.#next() : this.#fill(this.#filling)));
  }

  /** Nobody waits for answers any more. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Begins a reply, or a chunk of one; whether there was a whole beginning. */
  #next(): boolean {
    const { queue, isStructured } = this.#parts;
    const magic = queue.peek(4)?.readUInt32BE(0);
    if (magic === undefined) return false;
    if (magic === SIMPLE_REPLY_MAGIC) {
      const header = queue.peek(SIMPLE_REPLY_BYTES);
      if (header === undefined) return false;
      this.#simple(header.readUInt32BE(4), this.#find(header));
      return true;
    }
    if (magic !== STRUCTURED_REPLY_MAGIC || !isStructured) throw broken('a reply does not begin as one');
    return this.#chunk();
  }

  /** The request of a reply's header: the cookie is in the same place in both forms. */
  #find(header: Buffer): Busy {
    const slot = this.#parts.slots.find(header.readUInt32BE(8), header.readUInt32BE(12));
    if (slot === undefined) throw broken('a reply to no request');
    return slot;
  }

  #simple(errno: number, slot: Busy): void {
    const { queue, isStructured } = this.#parts;
    queue.take(SIMPLE_REPLY_BYTES);
    const { type, data } = slot.request;
    if (errno !== 0) {
      slot.failure = { errno, message: '' };
      this.#answer(slot);
      return;
    }
    if (type === CMD.blockStatus || (type === CMD.read && isStructured))
      throw broken('a simple reply to what needs a structured one');
    if (type === CMD.read && data !== undefined) this.#filling = { slot, target: data, filledBytes: 0, isLast: true };
    else this.#answer(slot);
  }

  #chunk(): boolean {
    const { queue } = this.#parts;
    const header = queue.peek(CHUNK_HEADER_BYTES);
    if (header === undefined) return false;
    const isLast = (header.readUInt16BE(4) & CHUNK_FLAG_DONE) !== 0;
    const type = header.readUInt16BE(6);
    const length = header.readUInt32BE(16);
    const slot = this.#find(header);
    if (type === CHUNK.offsetData) return this.#data(slot, length, isLast);
    if (length > lengthMax(type)) throw broken(`a chunk of kind ${String(type)} with ${String(length)} bytes`);
    if (queue.length < CHUNK_HEADER_BYTES + length) return false;
    queue.take(CHUNK_HEADER_BYTES);
    const payload = queue.take(length);
    this.#payload(slot, type, payload);
    if (isLast) this.#finish(slot);
    return true;
  }

  /** Data of a read, which are not waited for: only what they begin with. */
  #data(slot: Busy, length: number, isLast: boolean): boolean {
    const { queue } = this.#parts;
    if (length <= DATA_PREFIX_BYTES) throw broken('a chunk of data without any');
    const head = queue.peek(CHUNK_HEADER_BYTES + DATA_PREFIX_BYTES);
    if (head === undefined) return false;
    const target = targetOf(slot, readOffset(head, CHUNK_HEADER_BYTES), length - DATA_PREFIX_BYTES);
    queue.take(CHUNK_HEADER_BYTES + DATA_PREFIX_BYTES);
    this.#filling = { slot, target, filledBytes: 0, isLast };
    return true;
  }

  #fill(filling: Filling): boolean {
    const { queue } = this.#parts;
    const { slot, target, filledBytes, isLast } = filling;
    const count = Math.min(queue.length, target.length - filledBytes);
    if (count > 0) {
      queue.takeInto(count === target.length ? target : target.subarray(filledBytes, filledBytes + count));
      filling.filledBytes += count;
    }
    if (filling.filledBytes < target.length) return false;
    this.#filling = undefined;
    slot.coveredBytes += target.length;
    if (isLast) this.#finish(slot);
    return true;
  }

  #payload(slot: Busy, type: number, payload: Buffer): void {
    if ((type & ERROR_BIT) !== 0) {
      slot.failure ??= readFailure(payload);
      return;
    }
    switch (type) {
      case CHUNK.none:
        if (payload.length > 0) throw broken('a chunk of nothing with bytes');
        return;
      case CHUNK.offsetHole: {
        if (payload.length !== 12) throw broken('a hole of an odd length');
        const target = targetOf(slot, readOffset(payload, 0), payload.readUInt32BE(8));
        target.fill(0);
        slot.coveredBytes += target.length;
        return;
      }
      case CHUNK.blockStatus:
        this.#status(slot, payload);
        return;
      default:
        throw broken(`a chunk of unknown kind ${String(type)}`);
    }
  }

  #status(slot: Busy, payload: Buffer): void {
    if (slot.request.type !== CMD.blockStatus) throw broken('block status that was not asked for');
    if (payload.length < 12 || payload.length % 8 !== 4) throw broken('block status of an odd length');
    if (payload.readUInt32BE(0) !== this.#parts.statusContext) return;
    slot.extents = readExtents(payload, slot.request.length);
  }

  #finish(slot: Busy): void {
    const { type, length } = slot.request;
    if (slot.failure === undefined) {
      if (type === CMD.read && slot.coveredBytes !== length) throw broken('a read with bytes too few or too many');
      if (type === CMD.blockStatus && slot.extents.length === 0) throw broken('no block status was told');
    }
    this.#answer(slot);
  }

  #answer(slot: Busy): void {
    const { request, failure, extents } = slot;
    this.#parts.slots.release(slot);
    request.answered(failure, extents);
  }
}

function lengthMax(type: number): number {
  if ((type & ERROR_BIT) !== 0) return ERROR_BYTES_MAX;
  return type === CHUNK.blockStatus ? STATUS_BYTES_MAX : 12;
}

/** The part of a read's memory that a chunk tells of. */
function targetOf({ request, coveredBytes }: Busy, offset: number, length: number): Buffer {
  const from = offset - request.offset;
  if (request.type !== CMD.read || request.data === undefined) throw broken('data that were not asked for');
  if (length <= 0 || from < 0 || from + length > request.length || coveredBytes + length > request.length)
    throw broken('data outside what was asked for');
  return length === request.length ? request.data : request.data.subarray(from, from + length);
}

/** Offsets beyond 2^53 lose their last bits and stay beyond every request. */
function readOffset(bytes: Buffer, at: number): number {
  if (bytes.length < at + 8) throw broken('a chunk that is too short');
  return bytes.readUInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
}

function readFailure(payload: Buffer): { readonly errno: number; readonly message: string } {
  if (payload.length < 6) throw broken('an error that is too short');
  const errno = payload.readUInt32BE(0);
  const end = 6 + payload.readUInt16BE(4);
  if (end > payload.length) throw broken('an error whose message is not there');
  return { errno: errno === 0 ? ERRNO.EIO : errno, message: payload.toString('utf8', 6, end) };
}

/** What of the extents lies within the request: the last may go beyond it. */
function readExtents(payload: Buffer, length: number): DeviceExtent[] {
  const extents: DeviceExtent[] = [];
  let left = length;
  for (let at = 4; at < payload.length && left > 0; at += 8) {
    const told = payload.readUInt32BE(at);
    const flags = payload.readUInt32BE(at + 4);
    if (told === 0) throw broken('an extent of no bytes');
    const own = Math.min(told, left);
    extents.push({ length: own, isHole: (flags & STATE.hole) !== 0, isZero: (flags & STATE.zero) !== 0 });
    left -= own;
  }
  return extents;
}

const broken = (what: string): SgwError =>
  new SgwError('unavailable', 'nbd-reply', `the NBD server does not keep to the protocol: ${what}`);
