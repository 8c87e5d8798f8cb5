/**
 * zstd (RFC 8878) of small blocks, synchronously. Node's own zstd, through the functions that its executable exports,
 * with one context for all blocks: node:zlib makes a context for each, which costs as much as the work itself. Where the
 * functions are not exported, or koffi does not load, node:zlib does it (docs/adr/0005-zstd-contexts.md). Both write and
 * read the same frames. Meant for worker threads.
 */
import { createRequire } from 'node:module';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

export interface BlockCompressor {
  readonly name: 'exported' | 'node:zlib';
  /** Compresses a block to the start of `target`, which must hold `compressBound`; returns the length. */
  compress(block: Uint8Array, target: Buffer): number;
  /** Decompresses a frame to the start of `target`; returns the length. @throws Error when it is damaged or does not fit */
  decompress(frame: Uint8Array, target: Buffer): number;
}

const LEVEL = 1;

/** What a block may take, compressed, in the worst case (ZSTD_COMPRESSBOUND, and some). */
export const compressBound = (blockBytes: number): number => blockBytes + (blockBytes >> 8) + 1024;

interface Library {
  func(prototype: string): (...values: unknown[]) => unknown;
}

/** The block compressor of node:zlib. */
export const zlibCompressor: BlockCompressor = {
  name: 'node:zlib',
  compress: (block, target) =>
    zstdCompressSync(block, {
      chunkSize: compressBound(block.length),
      pledgedSrcSize: block.length,
      params: { [constants.ZSTD_c_compressionLevel]: LEVEL },
    }).copy(target),
  decompress: (frame, target) =>
    zstdDecompressSync(frame, { maxOutputLength: target.length, chunkSize: target.length }).copy(target),
};

/** The block compressor over the exported functions; undefined where they can not be had. */
export function exportedCompressor(): BlockCompressor | undefined {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as { load(path: null): Library };
    return bind(koffi.load(null));
  } catch {
    // No koffi on this platform, or an executable that exports nothing: node:zlib does it.
    return undefined;
  }
}

function bind(library: Library): BlockCompressor | undefined {
  // All functions must come from one version, which is Node's: another library of the process could be in between.
  const version = String(library.func('uint32_t ZSTD_versionNumber()')());
  if (version !== versionNumber(process.versions['zstd'])) return undefined;
  const isError = library.func('uint32_t ZSTD_isError(size_t code)');
  const compressContext = library.func('void* ZSTD_createCCtx()')();
  const decompressContext = library.func('void* ZSTD_createDCtx()')();
  const compress = library.func(
    'size_t ZSTD_compressCCtx(void* ctx, void* dst, size_t dstBytes, void* src, size_t srcBytes, int level)',
  );
  const decompress = library.func(
    'size_t ZSTD_decompressDCtx(void* ctx, void* dst, size_t dstBytes, void* src, size_t srcBytes)',
  );
  const checked = (code: unknown): number => {
    if (isError(code) !== 0) throw new Error('zstd can not process the block');
    return Number(code);
  };
  return {
    name: 'exported',
    compress: (block, target) => checked(compress(compressContext, target, target.length, block, block.length, LEVEL)),
    decompress: (frame, target) => checked(decompress(decompressContext, target, target.length, frame, frame.length)),
  };
}

/** `1.5.7` as zstd counts: 10507. */
function versionNumber(version: string | undefined): string {
  const [major = 0, minor = 0, patch = 0] = (version ?? '').split('.').map(Number);
  return String(major * 10_000 + minor * 100 + patch);
}

let chosen: BlockCompressor | undefined;

/** The fastest block compressor here; loaded with the first call. */
export const blockCompressor = (): BlockCompressor => (chosen ??= exportedCompressor() ?? zlibCompressor);
