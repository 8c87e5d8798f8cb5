import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { blake3, portableHash } from '../../../src/core/blockstore/hash.ts';
import { libraryCompressor, zlibCompressor } from '../../../src/core/blockstore/zstd.ts';
import { requireThat } from '../../requirements.ts';

describe('blake3', () => {
  it('gives the published vectors, natively and in JavaScript', () => {
    // From the BLAKE3 test vectors: input byte i is i mod 251.
    const vectors: [number, string][] = [
      [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
      [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
      [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
    ];
    for (const [length, expected] of vectors) {
      const input = Uint8Array.from({ length }, (_, i) => i % 251);
      expect(blake3(input).toString('hex')).toBe(expected);
      expect(Buffer.from(portableHash(input)).toString('hex')).toBe(expected);
    }
  });

  it('agrees with its fallback on pages', () => {
    for (let i = 0; i < 20; i++) {
      const page = randomBytes(4096);
      expect(blake3(page).equals(Buffer.from(portableHash(page)))).toBe(true);
    }
  });
});

const library = libraryCompressor();
const samples = (): Buffer[] => [
  Buffer.alloc(65536, 'storage gateway '),
  randomBytes(65536),
  Buffer.alloc(4096, 7),
  Buffer.concat([randomBytes(4096), Buffer.alloc(8192)]),
];

describe('zstd through node:zlib', () => {
  it('reads what it wrote', () => {
    for (const block of samples())
      expect(zlibCompressor.decompress(Buffer.from(zlibCompressor.compress(block)), block.length).equals(block)).toBe(
        true,
      );
  });

  it('refuses a frame larger than it may be, and a damaged one', () => {
    const frame = Buffer.from(zlibCompressor.compress(Buffer.alloc(65536, 1)));
    expect(() => zlibCompressor.decompress(frame, 4096)).toThrow();
    expect(() => zlibCompressor.decompress(frame.subarray(0, frame.length - 3), 65536)).toThrow();
  });
});

const withLibrary = requireThat(library !== undefined, 'libzstd and koffi');
withLibrary.describe('zstd through libzstd', () => {
  it('and node:zlib read each other', () => {
    if (library === undefined) throw new Error('unreachable');
    for (const block of samples()) {
      expect(zlibCompressor.decompress(Buffer.from(library.compress(block)), block.length).equals(block)).toBe(true);
      expect(library.decompress(zlibCompressor.compress(block), block.length).equals(block)).toBe(true);
    }
  });

  it('refuses a frame larger than it may be, and a damaged one', () => {
    if (library === undefined) throw new Error('unreachable');
    const frame = Buffer.from(library.compress(Buffer.alloc(65536, 1)));
    expect(() => library.decompress(frame, 4096)).toThrow();
    expect(() => library.decompress(frame.subarray(0, frame.length - 3), 65536)).toThrow();
    expect(() => library.decompress(randomBytes(100), 65536)).toThrow();
  });
});
