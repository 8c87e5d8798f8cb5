/**
 * Text of login and text PDUs (RFC 7143, 6.1): key=value pairs in and out of data segments, and the forms of values. Knows no key
 * but those whose values may be long.
 * Exports: `Pair`, `TextError`, `TextAssembler`, `encodePairs`, `splitText`, `parseNumber`, `parseBoolean`, `parseList`,
 * `parseBinary`, `encodeBinary`, `ANSWER`, `isAnswer`, `TEXT_LIMITS`.
 */
import { SgwError } from '../kit/index.ts';

export interface Pair {
  readonly key: string;
  readonly value: string;
}

/** What was sent is no text, or breaks the rules of a negotiation. */
export class TextError extends SgwError {
  constructor(message: string) {
    super('invalid', 'iscsi-text', message);
  }
}

export const TEXT_LIMITS = {
  /** Of one text, over all PDUs that it takes. */
  bytesMax: 64 * 1024,
  keysMax: 256,
  keyBytesMax: 63,
  valueBytesMax: 255,
  /** Of a binary value: 1024 bytes in hexadecimal. */
  binaryBytesMax: 1024,
} as const;

/** Keys whose values are binary. */
const BINARY_KEYS: ReadonlySet<string> = new Set(['CHAP_C', 'CHAP_R']);
/** X# is how public extension keys begin. */
const KEY = /^[A-Za-z][A-Za-z0-9.\-+@_#]*$/;

/** 6.2: values that answer any key. */
export const ANSWER = { notUnderstood: 'NotUnderstood', irrelevant: 'Irrelevant', reject: 'Reject' } as const;

/** Whether a value is no offer, but what the other side has to say of a key. */
export const isAnswer = (value: string): boolean =>
  value === ANSWER.notUnderstood || value === ANSWER.irrelevant || value === ANSWER.reject;

/** Puts the data segments of one text together. */
export class TextAssembler {
  #parts: Buffer[] = [];
  #bytes = 0;

  /**
   * Adds a data segment, which is copied when more is to come (`isContinued`: the C bit). The pairs, in their order, with the last
   * segment; then it is ready for the next text.
   * @throws TextError: too long, too many keys, a key twice, or no pairs at all
   */
  add(data: Buffer, isContinued: boolean): readonly Pair[] | undefined {
    this.#bytes += data.length;
    if (this.#bytes > TEXT_LIMITS.bytesMax) throw new TextError(`a text of more than ${TEXT_LIMITS.bytesMax} bytes`);
    if (isContinued) {
      if (data.length > 0) this.#parts.push(Buffer.from(data));
      return undefined;
    }
    const whole = this.#parts.length === 0 ? data : Buffer.concat([...this.#parts, data]);
    this.#parts = [];
    this.#bytes = 0;
    return parsePairs(whole);
  }
}

/** The NUL behind the last pair may be missing, and there may be more than one: some initiators do so. */
function parsePairs(text: Buffer): readonly Pair[] {
  const pairs = new Map<string, string>();
  for (let at = 0; at < text.length;) {
    const nul = text.indexOf(0, at);
    const end = nul < 0 ? text.length : nul;
    if (end > at) {
      const { key, value } = parsePair(text.subarray(at, end));
      if (pairs.has(key)) throw new TextError(`the key ${key} comes twice`);
      if (pairs.size >= TEXT_LIMITS.keysMax) throw new TextError(`more than ${TEXT_LIMITS.keysMax} keys`);
      pairs.set(key, value);
    }
    at = end + 1;
  }
  return Array.from(pairs, ([key, value]) => ({ key, value }));
}

function parsePair(bytes: Buffer): Pair {
  const equals = bytes.indexOf('=');
  if (equals < 0) throw new TextError('a text is not made of key=value pairs');
  if (equals > TEXT_LIMITS.keyBytesMax) throw new TextError(`a key of ${equals} bytes`);
  const key = bytes.toString('latin1', 0, equals);
  if (!KEY.test(key)) throw new TextError('a key has other characters than keys have');
  const length = bytes.length - equals - 1;
  const max = BINARY_KEYS.has(key) ? 2 + 2 * TEXT_LIMITS.binaryBytesMax : TEXT_LIMITS.valueBytesMax;
  if (length > max) throw new TextError(`the value of ${key} has ${length} bytes`);
  return { key, value: bytes.toString('utf8', equals + 1) };
}

/** A text: each pair with a NUL behind it. */
export function encodePairs(pairs: readonly Pair[]): Buffer {
  return Buffer.from(pairs.map(({ key, value }) => `${key}=${value}\0`).join(''), 'utf8');
}

/** A text in pieces of at most `bytesMax`: one at least, which may be empty. */
export function splitText(text: Buffer, bytesMax: number): Buffer[] {
  const pieces = [text.subarray(0, bytesMax)];
  for (let at = bytesMax; at < text.length; at += bytesMax) pieces.push(text.subarray(at, at + bytesMax));
  return pieces;
}

/** A decimal or hexadecimal constant; undefined when it is none, or not a safe integer. */
export function parseNumber(value: string): number | undefined {
  if (!/^(?:0|[1-9][0-9]*|0[xX][0-9a-fA-F]+)$/.test(value)) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

export function parseBoolean(value: string): boolean | undefined {
  return value === 'Yes' ? true : value === 'No' ? false : undefined;
}

/** In the order of preference. */
export const parseList = (value: string): readonly string[] => value.split(',');

/** A hexadecimal (`0x`) or base64 (`0b`) constant of 1 to 1024 bytes; undefined when it is none. */
export function parseBinary(value: string): Buffer | undefined {
  const digits = value.slice(2);
  const bytes = /^0[xX](?:[0-9a-fA-F]{2})+$/.test(value)
    ? Buffer.from(digits, 'hex')
    : /^0[bB](?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(value)
      ? Buffer.from(digits, 'base64')
      : undefined;
  if (bytes === undefined || bytes.length === 0 || bytes.length > TEXT_LIMITS.binaryBytesMax) return undefined;
  return bytes;
}

/** In hexadecimal, which every initiator reads. */
export const encodeBinary = (bytes: Buffer): string => `0x${bytes.toString('hex')}`;
