/**
 * The checks of what callers hand to an object store, made once by every implementation before any I/O, so that a bad
 * key fails alike everywhere. Decorators don't check again.
 */
import { SgwError } from '../kit/index.ts';
import type { ByteSpan } from './contract.ts';

const KEY_LENGTH_MAX = 512;
const KEY_COMPONENT_LENGTH_MAX = 200;

const COMPONENT = /^[A-Za-z0-9._-]+$/;
const PREFIX = /^[A-Za-z0-9._/-]*$/;

export function isComponent(text: string): boolean {
  return COMPONENT.test(text) && text !== '.' && text !== '..' && text.length <= KEY_COMPONENT_LENGTH_MAX;
}

/** @throws invalid `bad-key` unless `key` has the form that the contract gives. */
export function checkKey(key: string): void {
  if (key.length <= KEY_LENGTH_MAX && key.split('/').every(isComponent)) return;
  throw new SgwError('invalid', 'bad-key', `"${key.slice(0, KEY_LENGTH_MAX)}" is not an object key`, {
    hint: 'A key is /-separated components of A-Z a-z 0-9 . _ - of at most 200 bytes, 512 in all, none of them . or ..',
  });
}

/** @throws invalid `bad-prefix` when no key could start so. */
export function checkPrefix(prefix: string): void {
  const parents = prefix.split('/').slice(0, -1);
  if (prefix.length <= KEY_LENGTH_MAX && PREFIX.test(prefix) && parents.every(isComponent)) return;
  throw new SgwError(
    'invalid',
    'bad-prefix',
    `"${prefix.slice(0, KEY_LENGTH_MAX)}" is not the beginning of an object key`,
  );
}

/** @throws invalid `bad-prefix` unless `prefix` is empty or names a folder, with `/` at its end. */
export function checkFolder(prefix: string): void {
  checkPrefix(prefix);
  if (prefix === '' || prefix.endsWith('/')) return;
  throw new SgwError('invalid', 'bad-prefix', `"${prefix}" is not a folder of objects: it does not end in /`);
}

/** @throws invalid `bad-limit` unless `limit` is absent or a whole number of zero or more. */
export function checkLimit(limit: number | undefined): void {
  if (limit === undefined || (Number.isSafeInteger(limit) && limit >= 0)) return;
  throw new SgwError('invalid', 'bad-limit', `${String(limit)} is not a number of objects`);
}

/** A part of an object in bytes, `start` <= `end` <= size. */
export interface ResolvedSpan {
  readonly start: number;
  readonly end: number;
}

/** @throws invalid `bad-span` for malformed numbers */
export function checkSpan(key: string, span: ByteSpan | undefined): void {
  if (span === undefined) return;
  const offset = 'suffix' in span ? 0 : span.offset;
  const length = 'suffix' in span ? span.suffix : span.length;
  if (Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 1) return;
  throw new SgwError('invalid', 'bad-span', `${JSON.stringify(span)} is not a part of an object`, { details: { key } });
}

/**
 * Cuts `span` to an object of `sizeBytes`; the whole object without a span.
 * @throws invalid `bad-span` for malformed numbers, `span-past-end` when nothing of the object is in it.
 */
export function resolveSpan(key: string, span: ByteSpan | undefined, sizeBytes: number): ResolvedSpan {
  if (span === undefined) return { start: 0, end: sizeBytes };
  checkSpan(key, span);
  const start = 'suffix' in span ? Math.max(0, sizeBytes - span.suffix) : span.offset;
  if (start >= sizeBytes) {
    throw new SgwError(
      'invalid',
      'span-past-end',
      `${JSON.stringify(span)} lies past the end of ${key} (${String(sizeBytes)} bytes)`,
      {
        details: { key, sizeBytes },
      },
    );
  }
  return { start, end: 'suffix' in span ? sizeBytes : Math.min(sizeBytes, span.offset + span.length) };
}

/** The error of a conditional delete that met another version. */
export function etagMismatch(key: string): SgwError {
  return new SgwError('conflict', 'etag-mismatch', `${key} was changed by somebody else`, { details: { key } });
}
