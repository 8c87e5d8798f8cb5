/** Codecs round-trip, and damaged bytes are an error that says so, never another exception or other data. SGW_SEED=N replays a run. */
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameEncoder, blockViews, decodeFrame } from '../../src/core/blockstore/frame-codec.ts';
import {
  BLOCK_BYTES,
  BLOCK_PAGES,
  PAGE_BYTES,
  PAGE_HASH_BYTES,
  popcount16,
  type SegmentIndex,
} from '../../src/core/blockstore/index.ts';
import { parseMapObject } from '../../src/core/blockstore/map-object.ts';
import {
  decodeInterior,
  decodeLeaf,
  encodeInterior,
  encodeLeaf,
  type LeafRun,
  type NodePointer,
} from '../../src/core/blockstore/node-codec.ts';
import { sealSegment } from '../../src/core/blockstore/segment-codec.ts';
import { parseSegmentTail, parseWholeSegment } from '../../src/core/blockstore/segment-parse.ts';
import { SgwError, seededRandom } from '../../src/core/kit/index.ts';
import { buildSegment, buildTree } from '../reader/independent-builder.ts';
import { hash128, hash256, parseSegment } from '../reader/independent-formats.ts';
import { nodeOf, stamp } from '../unit/blockstore/volume-model.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261122);
const volumeId = 'vol-0123456789abcdef0';
const key = `volumes/${volumeId}/log/0000000000000003`;
const NOISE = seededRandom(3).bytes(PAGE_BYTES);
const ZEROES = Buffer.alloc(PAGE_BYTES);

const account = fc.integer({ min: 1, max: 999_999_999_999 }).map((n) => String(n).padStart(12, '0'));
const creators = fc.uniqueArray(account, { minLength: 1, maxLength: 3 }).map((set) => set.sort());
const hexDigits = (count: number): fc.Arbitrary<string> =>
  fc.nat(0xffff_ffff).map((n) =>
    seededRandom(n)
      .bytes(count / 2)
      .toString('hex'),
  );

/** A result, or the error that must be one about damage. */
function outcomeOf<T>(parse: () => T): { readonly value: T } | undefined {
  try {
    return { value: parse() };
  } catch (error) {
    if (error instanceof SgwError && (error.kind === 'corrupt' || error.kind === 'unsupported')) return undefined;
    throw error;
  }
}

/** Every truncation at both ends, and many bit flips. */
function damagesOf(bytes: Buffer, flips: number): Buffer[] {
  const random = seededRandom(seed);
  const step = Math.max(1, Math.floor(bytes.length / 600));
  const out: Buffer[] = [];
  for (let length = 0; length < bytes.length; length += length > bytes.length - 200 || length < 200 ? 1 : step)
    out.push(bytes.subarray(0, length));
  for (let i = 0; i < flips; i++) {
    const copy = Buffer.from(bytes);
    // Half of them in the last part, where footers, tables and trailers are.
    const from = i % 2 === 0 ? 0 : Math.max(0, bytes.length - 1200);
    const at = from + Math.floor(random.float() * (bytes.length - from));
    copy.writeUInt8(copy.readUInt8(at) ^ (1 << (i % 8)), at);
    out.push(copy);
  }
  return out;
}

const segment = buildSegment({
  volumeId,
  seq: 3,
  epoch: 2,
  creators: [['000000000001'], ['000000000001', '000000000002']],
  frames: [
    { block: 0, pages: { 0: stamp(1), 3: stamp(4) } },
    { block: 1, pages: { 2: stamp(5), 9: NOISE }, creators: 1, compressed: true },
  ],
  extents: [{ firstPage: 100, pageCount: 7 }],
});

const summary = (index: SegmentIndex): unknown => ({
  footer: index.footer,
  extents: index.extents,
  frames: Array.from({ length: index.frameCount }, (_, i) => index.frame(i)),
});

/** Reads a segment as the product does: its end, then page hashes and frames, each checked by what is checked already. */
function contentsOf(index: SegmentIndex, body: Buffer): Buffer {
  const { offset, count } = index.footer.pageHashes;
  const hashes = body.subarray(offset, offset + count * PAGE_HASH_BYTES);
  if (hash128(hashes) !== index.footer.pageHashesHash) throw new SgwError('corrupt', 'object-damaged', 'page hashes');
  return Buffer.concat(
    Array.from({ length: index.frameCount }, (_, i) => {
      const entry = index.frame(i);
      const own = hashes.subarray(
        entry.hashIndex * PAGE_HASH_BYTES,
        (entry.hashIndex + popcount16(entry.mask)) * PAGE_HASH_BYTES,
      );
      return decodeFrame(index.key, entry, body.subarray(entry.offset, entry.offset + entry.storedLength), own);
    }),
  );
}

describe(`block store codecs (SGW_SEED=${String(seed)})`, () => {
  it('frames and segments come back as they were sealed, in the eyes of the independent reader too', () => {
    const filling = fc.constantFrom(ZEROES, stamp(1), stamp(2), NOISE);
    const block = fc.record({
      pages: fc.array(filling, { minLength: BLOCK_PAGES, maxLength: BLOCK_PAGES }),
      creators: fc.nat(1),
    });
    const blocks = fc.uniqueArray(fc.tuple(fc.nat(2 ** 30), block), { selector: ([at]) => at, maxLength: 4 });
    fc.assert(
      fc.property(
        blocks,
        fc.array(creators, { minLength: 2, maxLength: 2 }),
        hexDigits(32),
        (list, sets, segmentId) => {
          const encoder = new FrameEncoder();
          for (const [at, { pages, creators: set }] of list)
            encoder.add(at, blockViews(Buffer.concat(pages)), undefined, set);
          const facts = {
            kind: 'data',
            volumeId,
            seq: 3,
            epoch: 1,
            segmentId,
            commitTimeMs: 5,
            prevHash: '0'.repeat(64),
            sizeBytes: BLOCK_BYTES,
          } as const;
          const extents = [{ firstPage: 2 ** 40, pageCount: 3 }];
          const sealed = sealSegment(
            key,
            { ...facts, consistent: true, records: null, creators: sets },
            [encoder.finish()],
            extents,
          );
          const body = Buffer.concat(sealed.body);
          const index = parseWholeSegment(key, body);
          expect(summary(index)).toEqual(summary(sealed.index));
          expect(index.hash).toBe(sealed.index.hash);
          const whole = Buffer.concat(list.flatMap(([, { pages }]) => pages.filter((page) => page !== ZEROES)));
          expect(contentsOf(index, body).equals(whole)).toBe(true);
          const own = parseSegment(key, body);
          expect(own.hash).toBe(sealed.index.hash);
          expect(own.frames.flatMap((frame) => frame.pages)).toEqual(
            list.flatMap(([at, { pages }]) =>
              pages.flatMap((page, i) => (page === ZEROES ? [] : [at * BLOCK_PAGES + i])),
            ),
          );
        },
      ),
      { seed, numRuns: 60 },
    );
  });

  it('leaves and interior nodes come back as they were encoded', () => {
    const source = fc.record({
      key: hexDigits(8).map((id) => `volumes/${id}/log/1`),
      segmentId: hexDigits(32),
      creators,
    });
    const run = fc.record({
      gap: fc.nat(9),
      count: fc.integer({ min: 1, max: 16 }),
      source,
      frame: fc.nat(8191),
      from: fc.nat(15),
    });
    const pointer = fc.record({
      key: hexDigits(8).map((id) => `volumes/${id}/map/1`),
      offset: fc.nat(2 ** 32 - 1),
      length: fc.nat(2 ** 32 - 1),
      hash: hexDigits(32),
      mappedPages: fc.nat(2 ** 50),
      creators,
    });
    const children = fc.uniqueArray(fc.tuple(fc.nat(1023), pointer), { selector: ([slot]) => slot, maxLength: 30 });
    fc.assert(
      fc.property(fc.array(run, { maxLength: 40 }), children, (specs, entries) => {
        let page = 0;
        const runs: LeafRun[] = specs.map(({ gap, from, ...rest }) => {
          const count = Math.min(rest.count, 16 - from);
          page += gap + count;
          return { page: page - count, count, source: rest.source, frame: rest.frame, slot: from };
        });
        const leaf = encodeLeaf(runs);
        expect(decodeLeaf(nodeOf(leaf, pointerTo(leaf)), pointerTo(leaf))).toEqual(runs);
        const sorted = entries.sort(([a], [b]) => a - b);
        const interior = encodeInterior(2, sorted);
        expect([...decodeInterior(nodeOf(interior, pointerTo(interior)), pointerTo(interior), 2)]).toEqual(sorted);
      }),
      { seed, numRuns: 100 },
    );
  });

  it('a damaged segment is refused, or reads the same', () => {
    const intact = parseWholeSegment(segment.key, segment.body);
    const data = contentsOf(intact, segment.body);
    for (const body of damagesOf(segment.body, 3000)) {
      const parsed = outcomeOf(() => {
        const index = parseWholeSegment(segment.key, body);
        return { index, data: contentsOf(index, body) };
      });
      if (parsed === undefined) continue;
      expect(summary(parsed.value.index)).toEqual(summary(intact));
      expect(parsed.value.index.hash).toBe(intact.hash);
      expect(parsed.value.data.equals(data)).toBe(true);
    }
  });

  it('a damaged end of a segment is refused, asks for more, or says the same, but for the hash that the next one checks', () => {
    const intact = summary(parseWholeSegment(segment.key, segment.body));
    const tail = segment.body.subarray(-1500);
    for (const damaged of damagesOf(tail, 3000)) {
      const parsed = outcomeOf(() =>
        parseSegmentTail(segment.key, damaged, segment.body.length - tail.length + damaged.length),
      );
      if (parsed === undefined) continue;
      if ('needBytes' in parsed.value) expect(parsed.value.needBytes).toBeGreaterThan(damaged.length);
      else expect(summary(parsed.value.index)).toEqual(intact);
    }
  });

  const leaf = encodeLeaf([
    { page: 4, count: 2, source: { key, segmentId: 'ab'.repeat(16), creators: ['000000000001'] }, frame: 0, slot: 0 },
    {
      page: 900,
      count: 16,
      source: { key, segmentId: 'cd'.repeat(16), creators: ['000000000002'] },
      frame: 9,
      slot: 0,
    },
  ]);
  const facts = { seq: 3, sizeBytes: 1 << 23, epoch: 2, commitTimeMs: 9, logHash: segment.hash, consistent: true };
  const mapKey = `volumes/${volumeId}/map/0000000000000003`;
  const tree = buildTree({
    key: mapKey,
    owner: volumeId,
    facts,
    leafIndex: 1,
    leaf,
    mappedPages: 18,
    creators: ['000000000001', '000000000002'],
  });

  it('a damaged map object is refused, or says the same', () => {
    const intact = parseMapObject(mapKey, tree.body);
    for (const body of damagesOf(tree.body, 2000)) {
      const parsed = outcomeOf(() => parseMapObject(mapKey, body));
      if (parsed !== undefined) expect(parsed.value).toEqual(intact);
    }
  });

  it('a damaged map node is refused, or says the same', () => {
    const [stored = Buffer.alloc(0), level1 = Buffer.alloc(0)] = tree.nodes;
    const runs = decodeLeaf(nodeOf(stored, pointerTo(stored)), pointerTo(stored));
    for (const damaged of damagesOf(stored, 1500)) {
      const parsed = outcomeOf(() => decodeLeaf(nodeOf(damaged, pointerTo(stored)), pointerTo(stored)));
      if (parsed !== undefined) expect(parsed.value).toEqual(runs);
    }
    const children = decodeInterior(nodeOf(level1, pointerTo(level1)), pointerTo(level1), 1);
    for (const damaged of damagesOf(level1, 1500)) {
      const parsed = outcomeOf(() => decodeInterior(nodeOf(damaged, pointerTo(level1)), pointerTo(level1), 1));
      if (parsed !== undefined) expect(parsed.value).toEqual(children);
    }
  });

  it('a map node that is nonsense under a hash that matches is refused, or decodes to something', () => {
    for (const stored of tree.nodes) {
      for (const nonsense of damagesOf(stored, 200)) {
        outcomeOf(() => decodeLeaf(nodeOf(nonsense, pointerTo(nonsense)), pointerTo(nonsense)));
        outcomeOf(() => decodeInterior(nodeOf(nonsense, pointerTo(nonsense)), pointerTo(nonsense), 1));
      }
    }
  });

  it.each([
    'null',
    '7',
    '"x"',
    '[]',
    '{}',
    '{"format":1}',
    '{"format":1,"cipher":"none"}',
    '{"format":2}',
    '{"format":1,',
  ])('a footer of %s under checksums that match is refused', (text) => {
    const damaged = withFooter(segment.body, text, 64);
    expect(outcomeOf(() => parseSegmentTail(segment.key, damaged, damaged.length))).toBeUndefined();
    expect(outcomeOf(() => parseMapObject(mapKey, withFooter(tree.body, text, 48)))).toBeUndefined();
  });
});

const pointerTo = (stored: Buffer): NodePointer => ({
  key: 'k',
  offset: 16,
  length: stored.length,
  hash: hash128(stored),
  mappedPages: 0,
  creators: [],
});

/** The object with another footer, its length, CRC and (of a map object) hash made to match. */
function withFooter(body: Buffer, text: string, trailerBytes: number): Buffer {
  const trailerAt = body.length - trailerBytes;
  const trailer = Buffer.from(body.subarray(trailerAt));
  const before = body.subarray(0, trailerAt - trailer.readUInt32LE(8));
  trailer.writeUInt32LE(Buffer.byteLength(text), 8);
  trailer.writeUInt32LE(crc32(text), 12);
  const out = Buffer.concat([before, Buffer.from(text), trailer]);
  out.write(hash256(out.subarray(0, -32)), out.length - 32, 'hex');
  return out;
}
