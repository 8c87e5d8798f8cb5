/**
 * The wire of the data endpoint (docs/formats/data-endpoint.md): names and limits that client and server share. Everything
 * else is HTTP.
 */

/** What objects lie under, and lists of folders. */
export const OBJECTS_PATH = '/objects';
export const FOLDERS_PATH = '/folders';

export const HEADERS = {
  /** Names a put, alike at each try of it. */
  callId: 'x-sgw-call-id',
  /** SHA-256 of the body that is put, hex. */
  sha256: 'x-sgw-sha256',
  /** CRC-32 of the body that is put, or of that which is answered; 8 hex digits. */
  crc32: 'x-sgw-crc32',
  /** Size of the whole object. */
  size: 'x-sgw-size',
  /** How it went, so that no answer of something in between is taken for one of the service. */
  outcome: 'x-sgw-outcome',
  /** What a HEAD was refused with, whose answer has no body: the document that others get as one, as `refusalText` writes it. */
  refusal: 'x-sgw-refusal',
} as const;

/** More than that is cut off by what is in between. */
const REFUSAL_CHARACTERS_MAX = 4096;

/** The body of a refusal as it stands in a header; undefined where it is too long for one. */
export function refusalText(body: string): string | undefined {
  const text = Buffer.from(body, 'utf8').toString('base64url');
  return text.length > REFUSAL_CHARACTERS_MAX ? undefined : text;
}

export const OUTCOMES = {
  found: 'found',
  absent: 'absent',
  stored: 'stored',
  preconditionFailed: 'precondition-failed',
  /** The same, and the version in the way may be what this call wrote. */
  ambiguous: 'precondition-failed-ambiguous',
  deleted: 'deleted',
} as const;

/** The most that one answer carries of an object: the rest is asked for under the etag of the first part. */
export const REPLY_BYTES_MAX = 4 * 1024 * 1024;

/** CRC-32 as it stands in headers. */
export const crcText = (crc: number): string => crc.toString(16).padStart(8, '0');

/**
 * What a server lets a client send before it has read of it, of one request and of all of a connection; and what Node.js may
 * keep of a connection, in MB: beyond that it resets streams.
 */
export const SERVER_WINDOWS = { streamBytes: 1024 * 1024, sessionBytes: 8 * 1024 * 1024, memoryMb: 32 } as const;
/** The same of a client, which asks for no more than it has room for. */
export const CLIENT_WINDOWS = { streamBytes: 4 * 1024 * 1024, sessionBytes: 32 * 1024 * 1024, memoryMb: 96 } as const;
/** Large frames take less of the processor for each byte; both sides let the other send them. */
export const FRAME_BYTES_MAX = 1024 * 1024;
