/**
 * PDUs out of bytes (RFC 7143, 11.2): header, additional headers, digests, data segment, padding. Knows of no socket; what is
 * in a header is read by who handles it.
 */
import { assert, SgwError } from '../kit/index.ts';
import type { ByteQueue } from '../sockets/index.ts';
import { dataDigest, digestOf } from './digest.ts';
import { AT, BHS_BYTES, DIGEST_BYTES, IMMEDIATE, OPCODE_MASK } from './wire.ts';

export interface Digests {
  readonly header: boolean;
  readonly data: boolean;
}

export const NO_DIGESTS: Digests = { header: false, data: false };

/** The connection can not go on: what follows can't be told apart. */
export class FramingError extends SgwError {
  constructor(message: string) {
    super('invalid', 'iscsi-framing', message);
  }
}

/** Additional headers that are taken; SCSI commands of more than 16 bytes have one. */
const AHS_WORDS_MAX = 64;

export class PduReader {
  readonly #queue: ByteQueue;
  readonly #dataBytesMax: number;
  #digests: Digests = NO_DIGESTS;
  /** Of the header that was taken last. */
  #dataLength = 0;
  #filled = 0;

  constructor(queue: ByteQueue, dataBytesMax: number) {
    this.#queue = queue;
    this.#dataBytesMax = dataBytesMax;
  }

  /** From the next PDU on. */
  setDigests(digests: Digests): void {
    this.#digests = digests;
  }

  /** Bytes of the data segment that belongs to the header that was taken last. */
  get dataLength(): number {
    return this.#dataLength;
  }

  /**
   * Takes the next header with its additional headers; undefined when it is not all there. The bytes are good until more is
   * received. Its data is to be taken before the next header.
   * @throws FramingError: a wrong digest, or a PDU that is longer than what was declared
   */
  header(): Buffer | undefined {
    const bhs = this.#queue.peek(BHS_BYTES);
    if (bhs === undefined) return undefined;
    const words = bhs[AT.totalAhsWords] ?? 0;
    const dataLength = bhs.readUIntBE(AT.dataLength, 3);
    if (words > AHS_WORDS_MAX) throw new FramingError(`additional headers of ${String(words * 4)} bytes are too long`);
    if (dataLength > this.#dataBytesMax)
      throw new FramingError(`a data segment of ${String(dataLength)} bytes is too long`);
    const headerBytes = BHS_BYTES + words * 4;
    if (!this.#digests.header) {
      if (this.#queue.length < headerBytes) return undefined;
      this.#began(dataLength);
      return this.#queue.take(headerBytes);
    }
    if (this.#queue.length < headerBytes + DIGEST_BYTES) return undefined;
    const bytes = this.#queue.take(headerBytes + DIGEST_BYTES);
    const header = bytes.subarray(0, headerBytes);
    if (digestOf(header) !== bytes.readUInt32LE(headerBytes)) throw new FramingError('a header has a wrong digest');
    this.#began(dataLength);
    return header;
  }

  #began(dataLength: number): void {
    this.#dataLength = dataLength;
    this.#filled = 0;
  }

  /**
   * Takes what is there of the data segment into `target`, which has its length. `more`: call again when more is received;
   * `damaged`: the whole segment is there, and its digest is wrong.
   */
  data(target: Buffer): 'more' | 'whole' | 'damaged' {
    const length = this.#dataLength;
    assert(target.length === length, 'a data segment has a target of its length');
    const count = Math.min(this.#queue.length, length - this.#filled);
    if (count > 0)
      this.#queue.takeInto(count === length ? target : target.subarray(this.#filled, this.#filled + count));
    this.#filled += count;
    if (this.#filled < length) return 'more';
    const pad = -length & 3;
    const hasDigest = this.#digests.data && length > 0;
    const tail = pad + (hasDigest ? DIGEST_BYTES : 0);
    if (this.#queue.length < tail) return 'more';
    if (tail === 0) return 'whole';
    const bytes = this.#queue.take(tail);
    return hasDigest && digestWithPadding(target, bytes.subarray(0, pad)) !== bytes.readUInt32LE(pad)
      ? 'damaged'
      : 'whole';
  }
}

/** Padding is covered as it was sent, whatever that was. */
function digestWithPadding(data: Buffer, padding: Buffer): number {
  return padding.length === 0 ? digestOf(data) : digestOf(padding, digestOf(data));
}

/** How many bytes a PDU without additional headers takes. */
export function pduBytes(dataLength: number, digests: Digests): number {
  const data = dataLength === 0 ? 0 : ((dataLength + 3) & ~3) + (digests.data ? DIGEST_BYTES : 0);
  return BHS_BYTES + (digests.header ? DIGEST_BYTES : 0) + data;
}

/** Where the data segment begins. */
export const dataAt = (digests: Digests): number => BHS_BYTES + (digests.header ? DIGEST_BYTES : 0);

/**
 * Finishes a PDU whose header, but for its length, and data stand in `bytes` from `start` on: length, padding, digests. `bytes`
 * has `pduBytes` of room there.
 */
export function sealPdu(bytes: Buffer, start: number, dataLength: number, digests: Digests): void {
  sealHeader(bytes, start, dataLength, digests);
  if (dataLength === 0) return;
  const at = start + dataAt(digests);
  sealData(bytes.subarray(at, at + dataLength), bytes, at + dataLength, digests);
}

/** Finishes a header whose data stand somewhere else. `bytes` has `dataAt` of room from `start` on. */
export function sealHeader(bytes: Buffer, start: number, dataLength: number, digests: Digests): void {
  bytes[start + AT.totalAhsWords] = 0;
  bytes.writeUIntBE(dataLength, start + AT.dataLength, 3);
  if (digests.header) bytes.writeUInt32LE(digestOf(bytes.subarray(start, start + BHS_BYTES)), start + BHS_BYTES);
}

/** Writes what comes behind data, `dataTailBytes` of it, at `end` of `bytes`. */
export function sealData(data: Buffer, bytes: Buffer, end: number, digests: Digests): void {
  const pad = -data.length & 3;
  if (pad > 0) bytes.fill(0, end, end + pad);
  if (digests.data) bytes.writeUInt32LE(dataDigest(data), end + pad);
}

/** How many bytes of padding and digest come behind data. */
export const dataTailBytes = (dataLength: number, digests: Digests): number =>
  (-dataLength & 3) + (digests.data ? DIGEST_BYTES : 0);

export const opcodeOf = (header: Buffer): number => (header[0] ?? 0) & OPCODE_MASK;

/** Whether a request is to be handled at once, whatever the order of the others. */
export const isImmediate = (header: Buffer): boolean => ((header[0] ?? 0) & IMMEDIATE) !== 0;
