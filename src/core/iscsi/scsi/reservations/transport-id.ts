/** TransportIDs of iSCSI initiator ports (SPC-4, 7.6.4.6). */
import { ASC, illegalRequest, invalidParameter, type Sense } from '../sense.ts';

const PROTOCOL_ISCSI = 0x05;
/** FORMAT CODE: the name of a device, or that of a port with its ISID. */
const FORMAT = { device: 0x00, port: 0x40 } as const;
const HEADER_BYTES = 4;
const BODY_BYTES_MIN = 20;
/** An iSCSI name has 223 bytes at most. */
const NAME_BYTES_MAX = 223;

/** That of a port, whose name has `,i,0x` in it. */
export function transportId(initiatorPort: string): Buffer {
  const name = Buffer.from(initiatorPort, 'utf8');
  const bodyBytes = Math.max(BODY_BYTES_MIN, (name.length + 4) & ~3);
  const bytes = Buffer.alloc(HEADER_BYTES + bodyBytes);
  bytes[0] = FORMAT.port | PROTOCOL_ISCSI;
  bytes.writeUInt16BE(bodyBytes, 2);
  name.copy(bytes, HEADER_BYTES);
  return bytes;
}

export interface ParsedTransportId {
  /** Of a port; with `isDevice`, of a device. */
  readonly name: string;
  readonly isDevice: boolean;
  readonly bytes: number;
}

/** The TransportID that begins at `at` of a parameter list. */
export function parseTransportId(list: Buffer, at: number): ParsedTransportId | Sense {
  if (at + HEADER_BYTES > list.length) return illegalRequest(ASC.parameterListLength);
  const first = list.readUInt8(at);
  const format = first & 0xc0;
  if ((first & 0x0f) !== PROTOCOL_ISCSI || (format !== FORMAT.device && format !== FORMAT.port))
    return invalidParameter(at, 7);
  const bodyBytes = list.readUInt16BE(at + 2);
  if (bodyBytes < BODY_BYTES_MIN || bodyBytes % 4 !== 0) return invalidParameter(at + 2, 7);
  const start = at + HEADER_BYTES;
  if (start + bodyBytes > list.length) return illegalRequest(ASC.parameterListLength);
  const body = list.subarray(start, start + bodyBytes);
  const end = body.indexOf(0);
  const name = body
    .subarray(0, end < 0 ? body.length : end)
    .toString('utf8')
    .toLowerCase();
  const separator = name.indexOf(',i,0x');
  const isDevice = format === FORMAT.device;
  const nameBytes = separator < 0 ? name.length : separator;
  if (end < 0 || nameBytes === 0 || nameBytes > NAME_BYTES_MAX || separator < 0 !== isDevice)
    return invalidParameter(start, 7);
  return { name, isDevice, bytes: HEADER_BYTES + bodyBytes };
}
