/** Parts of objects, as HTTP asks for them. */
import type { ByteSpan } from '../contract.ts';

/** The Range header. */
export const rangeOf = (span: ByteSpan): string =>
  'suffix' in span
    ? `bytes=-${String(span.suffix)}`
    : `bytes=${String(span.offset)}-${String(span.offset + span.length - 1)}`;

/** For the time of the request: what is not known is taken to be large. */
export const spanLength = (span: ByteSpan | undefined): number =>
  span === undefined ? 16 * 1024 * 1024 : 'suffix' in span ? span.suffix : span.length;
