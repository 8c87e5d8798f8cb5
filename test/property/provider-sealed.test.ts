/** Parts of sealed objects are those of the plain ones, whatever is asked and however a body comes. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { seededRandom, toSgwError } from '../../src/core/kit/index.ts';
import { memoryStore, type ByteSpan } from '../../src/core/objectstore/index.ts';
import { plainSize, sealedSize } from '../../src/core/service/providerkeys/sealed-object.ts';
import { openProvider } from '../unit/service/providerkeys/provider-rig.ts';

const seed = Number(process.env['SGW_SEED'] ?? Date.now() % 0x7fff_ffff);
const CHUNK = 64 * 1024;

/** Sizes around multiples of a chunk, where mistakes are. */
const sizes = fc
  .tuple(fc.integer({ min: 0, max: 5 }), fc.oneof(fc.integer({ min: -2, max: 2 }), fc.nat(CHUNK)))
  .map(([chunks, more]) => Math.max(0, chunks * CHUNK + more));
const spans: fc.Arbitrary<ByteSpan> = fc.oneof(
  fc.record({ offset: sizes, length: sizes.map((size) => Math.max(1, size)) }),
  sizes.map((size) => ({ suffix: Math.max(1, size) })),
  fc.record({ offset: fc.maxSafeNat(), length: fc.maxSafeNat().map((n) => Math.max(1, n)) }),
  fc.maxSafeNat().map((n) => ({ suffix: Math.max(1, n) })),
);

it(`a part is what it is of the plain object (seed ${String(seed)})`, async () => {
  const plain = memoryStore();
  const { objects } = await openProvider();
  const property = fc.asyncProperty(
    sizes,
    fc.array(spans, { minLength: 1, maxLength: 6 }),
    fc.array(fc.integer({ min: 1, max: 3 * CHUNK }), { minLength: 1, maxLength: 8 }),
    fc.boolean(),
    async (size, asked, cuts, streams) => {
      const body = seededRandom(size + 1).bytes(size);
      const pieces: Buffer[] = [];
      for (let at = 0, i = 0; at < size; i++) {
        pieces.push(body.subarray(at, at + (cuts[i % cuts.length] ?? 1)));
        at += pieces.at(-1)?.length ?? 0;
      }
      await plain.put('k', body);
      const come = async function* (): AsyncGenerator<Buffer> {
        await Promise.resolve();
        yield* pieces;
      };
      const streamed = { sizeBytes: size, sha256: '', crc32: '', pieces: come() };
      if (streams) await objects.putStream?.('k', streamed);
      else await objects.put('k', pieces);
      for (const span of asked) {
        const results = await Promise.all(
          [plain, objects].map(async (store) => {
            try {
              const got = await store.get('k', { span });
              return { sizeBytes: got?.sizeBytes, bytes: got?.bytes.toString('base64') };
            } catch (error) {
              return toSgwError(error).code;
            }
          }),
        );
        // A whole buffer in a message would take long.
        expect(JSON.stringify(results[1]) === JSON.stringify(results[0]), JSON.stringify(span)).toBe(true);
      }
    },
  );
  await fc.assert(property, { seed, numRuns: 150 });
}, 120_000);

it(`sizes follow from each other (seed ${String(seed)})`, () => {
  fc.assert(
    fc.property(fc.oneof(sizes, fc.nat(2 ** 45)), (size) => {
      expect(plainSize(sealedSize(size))).toBe(size);
    }),
    { seed },
  );
  const possible = new Set(Array.from({ length: 2 * CHUNK + 300 }, (_, size) => sealedSize(size)));
  for (let stored = 0; stored < sealedSize(2 * CHUNK + 100); stored++)
    expect(plainSize(stored) !== undefined, String(stored)).toBe(possible.has(stored));
});

it('a body of another size than was said stores nothing', async () => {
  const { objects } = await openProvider();
  for (const [said, size] of [
    [10, 9],
    [10, 11],
    [CHUNK, CHUNK + 1],
    [2 * CHUNK, CHUNK],
  ] as const) {
    const come = async function* (): AsyncGenerator<Buffer> {
      await Promise.resolve();
      yield Buffer.alloc(size);
    };
    const body = { sizeBytes: said, sha256: '', crc32: '', pieces: come() };
    await expect(objects.putStream?.('k', body)).rejects.toMatchObject({ code: 'body-size' });
    expect(await objects.get('k')).toBeUndefined();
  }
});
