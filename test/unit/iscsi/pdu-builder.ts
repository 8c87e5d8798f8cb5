/**
 * PDUs of the full feature phase as an initiator sends and reads them, written from RFC 7143 and apart from the server's own constants, so
 * that neither can hide a mistake of the other.
 */

export interface PduDigests {
  readonly header: boolean;
  readonly data: boolean;
}

export const NO_TAG = 0xffff_ffff;

/** CRC32C bit by bit (RFC 7143, 13.1), as it is sent. */
export function crc32c(bytes: Buffer): Buffer {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0x82f6_3b78);
  }
  const out = Buffer.alloc(4);
  out.writeUInt32LE(~crc >>> 0);
  return out;
}

export interface PduFields {
  /** Bytes 0 to 3. */
  readonly begin: readonly [number, number, number?, number?];
  /** Values of 32 bits by their offset. */
  readonly words?: Readonly<Record<number, number>>;
  /** Other bytes by their offset. */
  readonly bytes?: Readonly<Record<number, Buffer>>;
  readonly ahs?: Buffer;
  readonly data?: Buffer;
}

/** A PDU without digests, padded. */
export function pdu({
  begin,
  words = {},
  bytes = {},
  ahs = Buffer.alloc(0),
  data = Buffer.alloc(0),
}: PduFields): Buffer {
  const header = Buffer.alloc(48);
  header.set(begin.map((byte) => byte ?? 0));
  header[4] = ahs.length / 4;
  header.writeUIntBE(data.length, 5, 3);
  for (const [at, value] of Object.entries(words)) header.writeUInt32BE(value >>> 0, Number(at));
  for (const [at, value] of Object.entries(bytes)) value.copy(header, Number(at));
  return Buffer.concat([header, ahs, data, Buffer.alloc(-data.length & 3)]);
}

/** Puts digests into a PDU. */
export function withDigests(plain: Buffer, digests: PduDigests): Buffer {
  const headerBytes = 48 + (plain[4] ?? 0) * 4;
  const header = plain.subarray(0, headerBytes);
  const data = plain.subarray(headerBytes);
  return Buffer.concat([
    header,
    digests.header ? crc32c(header) : Buffer.alloc(0),
    data,
    digests.data && data.length > 0 ? crc32c(data) : Buffer.alloc(0),
  ]);
}

const LUN_0 = Buffer.alloc(8);

export interface CommandFields {
  readonly itt: number;
  readonly cmdSn: number;
  readonly expStatSn?: number;
  readonly cdb: Buffer;
  /** F, R, W and the task attribute. */
  readonly flags: number;
  readonly expected?: number;
  readonly lun?: Buffer;
  readonly isImmediate?: boolean;
  readonly ahs?: Buffer;
  readonly data?: Buffer;
}

export const READ = 0xc1;
export const WRITE = 0xa1;
/** More unasked data follow. */
export const WRITE_MORE = 0x21;
export const NO_DATA = 0x81;

export function command(fields: CommandFields): Buffer {
  const { itt, cmdSn, expStatSn = 0, cdb, flags, expected = 0, lun = LUN_0, isImmediate = false, ahs, data } = fields;
  return pdu({
    begin: [isImmediate ? 0x41 : 0x01, flags],
    words: { 16: itt, 20: expected, 24: cmdSn, 28: expStatSn },
    bytes: { 8: lun, 32: cdb.subarray(0, 16) },
    ...(ahs === undefined ? {} : { ahs }),
    ...(data === undefined ? {} : { data }),
  });
}

export interface DataOutFields {
  readonly itt: number;
  readonly ttt?: number;
  readonly dataSn?: number;
  readonly offset: number;
  readonly isFinal?: boolean;
  readonly data: Buffer;
}

export const dataOut = ({ itt, ttt = NO_TAG, dataSn = 0, offset, isFinal = true, data }: DataOutFields): Buffer =>
  pdu({ begin: [0x05, isFinal ? 0x80 : 0], words: { 16: itt, 20: ttt, 36: dataSn, 40: offset }, data });

export interface RequestFields {
  readonly itt?: number;
  readonly cmdSn: number;
  readonly isImmediate?: boolean;
}

const opcode = (code: number, { isImmediate = true }: RequestFields): number => (isImmediate ? 0x40 | code : code);

export const nopOut = (fields: RequestFields & { readonly ttt?: number; readonly data?: Buffer }): Buffer =>
  pdu({
    begin: [opcode(0x00, fields), 0x80],
    words: { 16: fields.itt ?? NO_TAG, 20: fields.ttt ?? NO_TAG, 24: fields.cmdSn },
    ...(fields.data === undefined ? {} : { data: fields.data }),
  });

export interface TaskRequestFields extends RequestFields {
  readonly function: number;
  readonly lun?: Buffer;
  readonly tag?: number;
  readonly refCmdSn?: number;
}

export const taskRequest = (fields: TaskRequestFields): Buffer =>
  pdu({
    begin: [opcode(0x02, fields), 0x80 | fields.function],
    words: { 16: fields.itt ?? 0, 20: fields.tag ?? NO_TAG, 24: fields.cmdSn, 32: fields.refCmdSn ?? 0 },
    bytes: { 8: fields.lun ?? LUN_0 },
  });

export const logout = (fields: RequestFields & { readonly reason?: number; readonly cid?: number }): Buffer =>
  pdu({
    begin: [opcode(0x06, fields), 0x80 | (fields.reason ?? 0)],
    words: { 16: fields.itt ?? 0, 20: (fields.cid ?? 0) << 16, 24: fields.cmdSn },
  });

export const textRequest = (fields: RequestFields & { readonly ttt?: number; readonly data: Buffer }): Buffer =>
  pdu({
    begin: [opcode(0x04, fields), 0x80],
    words: { 16: fields.itt ?? 0, 20: fields.ttt ?? NO_TAG, 24: fields.cmdSn },
    data: fields.data,
  });

/** What every response says. */
export interface Numbers {
  readonly statSn: number;
  readonly expCmdSn: number;
  readonly maxCmdSn: number;
}

const numbers = ({ statSn, expCmdSn, maxCmdSn }: Numbers): Record<number, number> => ({
  24: statSn,
  28: expCmdSn,
  32: maxCmdSn,
});

export interface ScsiResponseFields extends Numbers {
  readonly itt: number;
  readonly status?: number;
  /** Positive: overflow. */
  readonly residual?: number;
  readonly expDataSn?: number;
  readonly sense?: Buffer;
}

const residualFlags = (residual: number): number => (residual === 0 ? 0 : residual > 0 ? 0x04 : 0x02);

export function scsiResponse(fields: ScsiResponseFields): Buffer {
  const { itt, status = 0, residual = 0, expDataSn = 0, sense } = fields;
  const data = sense === undefined ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0, sense.length]), sense]);
  return pdu({
    begin: [0x21, 0x80 | residualFlags(residual), 0, status],
    words: { 16: itt, ...numbers(fields), 36: expDataSn, 44: Math.abs(residual) },
    data,
  });
}

/** Sense data in fixed format. */
export function fixedSense(key: number, asc: number): Buffer {
  const sense = Buffer.alloc(18);
  sense[0] = 0x70;
  sense[2] = key;
  sense[7] = 10;
  sense.writeUInt16BE(asc, 12);
  return sense;
}

export interface DataInFields extends Numbers {
  readonly itt: number;
  readonly dataSn?: number;
  readonly offset?: number;
  readonly isFinal?: boolean;
  /** With this, the PDU carries a status. */
  readonly status?: number;
  readonly residual?: number;
  readonly data: Buffer;
}

export function dataIn(fields: DataInFields): Buffer {
  const { itt, dataSn = 0, offset = 0, isFinal = true, status, residual = 0, data } = fields;
  const hasStatus = status !== undefined;
  const flags = (isFinal ? 0x80 : 0) | (hasStatus ? 0x01 | residualFlags(residual) : 0);
  return pdu({
    begin: [0x25, flags, 0, status ?? 0],
    words: {
      16: itt,
      20: NO_TAG,
      ...numbers(fields),
      24: hasStatus ? fields.statSn : 0,
      36: dataSn,
      40: offset,
      44: Math.abs(residual),
    },
    data,
  });
}

export interface R2tFields extends Numbers {
  readonly itt: number;
  readonly ttt: number;
  readonly r2tSn?: number;
  readonly offset: number;
  readonly length: number;
}

export const r2t = (fields: R2tFields): Buffer =>
  pdu({
    begin: [0x31, 0x80],
    words: {
      16: fields.itt,
      20: fields.ttt,
      ...numbers(fields),
      36: fields.r2tSn ?? 0,
      40: fields.offset,
      44: fields.length,
    },
  });

export const nopIn = (
  fields: Numbers & { readonly itt?: number; readonly ttt?: number; readonly data?: Buffer },
): Buffer =>
  pdu({
    begin: [0x20, 0x80],
    words: { 16: fields.itt ?? NO_TAG, 20: fields.ttt ?? NO_TAG, ...numbers(fields) },
    ...(fields.data === undefined ? {} : { data: fields.data }),
  });

export const taskResponse = (fields: Numbers & { readonly itt: number; readonly response?: number }): Buffer =>
  pdu({ begin: [0x22, 0x80, fields.response ?? 0], words: { 16: fields.itt, ...numbers(fields) } });

export const logoutResponse = (
  fields: Numbers & { readonly itt: number; readonly response?: number; readonly time2Wait?: number },
): Buffer =>
  pdu({
    begin: [0x26, 0x80, fields.response ?? 0],
    words: { 16: fields.itt, ...numbers(fields), 40: (fields.time2Wait ?? 0) << 16 },
  });

export const textResponse = (
  fields: Numbers & { readonly itt: number; readonly flags?: number; readonly ttt?: number; readonly data: Buffer },
): Buffer =>
  pdu({
    begin: [0x24, fields.flags ?? 0x80],
    words: { 16: fields.itt, 20: fields.ttt ?? NO_TAG, ...numbers(fields) },
    data: fields.data,
  });

export const asyncMessage = (
  fields: Numbers & { readonly event: number; readonly parameters: readonly number[] },
): Buffer => {
  const [first = 0, second = 0, third = 0] = fields.parameters;
  return pdu({
    begin: [0x32, 0x80],
    words: { 16: NO_TAG, ...numbers(fields), 36: (fields.event << 24) | first, 40: (second << 16) | third },
  });
};

/** `rejected` is the header of what was sent. */
export const reject = (fields: Numbers & { readonly reason: number; readonly rejected: Buffer }): Buffer =>
  pdu({
    begin: [0x3f, 0x80, fields.reason],
    words: { 16: NO_TAG, ...numbers(fields) },
    data: fields.rejected.subarray(0, 48 + (fields.rejected[4] ?? 0) * 4),
  });

/** CDBs of what the tests use, in blocks of 512 bytes. */
export const cdb = {
  testUnitReady: Buffer.alloc(16),
  inquiry: (allocation: number): Buffer => Buffer.from([0x12, 0, 0, allocation >> 8, allocation & 0xff, 0]),
  read: (block: number, blocks: number): Buffer => tenBytes(0x28, block, blocks),
  write: (block: number, blocks: number): Buffer => tenBytes(0x2a, block, blocks),
  flush: tenBytes(0x35, 0, 0),
};

function tenBytes(code: number, block: number, blocks: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes[0] = code;
  bytes.writeUInt32BE(block, 2);
  bytes.writeUInt16BE(blocks, 7);
  return bytes;
}
