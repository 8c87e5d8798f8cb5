/**
 * The transmission phase of one connection: requests in, replies out. What one read of the socket brought is parsed and handled
 * at once; most device calls are done when they return, so a batch of requests is answered by one write.
 *
 * States: running -> ending (no more requests are taken) -> idle (nothing under way). Invariants: requests under way and their
 * bytes stay within the limits, and so does what waits to be sent, or no further request is taken; each request gets
 * exactly one reply, unless the connection is gone.
 */
import type { BlockDevice, Completion, DeviceCall, WriteCall, ZeroCall } from '../blockdevice/index.ts';
import type { Arena, ByteQueue, InFlight, Lent, PooledBuffer, Room } from '../sockets/index.ts';
import { wireError } from './errors.ts';
import type { OpenedExport, StatusExtent } from './exports.ts';
import type { ConnectionLimits } from './limits.ts';
import type { Replies } from './replies.ts';
import { writeChunkHeader, writeSimple, type Cookie } from './replies.ts';
import { parseRequest, validateRequest, type Request } from './requests.ts';
import {
  CHUNK,
  CHUNK_HEADER_BYTES,
  CMD,
  CMD_FLAG,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES,
  STATE,
} from './wire.ts';

/** A metadata context that the client has chosen. */
export interface ChosenContext {
  readonly id: number;
  readonly name: string;
}

export interface TransmissionParts {
  readonly opened: OpenedExport;
  readonly isStructured: boolean;
  readonly contexts: readonly ChosenContext[];
  readonly queue: ByteQueue;
  readonly replies: Replies;
  /** Memory for what is written. */
  readonly payloads: Arena;
  readonly limits: ConnectionLimits;
  /** Of all connections of the server. */
  readonly inFlight: InFlight;
  readonly signal: AbortSignal;
  /** Requests wait that may not be taken yet: stop reading. */
  readonly onFull: () => void;
  /** They may be taken again. */
  readonly onRoom: () => void;
  /** The client is done, or does not keep to the protocol. */
  readonly onEnd: (reason: string | undefined) => void;
}

/** Offset of the data in an OFFSET_DATA chunk. */
const DATA_HEADER_BYTES = CHUNK_HEADER_BYTES + 8;
const STATUS_EXTENTS_MAX = 4096;

/** Writes of one batch that end with the same promise: a group commit. */
interface Group {
  readonly promise: Promise<void>;
  readonly cookies: Cookie[];
  bytes: number;
  /** Memory of payloads, until they were written. */
  readonly lent: PooledBuffer[];
}

/** A write whose payload is not all there yet. */
interface Incoming {
  readonly request: Request;
  readonly payload: Lent;
  filledBytes: number;
}

export class Transmission {
  readonly #parts: TransmissionParts;
  readonly #device: BlockDevice;
  readonly #call: DeviceCall;
  readonly #fuaCall: WriteCall;
  #requests = 0;
  #bytes = 0;
  #isFull = false;
  #isEnding = false;
  #group: Group | undefined;
  #incoming: Incoming | undefined;
  #onIdle: (() => void) | undefined;
  /** For status. */
  ops = 0;

  constructor(parts: TransmissionParts) {
    this.#parts = parts;
    this.#device = parts.opened.device;
    this.#call = { signal: parts.signal };
    this.#fuaCall = { signal: parts.signal, fua: true };
  }

  get opened(): OpenedExport {
    return this.#parts.opened;
  }

  /** Takes no more requests; resolves when those under way were answered. */
  async end(): Promise<void> {
    this.#isEnding = true;
    this.#incoming?.payload.buffer.release();
    this.#incoming = undefined;
    if (this.#requests === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** Handles the requests that are in the queue, as far as the limits allow. */
  consume(): void {
    const { replies } = this.#parts;
    let isMore = true;
    while (isMore) {
      // What was gathered up to the limit may leave at once, and make room.
      isMore = this.#takeRequests();
      this.#group = undefined;
      replies.flush();
      if (!this.#mayTake()) break;
    }
    this.#tellFull();
  }

  /** Takes requests until there is no whole one left, which is false, or no room for one more, which is true. */
  #takeRequests(): boolean {
    const { queue } = this.#parts;
    while (!this.#isEnding) {
      const incoming = this.#incoming;
      if (incoming !== undefined && !this.#fill(incoming)) return false;
      if (!this.#mayTake()) return true;
      if (incoming !== undefined) {
        this.#incoming = undefined;
        this.#handle(incoming.request, incoming.payload);
        continue;
      }
      const header = queue.peek(REQUEST_BYTES);
      if (header === undefined) return false;
      if (header.readUInt32BE(0) !== REQUEST_MAGIC) {
        this.#fail('a request does not begin as one');
        return false;
      }
      const request = parseRequest(header);
      const payloadBytes = request.type === CMD.write ? request.length : 0;
      if (payloadBytes > this.#device.limits.payloadBytesMax) {
        this.#fail(`a write of ${String(payloadBytes)} bytes is too long`);
        return false;
      }
      queue.take(REQUEST_BYTES);
      if (payloadBytes === 0) this.#handle(request, undefined);
      else this.#incoming = { request, payload: this.#parts.payloads.take(payloadBytes), filledBytes: 0 };
    }
    return false;
  }

  /** Takes what has come of a write's payload; whether that is all of it. */
  #fill(incoming: Incoming): boolean {
    const { queue } = this.#parts;
    const { bytes } = incoming.payload;
    const from = incoming.filledBytes;
    const count = Math.min(queue.length, bytes.length - from);
    if (count > 0) queue.takeInto(count === bytes.length ? bytes : bytes.subarray(from, from + count));
    incoming.filledBytes += count;
    return incoming.filledBytes === bytes.length;
  }

  #fail(reason: string): void {
    this.#isEnding = true;
    this.#parts.onEnd(reason);
  }

  #mayTake(): boolean {
    const { limits, inFlight, replies } = this.#parts;
    return (
      this.#requests < limits.requestsMax &&
      this.#bytes < limits.bytesMax &&
      inFlight.hasRoom &&
      replies.mayGather(limits)
    );
  }

  #tellFull(): void {
    const isFull = !this.#mayTake();
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    if (isFull) this.#parts.onFull();
    else this.#parts.onRoom();
  }

  /** The socket has sent what waited, or another connection made room. */
  roomAgain(): void {
    if (this.#isFull) this.consume();
  }

  #handle(request: Request, payload: Lent | undefined): void {
    this.ops += 1;
    const { opened, isStructured, contexts } = this.#parts;
    if (request.type === CMD.disconnect) {
      this.#isEnding = true;
      this.#parts.onEnd(undefined);
      return;
    }
    const bad = validateRequest(request, { opened, isStructured, hasContexts: contexts.length > 0 });
    if (bad !== undefined) {
      payload?.buffer.release();
      this.#refuse(request, bad.errno, bad.message);
      return;
    }
    if (request.type === CMD.read) this.#read(request);
    else if (request.type === CMD.blockStatus) this.#blockStatus(request);
    else this.#change(request, payload);
  }

  #refuse(request: Request, errno: number, message: string): void {
    const { isStructured, replies } = this.#parts;
    const isChunked = isStructured && (request.type === CMD.read || request.type === CMD.blockStatus);
    if (isChunked) replies.structuredError(errno, message, request.cookie);
    else replies.simple(errno, request.cookie);
  }

  #read(request: Request): void {
    const { isStructured, replies } = this.#parts;
    const { offset, length } = request;
    const head = isStructured ? DATA_HEADER_BYTES : SIMPLE_REPLY_BYTES;
    const room = replies.reserve(head + length);
    const dataAt = room.start + head;
    let completion: Completion;
    try {
      completion = this.#device.read(offset, room.buffer.bytes.subarray(dataAt, dataAt + length), this.#call);
    } catch (error) {
      replies.drop(room);
      this.#refuseFor(request, error);
      return;
    }
    if (completion === undefined) {
      this.#writeReadHeader(request, room);
      replies.keep(room);
      return;
    }
    replies.defer(room);
    this.#started(length);
    completion.then(
      () => {
        this.#writeReadHeader(request, room);
        replies.complete(room);
        this.#settled(1, length);
      },
      (error: unknown) => {
        this.#refuseFor(request, error);
        replies.schedule();
        this.#settled(1, length);
      },
    );
  }

  #writeReadHeader({ cookie, offset, length }: Request, { buffer: { bytes }, start }: Room): void {
    if (!this.#parts.isStructured) {
      writeSimple(bytes, start, 0, cookie.high, cookie.low);
      return;
    }
    writeChunkHeader(bytes, start, CHUNK.offsetData, cookie.high, cookie.low, length + 8);
    bytes.writeUInt32BE(Math.floor(offset / 0x1_0000_0000), start + CHUNK_HEADER_BYTES);
    bytes.writeUInt32BE(offset % 0x1_0000_0000, start + CHUNK_HEADER_BYTES + 4);
  }

  #refuseFor(request: Request, error: unknown): void {
    const { errno, message } = wireError(error);
    this.#refuse(request, errno, message);
  }

  /** Writes, flushes, trims, zeroes, advice. */
  #change(request: Request, payload: Lent | undefined): void {
    const { replies } = this.#parts;
    const lent = payload?.buffer;
    let completion: Completion;
    try {
      completion = this.#start(request, payload?.bytes);
    } catch (error) {
      lent?.release();
      this.#refuseFor(request, error);
      return;
    }
    if (completion === undefined) {
      lent?.release();
      replies.simple(0, request.cookie);
      return;
    }
    const bytes = payload?.bytes.length ?? 0;
    this.#started(bytes);
    const group = this.#group;
    if (group?.promise === completion) {
      group.cookies.push(request.cookie);
      group.bytes += bytes;
      if (lent !== undefined) group.lent.push(lent);
      return;
    }
    const lentOnes = lent === undefined ? [] : [lent];
    const started: Group = { promise: completion, cookies: [request.cookie], bytes, lent: lentOnes };
    this.#group = started;
    completion.then(
      () => {
        this.#answer(started, 0);
      },
      (error: unknown) => {
        this.#answer(started, wireError(error).errno);
      },
    );
  }

  #start({ type, flags, offset, length }: Request, payload: Buffer | undefined): Completion {
    const device = this.#device;
    const call = (flags & CMD_FLAG.fua) === 0 ? this.#call : this.#fuaCall;
    switch (type) {
      case CMD.write:
        return payload === undefined ? undefined : device.write(offset, payload, call);
      case CMD.flush:
        return device.flush(this.#call);
      case CMD.trim:
        return device.trim(offset, length, call);
      case CMD.cache:
        return device.prefetch(offset, length, this.#call);
      default: {
        const zeroes: ZeroCall = {
          ...call,
          mayTrim: (flags & CMD_FLAG.noHole) === 0,
          fastOnly: (flags & CMD_FLAG.fastZero) !== 0,
        };
        return device.writeZeroes(offset, length, zeroes);
      }
    }
  }

  #answer({ cookies, bytes, lent }: Group, errno: number): void {
    const { replies } = this.#parts;
    for (const one of lent) one.release();
    for (const cookie of cookies) replies.simple(errno, cookie);
    replies.schedule();
    this.#settled(cookies.length, bytes);
  }

  #blockStatus(request: Request): void {
    const { replies } = this.#parts;
    this.#started(0);
    this.#statusPayloads(request).then(
      (payloads) => {
        replies.statuses(payloads, request.cookie);
        replies.schedule();
        this.#settled(1, 0);
      },
      (error: unknown) => {
        this.#refuseFor(request, error);
        replies.schedule();
        this.#settled(1, 0);
      },
    );
  }

  /** A chunk's payload for each chosen context. */
  async #statusPayloads({ offset, length, flags }: Request): Promise<Buffer[]> {
    const { contexts, opened, signal } = this.#parts;
    const extentsMax = (flags & CMD_FLAG.reqOne) === 0 ? STATUS_EXTENTS_MAX : 1;
    const payloads: Buffer[] = [];
    for (const { id, name } of contexts) {
      const own = opened.contexts.find((context) => context.name === name);
      const extents =
        own === undefined
          ? (await this.#device.extents(offset, length, extentsMax, this.#call)).map((extent) => ({
              length: extent.length,
              flags: (extent.isHole ? STATE.hole : 0) | (extent.isZero ? STATE.zero : 0),
            }))
          : await own.query(offset, length, extentsMax, signal);
      payloads.push(statusPayload(id, extents.slice(0, extentsMax)));
    }
    return payloads;
  }

  #started(bytes: number): void {
    this.#requests += 1;
    this.#bytes += bytes;
    this.#parts.inFlight.add(bytes);
  }

  #settled(requests: number, bytes: number): void {
    this.#requests -= requests;
    this.#bytes -= bytes;
    this.#parts.inFlight.remove(bytes);
    if (this.#requests === 0) this.#onIdle?.();
    if (this.#isFull) this.consume();
  }
}

function statusPayload(id: number, extents: readonly StatusExtent[]): Buffer {
  const payload = Buffer.alloc(4 + extents.length * 8);
  payload.writeUInt32BE(id, 0);
  extents.forEach((extent, i) => {
    payload.writeUInt32BE(extent.length, 4 + i * 8);
    payload.writeUInt32BE(extent.flags, 8 + i * 8);
  });
  return payload;
}
