/**
 * The bytes of NBD as a client sends and reads them, written from the specification and apart from the server's own constants, so
 * that neither can hide a mistake of the other.
 */

/** Integers, big-endian, each given as `[bits, value]`, and bytes as they are. */
type Part = readonly [8 | 16 | 32 | 64, number | bigint] | Buffer | string;

export function bytesOf(...parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'string') return Buffer.from(part, 'utf8');
      if (Buffer.isBuffer(part)) return part;
      const [bits, value] = part;
      return Buffer.from(
        BigInt(value)
          .toString(16)
          .padStart(bits / 4, '0'),
        'hex',
      );
    }),
  );
}

export const GREETING = bytesOf('NBDMAGIC', 'IHAVEOPT', [16, 0b11]);

export const clientFlags = (flags = 0b11): Buffer => bytesOf([32, flags]);

export function option(code: number, data: Buffer = Buffer.alloc(0)): Buffer {
  return bytesOf('IHAVEOPT', [32, code], [32, data.length], data);
}

export function goData(name: string, infos: readonly number[] = []): Buffer {
  const bytes = Buffer.from(name);
  return bytesOf([32, bytes.length], bytes, [16, infos.length], ...infos.map((kind) => bytesOf([16, kind])));
}

export function metaData(name: string, queries: readonly string[]): Buffer {
  return bytesOf(
    [32, name.length],
    name,
    [32, queries.length],
    ...queries.map((query) => bytesOf([32, query.length], query)),
  );
}

export function optionReply(code: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  return bytesOf([64, 0x3e889045565a9n], [32, code], [32, type], [32, data.length], data);
}

export interface RequestFields {
  readonly type: number;
  readonly flags?: number;
  readonly cookie: bigint;
  readonly offset?: number | bigint;
  readonly length?: number;
  readonly data?: Buffer;
}

export function request({ type, flags = 0, cookie, offset = 0, length, data }: RequestFields): Buffer {
  const size = length ?? data?.length ?? 0;
  return bytesOf(
    [32, 0x25609513],
    [16, flags],
    [16, type],
    [64, cookie],
    [64, offset],
    [32, size],
    data ?? Buffer.alloc(0),
  );
}

export function simpleReply(errno: number, cookie: bigint, data: Buffer = Buffer.alloc(0)): Buffer {
  return bytesOf([32, 0x67446698], [32, errno], [64, cookie], data);
}

export function chunk(type: number, cookie: bigint, payload: Buffer, flags = 1): Buffer {
  return bytesOf([32, 0x668e33ef], [16, flags], [16, type], [64, cookie], [32, payload.length], payload);
}

export const dataChunk = (cookie: bigint, offset: number, data: Buffer): Buffer =>
  chunk(1, cookie, bytesOf([64, offset], data));

/** A status chunk; each extent is length and flags. */
export const statusChunk = (
  cookie: bigint,
  contextId: number,
  extents: readonly (readonly [number, number])[],
  flags = 1,
): Buffer =>
  chunk(
    5,
    cookie,
    bytesOf([32, contextId], ...extents.map(([length, state]) => bytesOf([32, length], [32, state]))),
    flags,
  );
