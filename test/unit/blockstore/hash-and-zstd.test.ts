import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { blake3, blake3ShortInto, portableHash } from '../../../src/core/blockstore/hash.ts';
import {
  compressBound,
  exportedCompressor,
  zlibCompressor,
  type BlockCompressor,
} from '../../../src/core/blockstore/zstd.ts';
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
      expect(Buffer.from(portableHash.whole(input)).toString('hex')).toBe(expected);
    }
  });

  it('agrees with its fallback on pages', () => {
    for (let i = 0; i < 20; i++) {
      const page = randomBytes(4096);
      const [native, portable] = [Buffer.alloc(20), Buffer.alloc(20)];
      blake3ShortInto(page, native, 2);
      portableHash.shortInto(page, portable, 2);
      expect(native.equals(portable)).toBe(true);
      expect(native.subarray(2, 18).equals(blake3(page).subarray(0, 16))).toBe(true);
      expect(blake3(page).equals(Buffer.from(portableHash.whole(page)))).toBe(true);
    }
  });
});

const exported = exportedCompressor();
const samples = (): Buffer[] => [
  Buffer.alloc(65536, 'storage gateway '),
  randomBytes(65536),
  Buffer.alloc(4096, 7),
  Buffer.concat([randomBytes(4096), Buffer.alloc(8192)]),
];

function compressed(by: BlockCompressor, block: Buffer): Buffer {
  const target = Buffer.alloc(compressBound(block.length));
  return target.subarray(0, by.compress(block, target));
}

function decompressed(by: BlockCompressor, frame: Buffer, sizeMaxBytes: number): Buffer {
  const target = Buffer.alloc(sizeMaxBytes);
  return target.subarray(0, by.decompress(frame, target));
}

function refusesDamage(by: BlockCompressor): void {
  const frame = compressed(by, Buffer.alloc(65536, 1));
  expect(() => decompressed(by, frame, 4096)).toThrow();
  expect(() => decompressed(by, frame.subarray(0, frame.length - 3), 65536)).toThrow();
  expect(() => decompressed(by, randomBytes(100), 65536)).toThrow();
}

describe('zstd through node:zlib', () => {
  it('reads what it wrote', () => {
    for (const block of samples()) {
      expect(decompressed(zlibCompressor, compressed(zlibCompressor, block), block.length).equals(block)).toBe(true);
    }
  });

  it('refuses a frame larger than it may be, and a damaged one', () => {
    refusesDamage(zlibCompressor);
  });
});

const here = requireThat(exported !== undefined, 'a Node.js that exports zstd, and koffi');
here.describe('zstd through exported functions', () => {
  it('and node:zlib read each other', () => {
    if (exported === undefined) throw new Error('unreachable');
    for (const block of samples()) {
      expect(decompressed(zlibCompressor, compressed(exported, block), block.length).equals(block)).toBe(true);
      expect(decompressed(exported, compressed(zlibCompressor, block), block.length).equals(block)).toBe(true);
    }
  });

  it('refuses a frame larger than it may be, and a damaged one', () => {
    if (exported === undefined) throw new Error('unreachable');
    refusesDamage(exported);
  });
});
