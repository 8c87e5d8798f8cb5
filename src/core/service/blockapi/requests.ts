/** What requests of the block API say, held against its schemas. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Static, TSchema } from 'typebox';
import Value from 'typebox/value';
import { parseShallowJson, SgwError } from '../../kit/index.ts';
import { badParameter, invalid } from '../blocks/refusals.ts';

const BLOCK_MAX = 0x7fff_ffff;

/** @throws invalid `bad-parameter` naming what is wrong */
function checked<S extends TSchema>(schema: S, input: unknown, what: string): Static<S> {
  if (Value.Check(schema, input)) return input;
  const [first] = Value.Errors(schema, input);
  const place = first?.instancePath.slice(1, 65) ?? '';
  throw badParameter(`${what} is not as it must be: ${place} ${first?.message ?? ''}`.trimEnd());
}

/** @throws invalid `bad-parameter` */
export function documentOf<S extends TSchema>(schema: S, body: Buffer): Static<S> {
  let input: unknown;
  try {
    input = body.length === 0 ? {} : parseShallowJson(body.toString('utf8'));
  } catch {
    throw badParameter('the request is not JSON');
  }
  return checked(schema, input, 'the request');
}

/** Numbers in a query are texts. @throws invalid `bad-parameter` */
export function queryOf<S extends TSchema>(schema: S, query: unknown): Static<S> {
  const numbers = Object.entries(query as Record<string, unknown>).map(([name, value]) => {
    const isNumber = name === 'maxResults' || name === 'startBlock';
    return [name, isNumber && typeof value === 'string' && /^\d{1,10}$/.test(value) ? Number(value) : value];
  });
  return checked(schema, Object.fromEntries(numbers), 'the query');
}

/** @throws invalid `block-out-of-range` */
export function blockOf(text: string): number {
  const block = /^\d{1,10}$/.test(text) ? Number(text) : -1;
  if (block >= 0 && block <= BLOCK_MAX) return block;
  throw invalid('block-out-of-range', `"${text.slice(0, 32)}" is no number of a block`);
}

/** @throws invalid `bad-parameter` unless it is one of `volume` or `snapshot` */
export function afterOf(token: string | undefined, isId: (text: string) => boolean): string | null {
  if (token === undefined) return null;
  if (isId(token)) return token;
  throw invalid('page-token-wrong', 'the page token is none of this list');
}

/** SHA-256 of the body in hex, as `content-digest` (RFC 9530) names it. @throws invalid `bad-parameter` */
export function digestOf(headers: IncomingHttpHeaders): string {
  const text = headers['content-digest'];
  const base64 = typeof text === 'string' ? /^sha-256=:([A-Za-z0-9+/]{43}=):$/.exec(text.trim())?.[1] : undefined;
  const bytes = Buffer.from(base64 ?? '', 'base64');
  if (bytes.length === 32 && bytes.toString('base64') === base64) return bytes.toString('hex');
  throw new SgwError('invalid', 'bad-parameter', 'content-digest is missing, or no SHA-256', {
    hint: 'Give the SHA-256 of the block: content-digest: sha-256=:BASE64:',
  });
}

/** As `digestOf` reads it; `sha256` in hex. */
export const digestHeader = (sha256: string): string => `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`;
