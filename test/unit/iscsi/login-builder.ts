/** Login and text PDUs, built and read by offsets of RFC 7143 alone, not by the code under test. */
import { createHash } from 'node:crypto';

/** `key=value` strings, each with a NUL behind it. */
export const text = (...pairs: readonly string[]): Buffer => Buffer.from(pairs.map((pair) => `${pair}\0`).join(''));

export interface RequestFields {
  readonly opcode?: number;
  /** T, C, CSG, NSG of a login; F and C of a text request. */
  readonly flags: number;
  readonly versionMin?: number;
  readonly isid?: string;
  readonly tsih?: number;
  readonly itt?: number;
  readonly cid?: number;
  readonly cmdSn?: number;
  readonly expStatSn?: number;
}

export function loginHeader({
  opcode = 0x43,
  flags,
  versionMin = 0,
  isid = '00023d000001',
  tsih = 0,
  itt = 7,
  cid = 1,
  cmdSn = 100,
  expStatSn = 5,
}: RequestFields): Buffer {
  const header = Buffer.alloc(48);
  header[0] = opcode;
  header[1] = flags;
  header[3] = versionMin;
  header.write(isid, 8, 'hex');
  header.writeUInt16BE(tsih, 14);
  header.writeUInt32BE(itt, 16);
  header.writeUInt16BE(cid, 20);
  header.writeUInt32BE(cmdSn, 24);
  header.writeUInt32BE(expStatSn, 28);
  return header;
}

export function textHeader(fields: { flags?: number; itt?: number; ttt?: number }): Buffer {
  const header = Buffer.alloc(48);
  header[0] = 0x04;
  header[1] = fields.flags ?? 0x80;
  header.writeUInt32BE(fields.itt ?? 9, 16);
  header.writeUInt32BE(fields.ttt ?? 0xffff_ffff, 20);
  return header;
}

export interface Response {
  readonly transit: boolean;
  readonly isContinued: boolean;
  readonly csg: number;
  readonly nsg: number;
  readonly isid: string;
  readonly tsih: number;
  readonly itt: number;
  readonly statSn: number;
  readonly expCmdSn: number;
  readonly maxCmdSn: number;
  readonly status: number;
  readonly data: Buffer;
  readonly keys: readonly string[];
}

/** Reads a login response, and fails where it is none. */
export function readResponse(pdu: Buffer): Response {
  const length = pdu.readUIntBE(5, 3);
  if (pdu[0] !== 0x23 || pdu[4] !== 0) throw new Error('no login response');
  if (pdu[2] !== 0 || pdu[3] !== 0) throw new Error('another version');
  if (pdu.length !== 48 + Math.ceil(length / 4) * 4) throw new Error('a PDU of another length than it says');
  if (pdu.subarray(48 + length).some((byte) => byte !== 0)) throw new Error('padding is not zero');
  const data = pdu.subarray(48, 48 + length);
  const flags = pdu.readUInt8(1);
  return {
    transit: (flags & 0x80) !== 0,
    isContinued: (flags & 0x40) !== 0,
    csg: (flags >> 2) & 3,
    nsg: flags & 3,
    isid: pdu.toString('hex', 8, 14),
    tsih: pdu.readUInt16BE(14),
    itt: pdu.readUInt32BE(16),
    statSn: pdu.readUInt32BE(24),
    expCmdSn: pdu.readUInt32BE(28),
    maxCmdSn: pdu.readUInt32BE(32),
    status: pdu.readUInt16BE(36),
    data,
    keys: keysOf(data),
  };
}

export const keysOf = (data: Buffer): readonly string[] =>
  data
    .toString()
    .split('\0')
    .filter((pair) => pair !== '');

/** The value of a key in `key=value` strings. */
export function valueOf(keys: readonly string[], key: string): string | undefined {
  return keys.find((pair) => pair.startsWith(`${key}=`))?.slice(key.length + 1);
}

const HASHES: Readonly<Record<string, string>> = { '5': 'md5', '6': 'sha1', '7': 'sha256', '8': 'sha3-256' };

/** RFC 1994: what answers a challenge. */
export function chapAnswer(algorithm: string, identifier: number, secret: string, challenge: Buffer): Buffer {
  const input = Buffer.concat([Buffer.of(identifier), Buffer.from(secret, 'latin1'), challenge]);
  return createHash(HASHES[algorithm] ?? '')
    .update(input)
    .digest();
}
