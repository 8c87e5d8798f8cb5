/**
 * The numbers of the NBD protocol, as the specification names them. All integers are big-endian.
 * @see https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 */

/** First bytes of the server: `NBDMAGIC`, then `IHAVEOPT`, then the handshake flags (16 bits). */
export const NBDMAGIC = 0x4e42444d41474943n;
/** Also begins each option of the client. */
export const IHAVEOPT = 0x49484156454f5054n;
/** Begins each reply to an option: magic (64 bits), option (32), reply type (32), length (32). */
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;

/** Handshake flags of the server. */
export const FLAG_FIXED_NEWSTYLE = 1;
export const FLAG_NO_ZEROES = 2;
/** Client flags, 32 bits; any other bit ends the connection. */
export const CLIENT_FLAG_FIXED_NEWSTYLE = 1;
export const CLIENT_FLAG_NO_ZEROES = 2;

/** An option: magic (64 bits), option (32), length of its data (32). */
export const OPTION_HEADER_BYTES = 16;
export const OPTION_REPLY_HEADER_BYTES = 20;

export const OPT = {
  /** The export's name; the answer is the old form, without an error reply. */
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
  extendedHeaders: 11,
} as const;

export const REP = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  /** The option is not known. */
  errUnsupported: 0x8000_0001,
  /** Forbidden by the server's policy. */
  errPolicy: 0x8000_0002,
  errInvalid: 0x8000_0003,
  errPlatform: 0x8000_0004,
  errTlsRequired: 0x8000_0005,
  /** There is no such export. */
  errUnknown: 0x8000_0006,
  errShutdown: 0x8000_0007,
  errBlockSizeRequired: 0x8000_0008,
  errTooBig: 0x8000_0009,
} as const;

/** Kinds of information that GO and INFO answer. */
export const INFO = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

/** Transmission flags of an export. */
export const TRANSMISSION = {
  hasFlags: 1,
  readOnly: 2,
  sendFlush: 4,
  sendFua: 8,
  rotational: 16,
  sendTrim: 32,
  sendWriteZeroes: 64,
  sendDf: 128,
  canMultiConn: 256,
  sendResize: 512,
  sendCache: 1024,
  sendFastZero: 2048,
} as const;

/** A request: magic (32 bits), command flags (16), type (16), cookie (64), offset (64), length (32); a write's data follow. */
export const REQUEST_MAGIC = 0x2560_9513;
export const REQUEST_BYTES = 28;

export const CMD = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

export const CMD_FLAG = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16 } as const;

/** A simple reply: magic (32 bits), error (32), cookie (64); data of a read follow. */
export const SIMPLE_REPLY_MAGIC = 0x6744_6698;
export const SIMPLE_REPLY_BYTES = 16;

/** A chunk of a structured reply: magic (32 bits), flags (16), type (16), cookie (64), length of what follows (32). */
export const STRUCTURED_REPLY_MAGIC = 0x668e_33ef;
export const CHUNK_HEADER_BYTES = 20;
export const CHUNK_FLAG_DONE = 1;

export const CHUNK = {
  none: 0,
  /** Offset (64 bits), then data. */
  offsetData: 1,
  /** Offset (64 bits), length of the hole (32). */
  offsetHole: 2,
  /** Context id (32 bits), then descriptors: length (32), status flags (32). */
  blockStatus: 5,
  /** Error (32 bits), length of the message (16), message. */
  error: 0x8001,
} as const;

/** Status flags of `base:allocation`. */
export const STATE = { hole: 1, zero: 2 } as const;

/** Error numbers that may stand in a reply. */
export const ERRNO = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;

/** No string of the protocol is longer. */
export const STRING_BYTES_MAX = 4096;
