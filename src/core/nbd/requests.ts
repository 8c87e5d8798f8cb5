/** What a request may be. Checked once; whoever handles it relies on that. */
import type { OpenedExport } from './exports.ts';
import type { Cookie } from './replies.ts';
import { CMD, CMD_FLAG, ERRNO } from './wire.ts';

export interface Request {
  readonly flags: number;
  readonly type: number;
  readonly cookie: Cookie;
  readonly offset: number;
  readonly length: number;
}

/** The request in 28 bytes that begin with its magic. */
export const parseRequest = (header: Buffer): Request => ({
  flags: header.readUInt16BE(4),
  type: header.readUInt16BE(6),
  cookie: { high: header.readUInt32BE(8), low: header.readUInt32BE(12) },
  // Offsets beyond 2^53 lose their last bits and stay beyond every device.
  offset: header.readUInt32BE(16) * 0x1_0000_0000 + header.readUInt32BE(20),
  length: header.readUInt32BE(24),
});

interface Row {
  readonly flags: number;
  readonly writes: boolean;
}

const { fua, noHole, df, reqOne, fastZero } = CMD_FLAG;

/** FUA is harmless wherever it makes no sense, and some clients send it. */
const COMMANDS: Readonly<Record<number, Row>> = {
  [CMD.read]: { flags: df | fua, writes: false },
  [CMD.write]: { flags: fua, writes: true },
  [CMD.flush]: { flags: fua, writes: false },
  [CMD.trim]: { flags: fua, writes: true },
  [CMD.cache]: { flags: fua, writes: false },
  [CMD.writeZeroes]: { flags: fua | noHole | fastZero, writes: true },
  [CMD.blockStatus]: { flags: reqOne | fua, writes: false },
};

export interface RequestScope {
  readonly opened: Pick<OpenedExport, 'device' | 'isReadOnly'>;
  readonly isStructured: boolean;
  readonly hasContexts: boolean;
}

interface Refusal {
  readonly errno: number;
  readonly message: string;
}

/** Why a request is refused; undefined when it is good. */
export function validateRequest(request: Request, scope: RequestScope): Refusal | undefined {
  const { type, flags } = request;
  const { device, isReadOnly } = scope.opened;
  const row = COMMANDS[type];
  if (row === undefined) return refuse(ERRNO.EINVAL, `command ${String(type)} is not known`);
  if ((flags & ~row.flags) !== 0)
    return refuse(ERRNO.EINVAL, `flags ${String(flags)} do not go with command ${String(type)}`);
  if (row.writes && (isReadOnly || device.isReadOnly)) return refuse(ERRNO.EPERM, 'the export is read-only');
  if (type === CMD.flush) return undefined;
  if (type === CMD.blockStatus && !(scope.isStructured && scope.hasContexts))
    return refuse(ERRNO.EINVAL, 'no metadata context was chosen');
  if (type === CMD.read && (flags & df) !== 0 && !scope.isStructured)
    return refuse(ERRNO.EINVAL, 'DF goes with structured replies only');
  return validateExtent(request, scope);
}

function validateExtent({ type, flags, offset, length }: Request, { opened }: RequestScope): Refusal | undefined {
  const { limits, sizeBytes } = opened.device;
  const { blockBytesMin, payloadBytesMax } = limits;
  if (length === 0) return refuse(ERRNO.EINVAL, 'a request of no bytes');
  if (offset % blockBytesMin !== 0 || length % blockBytesMin !== 0)
    return refuse(ERRNO.EINVAL, `offset and length must be multiples of ${String(blockBytesMin)}`);
  if (type === CMD.read && length > payloadBytesMax)
    return refuse((flags & df) === 0 ? ERRNO.EINVAL : ERRNO.EOVERFLOW, `a read of ${String(length)} bytes is too long`);
  if (offset + length <= sizeBytes) return undefined;
  // The specification asks for ENOSPC where space would be needed, and for EINVAL for reads and trims.
  const needsSpace = type === CMD.write || type === CMD.writeZeroes;
  return refuse(needsSpace ? ERRNO.ENOSPC : ERRNO.EINVAL, 'the request ends beyond the device');
}

const refuse = (errno: number, message: string): Refusal => ({ errno, message });
