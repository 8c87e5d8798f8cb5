/**
 * The responses of one connection: PDUs behind one another in its output. StatSN, ExpCmdSN and MaxCmdSN are given when a PDU takes its place
 * there, so that their order is that of the wire (RFC 7143, 4.2.2).
 */
import type { Writable } from 'node:stream';
import { Output, type BufferPool, type InFlight, type PooledBuffer, type Room } from '../sockets/index.ts';
import { dataAt, dataTailBytes, pduBytes, sealData, sealHeader, sealPdu, type Digests } from './pdu.ts';
import { AT, BHS_BYTES, FINAL, NO_TAG, plus, RESPONSE, RESPONSE_FLAG } from './wire.ts';

/** What every response says of the commands that may come. */
export interface CommandWindow {
  readonly expCmdSn: number;
  readonly maxCmdSn: number;
}

export interface ResponseParts {
  readonly socket: Writable;
  readonly pool: BufferPool;
  /** Of all connections of the server: what their initiators have not taken yet. */
  readonly unsent: InFlight;
  readonly window: CommandWindow;
  readonly digests: Digests;
  /** StatSN of the first response. */
  readonly nextStatSn: number;
}

/** How a SCSI command ended. */
export interface Outcome {
  readonly itt: number;
  readonly status: number;
  /** Bytes that the command had beyond what was expected; negative: that it had less. */
  readonly residual: number;
}

/** The fields of a Data-In PDU beside those of its command. */
interface DataIn {
  readonly itt: number;
  readonly dataSn: number;
  readonly offset: number;
  readonly isFinal: boolean;
}

/** A data segment is split at multiples of this. */
const unit = (length: number): number => length & ~3;

export class Responses extends Output {
  readonly digests: Digests;
  /** Offset of data in a PDU. */
  readonly dataAt: number;
  readonly #window: CommandWindow;
  #nextStatSn: number;

  constructor({ socket, pool, unsent, window, digests, nextStatSn }: ResponseParts) {
    super(socket, pool, unsent);
    this.#window = window;
    this.digests = digests;
    this.dataAt = dataAt(digests);
    this.#nextStatSn = nextStatSn;
  }

  /** 11.4 */
  scsi({ itt, status, residual }: Outcome, expDataSn: number, sense: Buffer | undefined): void {
    const dataLength = sense === undefined ? 0 : sense.length + 2;
    const room = this.#begin(RESPONSE.scsi, itt, dataLength, true);
    const { bytes } = room.buffer;
    const at = room.start;
    bytes[at + AT.flags] = FINAL | residualFlag(residual);
    bytes[at + 3] = status;
    bytes.writeUInt32BE(expDataSn, at + 36);
    bytes.writeUInt32BE(residualCount(residual), at + 44);
    if (sense !== undefined) {
      bytes.writeUInt16BE(sense.length, at + this.dataAt);
      sense.copy(bytes, at + this.dataAt + 2);
    }
    this.#finish(room, dataLength);
  }

  /** Room for a Data-In PDU with `length` bytes of data, which stand from `dataAt` on. */
  reserveData(length: number): Room {
    return this.reserve(pduBytes(length, this.digests));
  }

  /** 11.7: completes a room of `reserveData` with its first `length` bytes of data and the status; `isDeferred` as Output means it. */
  dataWithStatus(room: Room, length: number, outcome: Outcome, isDeferred: boolean): void {
    const { bytes } = room.buffer;
    this.#dataHeader(bytes, room.start, { itt: outcome.itt, dataSn: 0, offset: 0, isFinal: true }, outcome);
    sealPdu(bytes, room.start, length, this.digests);
    const total = pduBytes(length, this.digests);
    const filled = total === room.length ? room : { ...room, length: total };
    if (isDeferred) this.complete(filled, true);
    else this.keep(filled);
  }

  /**
   * 11.7: sends the first `length` bytes of a buffer in PDUs of at most `segmentMax` and sequences of at most `burstMax` bytes, the
   * last with the status when there is an outcome. The buffer goes back when they were sent. Returns how many PDUs it were.
   */
  dataSequences(
    buffer: PooledBuffer,
    length: number,
    { segmentMax, burstMax }: { readonly segmentMax: number; readonly burstMax: number },
    itt: number,
    outcome: Outcome | undefined,
  ): number {
    const { digests } = this;
    let dataSn = 0;
    let burstLeft = unit(burstMax);
    for (let offset = 0; offset < length; dataSn++) {
      const part = Math.min(unit(segmentMax), burstLeft, length - offset);
      const isLast = offset + part === length;
      burstLeft -= part;
      const head = this.reserve(this.dataAt);
      const fields = { itt, dataSn, offset, isFinal: isLast || burstLeft === 0 };
      this.#dataHeader(head.buffer.bytes, head.start, fields, isLast ? outcome : undefined);
      sealHeader(head.buffer.bytes, head.start, part, digests);
      this.keep(head);
      buffer.hold();
      this.complete({ buffer, start: offset, length: part }, true);
      const tailBytes = dataTailBytes(part, digests);
      if (tailBytes > 0) {
        const tail = this.reserve(tailBytes);
        sealData(buffer.bytes.subarray(offset, offset + part), tail.buffer.bytes, tail.start, digests);
        this.keep(tail);
      }
      if (burstLeft === 0) burstLeft = unit(burstMax);
      offset += part;
    }
    buffer.release();
    return dataSn;
  }

  #dataHeader(
    bytes: Buffer,
    at: number,
    { itt, dataSn, offset, isFinal }: DataIn,
    outcome: Pick<Outcome, 'status' | 'residual'> | undefined,
  ): void {
    this.#header(bytes, at, RESPONSE.dataIn, itt);
    bytes.writeUInt32BE(NO_TAG, at + AT.targetTransferTag);
    bytes[at + AT.flags] = isFinal ? FINAL : 0;
    bytes.writeUInt32BE(dataSn, at + 36);
    bytes.writeUInt32BE(offset, at + 40);
    if (outcome === undefined) return;
    bytes[at + AT.flags] = FINAL | RESPONSE_FLAG.status | residualFlag(outcome.residual);
    bytes[at + 3] = outcome.status;
    bytes.writeUInt32BE(this.#takeStatSn(), at + AT.statSn);
    bytes.writeUInt32BE(residualCount(outcome.residual), at + 44);
  }

  /** 11.8: asks for data. StatSN is not used up. */
  r2t(lun: Buffer, itt: number, ttt: number, r2tSn: number, offset: number, length: number): void {
    const room = this.#begin(RESPONSE.r2t, itt, 0, false);
    const { bytes } = room.buffer;
    const at = room.start;
    lun.copy(bytes, at + AT.lun);
    bytes.writeUInt32BE(ttt, at + AT.targetTransferTag);
    bytes.writeUInt32BE(r2tSn, at + 36);
    bytes.writeUInt32BE(offset, at + 40);
    bytes.writeUInt32BE(length, at + 44);
    this.#finish(room, 0);
  }

  /** 11.6 */
  taskManagement(itt: number, response: number): void {
    const room = this.#begin(RESPONSE.taskManagement, itt, 0, true);
    room.buffer.bytes[room.start + 2] = response;
    this.#finish(room, 0);
  }

  /** 11.19: the answer to a ping. */
  pong(itt: number, lun: Buffer, data: Buffer): void {
    const room = this.#begin(RESPONSE.nopIn, itt, data.length, true);
    const { bytes } = room.buffer;
    lun.copy(bytes, room.start + AT.lun);
    bytes.writeUInt32BE(NO_TAG, room.start + AT.targetTransferTag);
    data.copy(bytes, room.start + this.dataAt);
    this.#finish(room, data.length);
  }

  /** 11.19: tells of the command window. */
  window(): void {
    this.ping(NO_TAG);
  }

  /** 11.19: a ping of our own. StatSN is not used up. */
  ping(ttt: number): void {
    const room = this.#begin(RESPONSE.nopIn, NO_TAG, 0, false);
    room.buffer.bytes.writeUInt32BE(ttt, room.start + AT.targetTransferTag);
    this.#finish(room, 0);
  }

  /** 11.11: `flags` are F and C. */
  text(itt: number, ttt: number, flags: number, data: Buffer): void {
    const room = this.#begin(RESPONSE.text, itt, data.length, true);
    const { bytes } = room.buffer;
    bytes[room.start + AT.flags] = flags;
    bytes.writeUInt32BE(ttt, room.start + AT.targetTransferTag);
    data.copy(bytes, room.start + this.dataAt);
    this.#finish(room, data.length);
  }

  /** 11.15; times in seconds. */
  logout(itt: number, response: number, time2Wait: number, time2Retain: number): void {
    const room = this.#begin(RESPONSE.logout, itt, 0, true);
    const { bytes } = room.buffer;
    bytes[room.start + 2] = response;
    bytes.writeUInt16BE(time2Wait, room.start + 40);
    bytes.writeUInt16BE(time2Retain, room.start + 42);
    this.#finish(room, 0);
  }

  /** 11.9: an event of iSCSI with its three parameters. */
  event(code: number, parameters: readonly [number, number, number]): void {
    const room = this.#begin(RESPONSE.async, NO_TAG, 0, true);
    const { bytes } = room.buffer;
    bytes[room.start + 36] = code;
    parameters.forEach((value, i) => {
      bytes.writeUInt16BE(value, room.start + 38 + i * 2);
    });
    this.#finish(room, 0);
  }

  /** 11.17: with the header of what is rejected. */
  reject(reason: number, header: Buffer): void {
    const room = this.#begin(RESPONSE.reject, NO_TAG, header.length, true);
    const { bytes } = room.buffer;
    bytes[room.start + 2] = reason;
    header.copy(bytes, room.start + this.dataAt);
    this.#finish(room, header.length);
  }

  /** Room for a PDU with its header begun. `usesStatSn`: the initiator acknowledges it. */
  #begin(opcode: number, itt: number, dataLength: number, usesStatSn: boolean): Room {
    const room = this.reserve(pduBytes(dataLength, this.digests));
    const { bytes } = room.buffer;
    this.#header(bytes, room.start, opcode, itt);
    bytes.writeUInt32BE(usesStatSn ? this.#takeStatSn() : this.#nextStatSn, room.start + AT.statSn);
    return room;
  }

  #header(bytes: Buffer, at: number, opcode: number, itt: number): void {
    bytes.fill(0, at, at + BHS_BYTES);
    bytes[at] = opcode;
    bytes[at + AT.flags] = FINAL;
    bytes.writeUInt32BE(itt, at + AT.initiatorTaskTag);
    bytes.writeUInt32BE(this.#window.expCmdSn, at + AT.expCmdSn);
    bytes.writeUInt32BE(this.#window.maxCmdSn, at + AT.maxCmdSn);
  }

  #finish(room: Room, dataLength: number): void {
    sealPdu(room.buffer.bytes, room.start, dataLength, this.digests);
    this.keep(room);
  }

  #takeStatSn(): number {
    const statSn = this.#nextStatSn;
    this.#nextStatSn = plus(statSn, 1);
    return statSn;
  }
}

const residualFlag = (residual: number): number => {
  if (residual === 0) return 0;
  return residual > 0 ? RESPONSE_FLAG.overflow : RESPONSE_FLAG.underflow;
};

const residualCount = (residual: number): number => Math.min(Math.abs(residual), 0xffff_ffff);
