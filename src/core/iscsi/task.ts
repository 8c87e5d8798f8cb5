/**
 * A SCSI command of an initiator, from its PDU to its response, and the data that it brings (RFC 7143, 11.3, 11.7, 11.8).
 *
 * Data come in sequences: what the initiator sends unasked, then what it is asked for (R2T). Both keep to the order of offsets, as
 * DataPDUInOrder and DataSequenceInOrder are always agreed on. Invariants: data are at most once in their place; a task that failed
 * while data come waits for the ends of the sequences, and its response comes behind them.
 */
import { assert } from '../kit/index.ts';
import type { Arena, BufferPool, Lent, PooledBuffer, Room } from '../sockets/index.ts';
import type { Responses } from './responses.ts';
import type { ScsiCommand, ScsiResult } from './scsi/index.ts';
import { AT, COMMAND_FLAG, FINAL, IMMEDIATE, NO_TAG, plus, SENSE } from './wire.ts';

/** The connection that a task belongs to. */
export interface TaskConnection {
  readonly responses: Responses;
  /** Memory for what is written. */
  readonly payloads: Arena;
  readonly pool: BufferPool;
  /** Data segments that the initiator takes. */
  readonly segmentMax: number;
}

/** What is agreed of unasked data. */
export interface UnsolicitedRules {
  readonly immediateData: boolean;
  readonly initialR2t: boolean;
  readonly firstBurstLength: number;
}

/** Data-Out PDUs that belong together; the last has the F bit. */
interface Sequence {
  /** NO_TAG: unasked. */
  readonly ttt: number;
  /** Offsets of its first byte, and behind its last one. */
  readonly start: number;
  readonly end: number;
  receivedBytes: number;
  dataSn: number;
}

/** A Data-Out PDU. */
export interface DataOut {
  readonly ttt: number;
  readonly dataSn: number;
  readonly offset: number;
  readonly length: number;
  readonly isFinal: boolean;
}

export const parseDataOut = (header: Buffer, length: number): DataOut => ({
  ttt: header.readUInt32BE(AT.targetTransferTag),
  dataSn: header.readUInt32BE(36),
  offset: header.readUInt32BE(40),
  length,
  isFinal: ((header[AT.flags] ?? 0) & FINAL) !== 0,
});

export class Task {
  readonly connection: TaskConnection;
  readonly itt: number;
  readonly cmdSn: number;
  readonly isImmediate: boolean;
  /** By its task attribute. */
  readonly isOrdered: boolean;
  readonly isRead: boolean;
  readonly isWrite: boolean;
  /** Expected Data Transfer Length. */
  readonly expectedBytes: number;
  /** The PDU's header with its additional ones. Its memory is the task's from `own` on. */
  header: Buffer;
  lun: Buffer;
  cdb: Buffer;
  /** Undefined until it was its turn. */
  command: ScsiCommand | undefined;
  /** What the command takes of the data; known when it was its turn. */
  neededBytes = 0;
  /** How it ends without having run. */
  refusal: ScsiResult | undefined;
  payload: Lent | undefined;
  /** Data that have come, with those beyond what is needed. */
  filledBytes = 0;
  /** How far the initiator was asked, or has sent or will send unasked. */
  askedBytes = 0;
  r2tSn = 0;
  /** Why it fails: sense data. */
  failure: Buffer | undefined;
  /** Where a command reads to: in the output, or in memory of its own. */
  room: Room | undefined;
  dataIn: PooledBuffer | undefined;
  dataInBytes = 0;
  /** What it is counted with among what is under way. */
  chargedBytes = 0;
  /** The same while it waits. */
  heldBytes = 0;
  isStarted = false;
  isKnown = false;
  /** The device server has it; `isExecuting` until it answers or makes a promise. */
  isRunning = false;
  isExecuting = false;
  isAborted = false;
  isEnded = false;
  abort: AbortController | undefined;
  #sequences: Sequence[] | undefined;
  #onEnded: (() => void)[] | undefined;

  /** `header` is good until the caller's next read of the socket. */
  constructor(connection: TaskConnection, header: Buffer, payload: Lent | undefined) {
    this.connection = connection;
    this.header = header;
    const flags = header[AT.flags] ?? 0;
    this.itt = header.readUInt32BE(AT.initiatorTaskTag);
    this.cmdSn = header.readUInt32BE(AT.cmdSn);
    this.isImmediate = ((header[0] ?? 0) & IMMEDIATE) !== 0;
    this.isOrdered = (flags & COMMAND_FLAG.attributes) === ATTRIBUTE_ORDERED;
    this.isRead = (flags & COMMAND_FLAG.read) !== 0;
    this.isWrite = (flags & COMMAND_FLAG.write) !== 0;
    this.expectedBytes = header.readUInt32BE(20);
    this.lun = header.subarray(AT.lun, AT.lun + 8);
    this.cdb = cdbOf(header);
    this.payload = payload;
  }

  /** Keeps the header beyond the caller's turn. */
  own(): void {
    this.header = Buffer.from(this.header);
    this.lun = this.header.subarray(AT.lun, AT.lun + 8);
    this.cdb = cdbOf(this.header);
  }

  /** Takes note of the immediate data, and of what else the initiator says to send unasked. */
  begin(immediateBytes: number, rules: UnsolicitedRules): void {
    const isMore = ((this.header[AT.flags] ?? 0) & FINAL) === 0;
    this.filledBytes = immediateBytes;
    this.askedBytes = immediateBytes;
    if (immediateBytes === 0 && !isMore) return;
    const unaskedMax = this.isWrite ? Math.min(this.expectedBytes, rules.firstBurstLength) : 0;
    if (immediateBytes > 0 && !rules.immediateData) this.fail(SENSE.unexpectedUnsolicited);
    if (immediateBytes > unaskedMax) this.fail(SENSE.incorrectAmount);
    if (!isMore) return;
    if (rules.initialR2t) this.fail(SENSE.unexpectedUnsolicited);
    this.#expect(NO_TAG, Math.max(unaskedMax - immediateBytes, 0));
  }

  #expect(ttt: number, length: number): void {
    const start = this.askedBytes;
    this.#sequences ??= [];
    this.#sequences.push({ ttt, start, end: start + length, receivedBytes: 0, dataSn: 0 });
    this.askedBytes = start + length;
  }

  /** Data come that the task waits for. */
  get isReceiving(): boolean {
    return this.#sequences !== undefined && this.#sequences.length > 0;
  }

  get r2tsOutstanding(): number {
    return this.#sequences?.length ?? 0;
  }

  /** Whether data with this tag are to come. */
  expects(ttt: number): boolean {
    return this.#sequences?.some((sequence) => sequence.ttt === ttt) ?? false;
  }

  /** The first failure is the one that is told. */
  fail(sense: Buffer): void {
    this.failure ??= sense;
  }

  /** Asks for the next `length` bytes. */
  ask(ttt: number, length: number): void {
    const offset = this.askedBytes;
    this.#expect(ttt, length);
    this.connection.responses.r2t(this.lun, this.itt, ttt, this.r2tSn, offset, length);
    this.r2tSn += 1;
  }

  /** Makes the payload's memory at least so long. */
  grow(bytes: number): void {
    const old = this.payload;
    if (old !== undefined && old.bytes.length >= bytes) return;
    const grown = this.connection.payloads.take(bytes);
    if (old !== undefined) {
      old.bytes.copy(grown.bytes);
      old.buffer.release();
    }
    this.payload = grown;
  }

  /** Checks a Data-Out PDU before its data are taken (11.7, 7.9). The task fails where it is not what was expected. */
  check({ ttt, dataSn, offset, length }: DataOut): void {
    const sequence = this.#sequences?.find((one) => one.ttt === ttt);
    if (sequence === undefined) {
      this.fail(ttt === NO_TAG ? SENSE.unexpectedUnsolicited : SENSE.invalidTransferTag);
      return;
    }
    // A number that is not the next one tells of a PDU that was lost.
    if (dataSn !== sequence.dataSn) this.fail(SENSE.crc);
    sequence.dataSn = plus(sequence.dataSn, 1);
    if (offset !== this.filledBytes || sequence !== this.#sequences?.[0]) this.fail(SENSE.dataOffset);
    if (offset + length > sequence.end) this.fail(SENSE.incorrectAmount);
  }

  /** Where the next `length` bytes go; undefined: nowhere, or only some of them. */
  place(length: number): Buffer | undefined {
    const { payload, filledBytes } = this;
    if (payload === undefined || this.failure !== undefined || this.isEnded) return undefined;
    if (filledBytes + length > payload.bytes.length) return undefined;
    return payload.bytes.subarray(filledBytes, filledBytes + length);
  }

  /** A Data-Out PDU is there, in its place or, where it had none, in `data`. Returns whether it was the last of its sequence. */
  received({ ttt, length, isFinal }: DataOut, data: Buffer | undefined): boolean {
    const at = this.#sequences?.findIndex((one) => one.ttt === ttt) ?? -1;
    const sequence = this.#sequences?.[at];
    if (sequence === undefined) return false;
    const { payload, filledBytes } = this;
    if (data !== undefined && payload !== undefined && this.failure === undefined && filledBytes < payload.bytes.length)
      data.copy(payload.bytes, filledBytes, 0, payload.bytes.length - filledBytes);
    this.filledBytes += length;
    sequence.receivedBytes += length;
    const isWhole = sequence.start + sequence.receivedBytes >= sequence.end;
    // Less than allowed may come unasked; what was asked for is owed.
    if (isFinal !== isWhole && !(isFinal && ttt === NO_TAG)) this.fail(SENSE.incorrectAmount);
    if (!isFinal && !isWhole) return false;
    if (ttt === NO_TAG) this.askedBytes = this.filledBytes;
    this.#sequences?.splice(at, 1);
    return true;
  }

  /** What has come of the data that the command takes. */
  get dataOut(): Buffer {
    const bytes = this.payload?.bytes;
    if (bytes === undefined) return NOTHING;
    const count = Math.min(this.neededBytes, this.filledBytes);
    return bytes.length === count ? bytes : bytes.subarray(0, count);
  }

  /** Lets go of the payload's memory. */
  releasePayload(): void {
    this.payload?.buffer.release();
    this.payload = undefined;
  }

  /** Calls `tell` when it has ended. */
  whenEnded(tell: () => void): void {
    this.#onEnded ??= [];
    this.#onEnded.push(tell);
  }

  /** Called once. */
  ended(): void {
    assert(!this.isEnded, 'a task ends once');
    this.isEnded = true;
    this.releasePayload();
    this.#sequences = undefined;
    if (this.#onEnded !== undefined) for (const tell of this.#onEnded) tell();
  }
}

const NOTHING = Buffer.alloc(0);
/** 11.3.1.1 */
const ATTRIBUTE_ORDERED = 2;

/** 11.2.2.3: an additional header with the bytes of a CDB beyond the 16 of the command PDU. */
const AHS_EXTENDED_CDB = 1;
const AHS_BIDI_READ = 2;
const CDB_AT = 32;
const CDB_END = 48;

function cdbOf(header: Buffer): Buffer {
  const cdb = header.subarray(CDB_AT, CDB_END);
  if (header.length === CDB_END) return cdb;
  const more = additional(header, AHS_EXTENDED_CDB);
  // The first byte is reserved.
  return more === undefined ? cdb : Buffer.concat([cdb, more.subarray(1)]);
}

/** A command that reads and writes at once. */
export const isBidirectional = (task: Task): boolean =>
  (task.isRead && task.isWrite) || additional(task.header, AHS_BIDI_READ) !== undefined;

/** The content of an additional header; undefined when there is none of that type. */
function additional(header: Buffer, type: number): Buffer | undefined {
  for (let at = CDB_END; at + 4 <= header.length;) {
    const length = header.readUInt16BE(at);
    if (((header[at + 2] ?? 0) & 0x3f) === type) return header.subarray(at + 3, at + 3 + length);
    at += (3 + length + 3) & ~3;
  }
  return undefined;
}
