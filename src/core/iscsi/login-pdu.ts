/** Login requests out of headers, and login responses (RFC 7143, 11.12 and 11.13). */
import { NO_DIGESTS, pduBytes, sealPdu } from './pdu.ts';
import { AT, BHS_BYTES, LOGIN_FLAG, RESPONSE } from './wire.ts';

export interface LoginRequest {
  readonly isTransit: boolean;
  readonly isContinued: boolean;
  /** Two bits each: 2 is no stage. */
  readonly currentStage: number;
  readonly nextStage: number;
  readonly versionMin: number;
  /** 12 hex digits. */
  readonly isid: string;
  readonly tsih: number;
  readonly initiatorTaskTag: number;
  readonly cid: number;
  readonly cmdSn: number;
  readonly expStatSn: number;
}

export function readLoginRequest(header: Buffer): LoginRequest {
  const flags = header.readUInt8(AT.flags);
  return {
    isTransit: (flags & LOGIN_FLAG.transit) !== 0,
    isContinued: (flags & LOGIN_FLAG.continue) !== 0,
    currentStage: (flags >> 2) & 3,
    nextStage: flags & 3,
    versionMin: header.readUInt8(3),
    isid: header.toString('hex', 8, 14),
    tsih: header.readUInt16BE(14),
    initiatorTaskTag: header.readUInt32BE(AT.initiatorTaskTag),
    cid: header.readUInt16BE(20),
    cmdSn: header.readUInt32BE(AT.cmdSn),
    expStatSn: header.readUInt32BE(AT.expStatSn),
  };
}

export interface LoginResponse {
  readonly isTransit: boolean;
  readonly isContinued: boolean;
  readonly currentStage: number;
  /** Of a transit. */
  readonly nextStage: number;
  readonly isid: string;
  readonly tsih: number;
  readonly initiatorTaskTag: number;
  readonly statSn: number;
  readonly expCmdSn: number;
  readonly maxCmdSn: number;
  readonly status: number;
  readonly data: Buffer;
}

/** A whole PDU, without digests. Version-max and version-active are 0, the only version that there is. */
export function encodeLoginResponse(response: LoginResponse): Buffer {
  const { data } = response;
  const bytes = Buffer.alloc(pduBytes(data.length, NO_DIGESTS));
  bytes[0] = RESPONSE.login;
  bytes[AT.flags] =
    (response.isTransit ? LOGIN_FLAG.transit | response.nextStage : 0) |
    (response.isContinued ? LOGIN_FLAG.continue : 0) |
    (response.currentStage << 2);
  bytes.write(response.isid, 8, 'hex');
  bytes.writeUInt16BE(response.tsih, 14);
  bytes.writeUInt32BE(response.initiatorTaskTag, AT.initiatorTaskTag);
  bytes.writeUInt32BE(response.statSn, AT.statSn);
  bytes.writeUInt32BE(response.expCmdSn, AT.expCmdSn);
  bytes.writeUInt32BE(response.maxCmdSn, AT.maxCmdSn);
  bytes.writeUInt16BE(response.status, 36);
  data.copy(bytes, BHS_BYTES);
  sealPdu(bytes, 0, data.length, NO_DIGESTS);
  return bytes;
}
