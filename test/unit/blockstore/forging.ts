/**
 * One who can write to the store but has no key: takes objects apart, alters them, and puts them together again with every
 * hash and checksum that needs no key made right. Written from docs/formats alone.
 */
import { crc32 } from 'node:zlib';
import { DOCUMENT_START, hash128, hash256 } from '../../reader/independent-formats.ts';

interface TableRef {
  offset: number;
  count: number;
}

/** A segment's parts; `footer` is its JSON, and offsets in it are followed as they are. */
export interface OpenSegment {
  readonly body: Buffer;
  footer: Record<string, unknown> & {
    frames: TableRef;
    extents: TableRef;
    pageHashes: TableRef;
    sealed?: { offset: number; length: number };
  };
}

/** Where the stored bytes of frame `number` begin and end. */
export function frameSpan({ body, footer }: OpenSegment, number: number): { from: number; to: number; at: number } {
  const at = footer.frames.offset + 32 * number;
  const from = body.readUInt32LE(at + 8);
  return { from, to: from + body.readUInt32LE(at + 12), at };
}

/** Takes a segment apart, lets `change` alter it in place, and makes its unkeyed hashes right again. */
export function forgeSegment(stored: Buffer, change: (segment: OpenSegment) => void): Buffer {
  const body = Buffer.from(stored);
  const trailer = body.length - 64;
  const footerAt = trailer - body.readUInt32LE(trailer + 8);
  const segment: OpenSegment = {
    body,
    footer: JSON.parse(body.toString('utf8', footerAt, trailer)) as OpenSegment['footer'],
  };
  change(segment);
  const { frames, pageHashes } = segment.footer;
  for (let i = 0; i < frames.count; i++) {
    const { from, to, at } = frameSpan(segment, i);
    body.writeUInt32LE(crc32(body.subarray(from, to)), at + 24);
  }
  segment.footer['pageHashesHash'] = hash128(body.subarray(pageHashes.offset, frames.offset));
  const footer = Buffer.from(JSON.stringify(segment.footer), 'utf8');
  const end = Buffer.alloc(32);
  body.copy(end, 0, trailer, trailer + 32);
  end.writeUInt32LE(footer.length, 8);
  end.writeUInt32LE(crc32(footer), 12);
  end.write(String(segment.footer['segmentId']), 16, 'hex');
  const unhashed = Buffer.concat([body.subarray(0, footerAt), footer, end]);
  return Buffer.concat([unhashed, Buffer.from(hash256(unhashed.subarray(frames.offset)), 'hex')]);
}

/** Alters the fields of a document and makes its checksum right. */
export function forgeDocument(stored: Buffer, change: (fields: Record<string, unknown>) => void): Buffer {
  const { check: _check, ...fields } = JSON.parse(stored.toString('utf8')) as Record<string, unknown>;
  change(fields);
  const zeroes = '0'.repeat(32);
  const text = `${DOCUMENT_START}${zeroes}", ${JSON.stringify(fields).slice(1)}`;
  return Buffer.from(text.replace(zeroes, hash128(Buffer.from(text))));
}
