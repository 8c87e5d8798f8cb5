/**
 * AWS Signature Version 4 over a request as it came: the canonical request, the text that is signed, the signature.
 *
 * By the documented algorithm, and not by @smithy/signature-v4: that one chooses itself which headers are signed, where a
 * verifier has to take the very list that the request names. Tests hold it against that library and AWS's test vectors.
 *
 * @see AWS General Reference, "Create a signed AWS API request"
 */
import type { IncomingHttpHeaders } from 'node:http';
import { sigv4Escape } from '../../kit/index.ts';

export interface CanonicalParts {
  readonly method: string;
  /** Path and query as they came, not decoded. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** In lower case, sorted. */
  readonly signedHeaders: readonly string[];
  /** SHA-256 of the body in hex, or what stands in its place. */
  readonly payload: string;
}

/** Undefined when the request can have no canonical form: a query that is not encoded, a path that is not plain. */
export function canonicalRequest({ method, url, headers, signedHeaders, payload }: CanonicalParts): string | undefined {
  const at = url.indexOf('?');
  const path = canonicalPath(at < 0 ? url : url.slice(0, at));
  const query = canonicalQuery(at < 0 ? '' : url.slice(at + 1));
  if (path === undefined || query === undefined) return undefined;
  const lines = signedHeaders.map((name) => `${name}:${valueOf(headers[name])}\n`).join('');
  return [method, path, query, lines, signedHeaders.join(';'), payload].join('\n');
}

/**
 * Encoded once more, as every service but S3 has it. One with segments that a client would have taken out before it signed
 * (`.`, `..`, empty ones) has no form: what it would be signed as is not the path that answers.
 */
function canonicalPath(path: string): string | undefined {
  if (!path.startsWith('/') || /\/(?:\.{0,2})(?=\/)|\/\.{1,2}$/.test(path)) return undefined;
  return path.split('/').map(sigv4Escape).join('/');
}

/** Decoded and encoded again, so that a text has one form; a `+` is a blank, as our servers read it. */
function canonicalQuery(query: string): string | undefined {
  if (query === '') return '';
  const pairs: (readonly [string, string])[] = [];
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const at = pair.indexOf('=');
    const name = decode(at < 0 ? pair : pair.slice(0, at));
    const value = decode(at < 0 ? '' : pair.slice(at + 1));
    if (name === undefined || value === undefined) return undefined;
    pairs.push([sigv4Escape(name), sigv4Escape(value)]);
  }
  return pairs
    .sort(([a, x], [b, y]) => (a === b ? order(x, y) : order(a, b)))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}

/** Node.js joins a header that came many times by ", ", and the canonical form by ",": such a header is signed by nobody. */
function valueOf(value: string | readonly string[] | undefined): string {
  const text = typeof value === 'string' ? value : (value ?? []).join(',');
  return text.trim().replaceAll(/\s+/g, ' ');
}
