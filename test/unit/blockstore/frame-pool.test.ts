import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BLOCK_BYTES, FramePool, PAGE_BYTES, PAGE_HASH_BYTES, popcount16 } from '../../../src/core/blockstore/index.ts';
import type { DecodeTask, EncodedFrames } from '../../../src/core/blockstore/index.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';

let folder = '';
const pool = new FramePool({ threads: 1 });
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-pool-'));
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** Decodes everything that was encoded, into `target` or nowhere. */
function decodeAll(encoded: EncodedFrames, target?: DecodeTask['target']): DecodeTask {
  const frames = encoded.frames.map((entry) => {
    const pages = popcount16(entry.mask);
    const hashes = encoded.pageHashes.subarray(
      entry.hashIndex * PAGE_HASH_BYTES,
      (entry.hashIndex + pages) * PAGE_HASH_BYTES,
    );
    const bits = Array.from({ length: 16 }, (_, bit) => bit).filter((bit) => (entry.mask & (1 << bit)) !== 0);
    const slots = bits.map((bit, slot) => ({ slot, page: entry.block * 16 + bit, count: 1 }));
    return { span: 0, entry, segmentKey: 'log/1', pageHashes: hashes, slots };
  });
  const spans = [{ bytes: encoded.stored.slice(), baseOffset: 0 }];
  return { spans, frames, ...(target === undefined ? {} : { target }) };
}

function imageOf(seed: number, blocks: number): Buffer {
  const image = Buffer.alloc(blocks * BLOCK_BYTES);
  const random = seededRandom(seed);
  for (let page = 0; page < image.length / PAGE_BYTES; page += 3)
    random.bytes(PAGE_BYTES).copy(image, page * PAGE_BYTES);
  return image;
}

describe('the frame pool', () => {
  it('brings back what it encoded, with holes where pages are zero', async () => {
    const image = imageOf(1, 20).subarray(0, 20 * BLOCK_BYTES - 1000);
    const source = path.join(folder, 'source');
    const target = path.join(folder, 'target');
    writeFileSync(source, image);
    const encoded = await pool.encodeFile({
      path: source,
      sizeBytes: image.length,
      extents: [{ offset: 0, length: 20 * BLOCK_BYTES }],
    });
    expect(encoded.dataPages).toBe(107);
    writeFileSync(target, Buffer.alloc(image.length));
    await pool.decode(decodeAll(encoded, { path: target, sizeBytes: image.length }));
    expect(readFileSync(target).equals(image)).toBe(true);
  });

  it('leaves out pages whose hash is known, and reports those that became zero', async () => {
    const source = path.join(folder, 'known');
    const image = imageOf(2, 1);
    writeFileSync(source, image);
    const extents = [{ offset: 0, length: BLOCK_BYTES }];
    const first = await pool.encodeFile({ path: source, sizeBytes: image.length, extents });
    const knownHashes = Buffer.alloc(16 * PAGE_HASH_BYTES);
    [0, 3, 6, 9, 12, 15].forEach((page, i) => {
      Buffer.from(first.pageHashes).copy(
        knownHashes,
        page * PAGE_HASH_BYTES,
        i * PAGE_HASH_BYTES,
        (i + 1) * PAGE_HASH_BYTES,
      );
    });
    image.fill(7, 3 * PAGE_BYTES, 3 * PAGE_BYTES + 1);
    image.fill(0, 6 * PAGE_BYTES, 7 * PAGE_BYTES);
    writeFileSync(source, image);
    const second = await pool.encodeFile({ path: source, sizeBytes: image.length, extents, knownHashes });
    expect(second.frames.map((frame) => frame.mask)).toEqual([1 << 3]);
    expect(second.zeroed).toEqual([{ firstPage: 6, pageCount: 1 }]);
  });

  it('writes into the file that has the name now, not the one that had it before', async () => {
    const source = path.join(folder, 'renamed-source');
    const target = path.join(folder, 'renamed-target');
    const image = imageOf(3, 2);
    writeFileSync(source, image);
    const encoded = await pool.encodeFile({
      path: source,
      sizeBytes: image.length,
      extents: [{ offset: 0, length: image.length }],
    });
    writeFileSync(target, Buffer.alloc(image.length));
    await pool.decode(decodeAll(encoded, { path: target, sizeBytes: image.length }));
    renameSync(target, `${target}.published`);
    const other = Buffer.alloc(image.length);
    writeFileSync(target, other);
    await pool.decode(decodeAll(encoded, { path: target, sizeBytes: image.length }));
    expect(readFileSync(target).equals(image)).toBe(true);
  });

  it('moves large spans to the worker, and refuses damaged ones by the name of their object', async () => {
    const source = path.join(folder, 'large');
    const image = seededRandom(4).bytes(8 * BLOCK_BYTES);
    writeFileSync(source, image);
    const encoded = await pool.encodeFile({
      path: source,
      sizeBytes: image.length,
      extents: [{ offset: 0, length: image.length }],
    });
    const task = decodeAll(encoded);
    await pool.decode(task);
    expect(task.spans[0]?.bytes.length).toBe(0);
    const damaged = decodeAll(encoded);
    const bytes = damaged.spans[0]?.bytes ?? new Uint8Array(1);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    await expect(pool.decode(damaged)).rejects.toMatchObject({ kind: 'corrupt', details: { key: 'log/1' } });
  });

  it('says when the file became shorter', async () => {
    const source = path.join(folder, 'short');
    writeFileSync(source, Buffer.alloc(100));
    const task = { path: source, sizeBytes: BLOCK_BYTES, extents: [{ offset: 0, length: BLOCK_BYTES }] };
    await expect(pool.encodeFile(task)).rejects.toMatchObject({ kind: 'conflict', code: 'image-changed' });
  });
});
