/**
 * Any bytes at all: an NBD server answers or closes, never fails, and lets go of all it opened. SGW_SEED=N replays a run.
 */
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { Scene, SIZE } from '../unit/nbd/scene.ts';
import { bytesOf, clientFlags, goData, metaData, option, request } from '../unit/nbd/wire-builder.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261125);
const scene = await Scene.open({ limits: { negotiationMs: 5000 } });

const noise = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes));
const name = fc.oneof(fc.constantFrom('', 'mem', 'other'), fc.string({ maxLength: 20 }));
const optionData = fc.oneof(
  noise,
  fc.tuple(name, fc.array(fc.nat(0xffff), { maxLength: 5 })).map(([text, infos]) => goData(text, infos)),
  fc
    .tuple(name, fc.array(fc.constantFrom('base:', 'base:allocation', 'x:', 'é'), { maxLength: 5 }))
    .map(([text, queries]) => metaData(text, queries)),
);
const anyOption = fc
  .tuple(fc.oneof(fc.integer({ min: 0, max: 12 }), fc.nat(0xffff_ffff)), optionData)
  .map(([code, data]) => option(code, data));
const near = (of: number): fc.Arbitrary<number> =>
  fc.oneof(fc.nat(of + 100), fc.constantFrom(0, of, of - 1, of + 1, 0xffff_ffff));
const anyRequest = fc
  .record({
    type: fc.oneof(fc.integer({ min: 0, max: 8 }), fc.nat(0xffff)),
    flags: fc.oneof(fc.constant(0), fc.nat(31), fc.nat(0xffff)),
    cookie: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    offset: fc.oneof(near(SIZE), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })),
    length: near(SIZE),
    data: noise,
  })
  .map(({ data, ...fields }) =>
    fields.type === 1 ? request({ ...fields, data, length: data.length }) : request(fields),
  );

/** Sends, in pieces, closes its side, and reads whatever comes until the server has closed. */
async function speak(bytes: Buffer, pieceBytes: number): Promise<void> {
  const client = await scene.connect();
  for (let at = 0; at < bytes.length; at += pieceBytes) client.send(bytes.subarray(at, at + pieceBytes));
  client.socket.end();
  await client.rest();
}

describe('an NBD server that is spoken to badly', () => {
  afterAll(async () => {
    await scene[Symbol.asyncDispose]();
  });

  const cases = fc.oneof(
    noise,
    fc.array(anyOption, { maxLength: 8 }).map((options) => bytesOf(clientFlags(), ...options)),
    fc
      .tuple(
        fc.array(anyOption, { maxLength: 2 }),
        fc.boolean(),
        fc.array(fc.oneof(anyRequest, noise), { maxLength: 12 }),
      )
      .map(([options, isStructured, requests]) =>
        bytesOf(
          clientFlags(),
          ...options,
          ...(isStructured ? [option(8), option(10, metaData('mem', ['base:allocation']))] : []),
          option(7, goData('mem')),
          ...requests,
        ),
      ),
  );

  it('answers or closes whatever the bytes, also cut off and flipped, and keeps nothing open', async () => {
    const damage = fc.record({
      cutAt: fc.option(fc.nat(400)),
      flipAt: fc.option(fc.nat(400)),
      pieceBytes: fc.integer({ min: 1, max: 500 }),
    });
    await fc.assert(
      fc.asyncProperty(cases, damage, async (whole, { cutAt, flipAt, pieceBytes }) => {
        const bytes = Buffer.from(whole.subarray(0, cutAt ?? whole.length));
        if (flipAt !== null && flipAt < bytes.length) bytes[flipAt] = (bytes[flipAt] ?? 0) ^ 0x55;
        await speak(bytes, pieceBytes);
      }),
      { seed, numRuns: 400 },
    );
    await scene.settled();
    expect(scene.exports.opened).toBeGreaterThan(50);
  });
});
