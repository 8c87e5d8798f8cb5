/**
 * zstd (RFC 8878) of small blocks, synchronously. Through the system's libzstd with one reused context where there is
 * one, which takes about half the time of node:zlib, which makes a context for each block; else through node:zlib.
 * Both write and read the same frames (docs/adr/0005-system-zstd.md). Meant for worker threads.
 */
import { createRequire } from 'node:module';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

export interface BlockCompressor {
  readonly name: 'libzstd' | 'node:zlib';
  /** Compresses one block; the result is valid until the next call. */
  compress(block: Uint8Array): Buffer;
  /** Decompresses one frame of at most `sizeMaxBytes`; the result is the caller's. @throws Error when it is damaged */
  decompress(frame: Uint8Array, sizeMaxBytes: number): Buffer;
}

const LEVEL = 1;
const LIBRARY_NAMES = ['libzstd.so.1', 'libzstd.1.dylib'];

interface Koffi {
  load(name: string): { func(prototype: string): (...values: unknown[]) => unknown };
}

/** The block compressor of node:zlib. */
export const zlibCompressor: BlockCompressor = {
  name: 'node:zlib',
  compress: (block) =>
    zstdCompressSync(block, {
      chunkSize: block.length + (block.length >> 8) + 1024,
      pledgedSrcSize: block.length,
      params: { [constants.ZSTD_c_compressionLevel]: LEVEL },
    }),
  decompress: (frame, sizeMaxBytes) =>
    zstdDecompressSync(frame, { maxOutputLength: sizeMaxBytes, chunkSize: sizeMaxBytes }),
};

/** The block compressor over the system's libzstd; undefined when that, or koffi, can not be loaded. */
export function libraryCompressor(): BlockCompressor | undefined {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    for (const name of LIBRARY_NAMES) {
      const library = tryLoad(koffi, name);
      if (library !== undefined) return bind(library);
    }
  } catch {
    // No koffi on this platform: node:zlib does it.
  }
  return undefined;
}

function tryLoad(koffi: Koffi, name: string): ReturnType<Koffi['load']> | undefined {
  try {
    return koffi.load(name);
  } catch {
    return undefined;
  }
}

function bind(library: ReturnType<Koffi['load']>): BlockCompressor {
  const isError = library.func('unsigned int ZSTD_isError(size_t code)');
  const bound = library.func('size_t ZSTD_compressBound(size_t size)');
  const compressContext = library.func('void* ZSTD_createCCtx()')();
  const decompressContext = library.func('void* ZSTD_createDCtx()')();
  const compress = library.func(
    'size_t ZSTD_compressCCtx(void* ctx, void* dst, size_t dstBytes, void* src, size_t srcBytes, int level)',
  );
  const decompress = library.func(
    'size_t ZSTD_decompressDCtx(void* ctx, void* dst, size_t dstBytes, void* src, size_t srcBytes)',
  );
  let scratch = Buffer.alloc(0);
  const checked = (code: unknown): number => {
    if (isError(code) !== 0) throw new Error('zstd can not process the block');
    return Number(code);
  };
  return {
    name: 'libzstd',
    compress: (block) => {
      const needed = Number(bound(block.length));
      if (scratch.length < needed) scratch = Buffer.allocUnsafeSlow(needed);
      return scratch.subarray(
        0,
        checked(compress(compressContext, scratch, scratch.length, block, block.length, LEVEL)),
      );
    },
    decompress: (frame, sizeMaxBytes) => {
      const out = Buffer.allocUnsafe(sizeMaxBytes);
      return out.subarray(0, checked(decompress(decompressContext, out, out.length, frame, frame.length)));
    },
  };
}

let chosen: BlockCompressor | undefined;

/** The fastest block compressor here; loaded with the first call. */
export const blockCompressor = (): BlockCompressor => (chosen ??= libraryCompressor() ?? zlibCompressor);
