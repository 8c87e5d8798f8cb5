/**
 * Any bytes at all from a server: a client answers its requests, ends with the protocol's error, or waits; it touches no memory but that
 * of its requests. SGW_SEED=N replays a run.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DeviceExtent } from '../../src/core/blockdevice/index.ts';
import { SgwError } from '../../src/core/kit/index.ts';
import type { ClientRequest, WireFailure } from '../../src/core/nbd/client/index.ts';
import { negotiate } from '../../src/core/nbd/client/negotiation.ts';
import { ReplyParser } from '../../src/core/nbd/client/reply-parser.ts';
import { Slots } from '../../src/core/nbd/client/request.ts';
import { ByteQueue } from '../../src/core/sockets/index.ts';
import { bytesOf, chunk, GREETING, optionReply, simpleReply } from '../unit/nbd/wire-builder.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261130);
const LENGTH = 700;
const AT = 5000;
const MARGIN = 64;

const noise = fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes));
/** Of the requests that are under way; now and then another one. */
const cookie = fc.oneof(
  { weight: 8, arbitrary: fc.nat(3).map((slot) => (1n << 32n) | BigInt(slot)) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }) },
);
const near = fc.oneof(fc.nat(LENGTH + 50), fc.constantFrom(0, 1, LENGTH - 1, LENGTH, LENGTH + 1, 0xffff_ffff));
const payload = fc.oneof(
  noise,
  fc
    .tuple(near, near)
    .map(([from, length]) => bytesOf([64, AT + from], Buffer.alloc(Math.min(length, LENGTH + 20), 7))),
  fc.constant(bytesOf([64, AT], Buffer.alloc(LENGTH, 9))),
  fc.tuple(near, near).map(([from, length]) => bytesOf([64, AT + from], [32, length])),
  fc
    .tuple(fc.nat(2), fc.array(fc.tuple(near, fc.nat(3)), { maxLength: 5 }))
    .map(([id, extents]) => bytesOf([32, id], ...extents.map(([length, flags]) => bytesOf([32, length], [32, flags])))),
  fc.tuple(fc.nat(200), fc.nat(100), noise).map(([errno, length, text]) => bytesOf([32, errno], [16, length], text)),
);
const kind = fc.oneof(fc.constantFrom(0, 1, 2, 5, 0x8001, 0x8002), fc.nat(0xffff));
const reply = fc.oneof(
  { weight: 1, arbitrary: noise },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom(0, 5, 108), cookie, fc.constantFrom(0, 10, LENGTH))
      .map(([errno, id, length]) => simpleReply(errno, id, Buffer.alloc(length, 3))),
  },
  {
    weight: 8,
    arbitrary: fc
      .tuple(kind, cookie, payload, fc.constantFrom(0, 1))
      .map(([type, id, bytes, flags]) => chunk(type, id, bytes, flags)),
  },
);

/** One request of each sort, whose memory lies between margins. */
class Asked implements ClientRequest {
  readonly type: number;
  readonly flags = 0;
  readonly offset = AT;
  readonly length = LENGTH;
  readonly memory = Buffer.alloc(LENGTH + 2 * MARGIN, 0xee);
  readonly data: Buffer | undefined;
  answers = 0;

  constructor(type: number) {
    this.type = type;
    this.data = type < 2 ? this.memory.subarray(MARGIN, MARGIN + LENGTH) : undefined;
  }

  answered(_failure: WireFailure | undefined, extents: readonly DeviceExtent[]): void {
    this.answers += 1;
    expect(extents.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(LENGTH);
  }

  check(): void {
    expect(this.answers).toBeLessThanOrEqual(1);
    for (const margin of [this.memory.subarray(0, MARGIN), this.memory.subarray(-MARGIN)])
      expect(margin.every((byte) => byte === 0xee)).toBe(true);
    if (this.type !== 0) expect(this.memory.every((byte) => byte === 0xee)).toBe(true);
  }
}

function feed(queue: ByteQueue, bytes: Buffer, pieceBytes: number, consume: () => void): void {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    queue.push(Buffer.from(bytes.subarray(at, at + pieceBytes)));
    consume();
  }
}

describe('an NBD client that is spoken to badly', () => {
  it('answers, waits, or ends with an error of its own, and touches nothing else', () => {
    let broken = 0;
    let answered = 0;
    fc.assert(
      fc.property(
        fc.array(reply, { maxLength: 8 }),
        fc.constantFrom(1, 7, 64, 10_000),
        fc.boolean(),
        (replies, pieceBytes, isStructured) => {
          const queue = new ByteQueue();
          const slots = new Slots();
          const parser = new ReplyParser({ queue, slots, isStructured, statusContext: 1 });
          const requests = [0, 7, 1, 0].map((type) => new Asked(type));
          for (const request of requests) slots.take(request);
          try {
            feed(queue, Buffer.concat(replies), pieceBytes, () => {
              parser.consume();
            });
          } catch (error) {
            expect(error).toMatchObject({ code: 'nbd-reply' });
            broken += 1;
          }
          for (const request of requests) {
            request.check();
            answered += request.answers;
          }
        },
      ),
      { seed, numRuns: 3000 },
    );
    // Both were tried.
    expect([broken > 500, answered > 500]).toEqual([true, true]);
  });

  it('negotiates with whatever comes, and ends with an error of its own', async () => {
    const option = fc
      .tuple(fc.constantFrom(8, 9, 10, 7, 3), fc.oneof(fc.constantFrom(1, 2, 3, 4, 0x8000_0001), fc.nat(0xffff)), noise)
      .map(([code, type, data]) => optionReply(code, type, data));
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(fc.oneof(option, noise), { maxLength: 8 }), async (isGreeted, parts) => {
        const queue = new ByteQueue();
        queue.push(Buffer.concat([...(isGreeted ? [GREETING] : []), ...parts]));
        const over = new SgwError('unavailable', 'nbd-ended', 'there is no more');
        const channel = {
          take: async (count: number) =>
            queue.length < count ? Promise.reject(over) : Promise.resolve(queue.take(count)),
          send: () => undefined,
          secure: async () => Promise.resolve(),
        };
        const failure: unknown = await negotiate(channel, { exportName: 'disk', isTls: false }).catch(
          (error: unknown) => error,
        );
        if (failure instanceof SgwError)
          expect(['nbd-ended', 'nbd-negotiation', 'nbd-refused']).toContain(failure.code);
        else expect(failure).toMatchObject({ isClaimed: false });
      }),
      { seed, numRuns: 1500 },
    );
  });
});
