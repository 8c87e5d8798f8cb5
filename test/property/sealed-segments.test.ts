/** Sealed segments come back by the book, and no alteration that a hash could be made to fit is taken. SGW_SEED=N replays a run. */
import { createSecretKey } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameEncoder, blockViews } from '../../src/core/blockstore/frame-codec.ts';
import { BLOCK_BYTES, BLOCK_PAGES, PAGE_BYTES } from '../../src/core/blockstore/index.ts';
import { sealSegment } from '../../src/core/blockstore/segment-codec.ts';
import { parseWholeSegment } from '../../src/core/blockstore/segment-parse.ts';
import { SgwError, seededRandom } from '../../src/core/kit/index.ts';
import { buildSegment } from '../reader/independent-builder.ts';
import { decodeFrame, parseSegment } from '../reader/independent-formats.ts';
import { forgeSegment } from '../unit/blockstore/forging.ts';
import { stamp } from '../unit/blockstore/volume-model.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261122);
const volumeId = 'vol-0123456789abcdef0';
const key = `volumes/${volumeId}/log/0000000000000003`;
const dataKey = Buffer.alloc(32, 0xd1);
const dataKeyObject = createSecretKey(dataKey);
const FILLINGS = [stamp(1), stamp(2), seededRandom(3).bytes(PAGE_BYTES)];

const built = buildSegment({
  volumeId,
  seq: 3,
  dataKey,
  creators: [['000000000001'], ['000000000001', '000000000002']],
  frames: [
    { block: 1, pages: { 0: stamp(16), 3: stamp(19) } },
    { block: 7, pages: { 15: stamp(7) }, creators: 1, compressed: true },
  ],
  extents: [{ firstPage: 400, pageCount: 5 }],
});

/** Refused for damage or for a format that is not known; anything else that is thrown is a bug. */
function isRefused(body: Buffer): boolean {
  try {
    parseWholeSegment(key, body, dataKeyObject);
    return false;
  } catch (error) {
    if (error instanceof SgwError && (error.kind === 'corrupt' || error.kind === 'unsupported')) return true;
    throw error;
  }
}

describe(`C16 sealed segments (SGW_SEED=${String(seed)})`, () => {
  it('are read by the book as they were sealed, from any number of pieces', () => {
    const block = fc.record({
      pages: fc.dictionary(fc.nat(BLOCK_PAGES - 1).map(String), fc.nat(FILLINGS.length - 1), { minKeys: 1 }),
      creators: fc.nat(1),
    });
    const pieces = fc.array(fc.array(block, { maxLength: 4 }), { maxLength: 3 });
    const extents = fc.array(fc.record({ firstPage: fc.integer({ min: 1e6, max: 2e6 }), pageCount: fc.nat(9) }), {
      maxLength: 2,
    });
    fc.assert(
      fc.property(pieces, extents, fc.nat(), (list, unmap, saltSeed) => {
        let at = 0;
        const wanted: Buffer[] = [];
        const encoded = list.map((blocks) => {
          const encoder = new FrameEncoder();
          for (const { pages, creators } of blocks) {
            const bytes = Buffer.alloc(BLOCK_BYTES);
            for (const [page, filling] of Object.entries(pages).sort(([a], [b]) => Number(a) - Number(b))) {
              const contents = FILLINGS[filling] ?? stamp(0);
              contents.copy(bytes, Number(page) * PAGE_BYTES);
              wanted.push(contents);
            }
            encoder.add(at, blockViews(bytes), undefined, creators);
            at += 1;
          }
          return encoder.finish();
        });
        const facts = {
          kind: 'data',
          volumeId,
          seq: 3,
          epoch: 1,
          segmentId: 'ab'.repeat(16),
          commitTimeMs: 5,
          prevHash: '0'.repeat(64),
          sizeBytes: 1 << 20,
          consistent: true,
          records: null,
          creators: [['000000000001'], ['000000000002']],
        } as const;
        const seal = { dataKey: dataKeyObject, salt: seededRandom(saltSeed).bytes(32) };
        const { body, index } = sealSegment(key, facts, encoded, unmap, seal);
        const bytes = Buffer.concat(body);
        const own = parseWholeSegment(key, bytes, dataKeyObject);
        expect(own.footer).toEqual(index.footer);
        expect(own.hash).toBe(index.hash);
        const read = parseSegment(key, bytes, dataKey);
        expect(read.extents).toEqual(unmap);
        const pages = read.frames.flatMap((_frame, i) => [...decodeFrame(read, i)]);
        expect(Buffer.concat(pages).equals(Buffer.concat(wanted))).toBe(true);
        expect(wanted.every((page) => !bytes.includes(page.subarray(0, 64)))).toBe(true);
      }),
      { seed, numRuns: 40 },
    );
  });

  it('are refused with any bit flipped, though every hash that needs no key was made right', () => {
    expect(isRefused(forgeSegment(built.body, () => undefined))).toBe(false);
    const footerAt = built.body.length - 64 - built.body.readUInt32LE(built.body.length - 56);
    for (let at = 64; at < footerAt; at += at < 12_300 ? 97 : 1) {
      const forged = forgeSegment(built.body, ({ body }) => body.writeUInt8(body.readUInt8(at) ^ (1 << (at % 8)), at));
      expect(isRefused(forged), `byte ${String(at)}`).toBe(true);
    }
  });

  it('are refused with any field of the footer altered, taken away or added', () => {
    const fields: string[] = [];
    forgeSegment(built.body, ({ footer }) => fields.push(...Object.keys(footer)));
    for (const field of [...fields, 'another']) {
      for (const value of [undefined, null, 77, 'x', '00'.repeat(32), [], { offset: 64, count: 0, length: 20 }]) {
        let isSame = false;
        const forged = forgeSegment(built.body, ({ footer }) => {
          const before = JSON.stringify(footer);
          // The tables must still be found by who makes the hashes right.
          const name = ['frames', 'pageHashes', 'pageHashesHash', 'segmentId'].includes(field) ? 'another' : field;
          if (value === undefined) Reflect.deleteProperty(footer, name);
          else footer[name] = value;
          isSame = JSON.stringify(footer) === before;
        });
        expect(isRefused(forged), [field, JSON.stringify(value)].join()).toBe(!isSame);
      }
    }
  });

  it('are refused cut short anywhere', () => {
    for (let length = 0; length < built.body.length; length += length > 12_300 ? 1 : 131)
      expect(isRefused(built.body.subarray(0, length))).toBe(true);
  });
});
