/** Replies are gathered, kept apart, and their memory goes back once it was sent. */
import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Replies, writeSimple } from '../../../src/core/nbd/replies.ts';
import { BATCH_BYTES, BufferPool, InFlight, type Room } from '../../../src/core/sockets/index.ts';
import { bytesOf, chunk, simpleReply } from './wire-builder.ts';

const cookie = (low: number): { high: number; low: number } => ({ high: 0, low });

/** Keeps a copy of what is written at the moment of writing; says that it was sent when the test says so. */
class SlowSink extends Writable {
  readonly chunks: Buffer[] = [];
  #sent: (() => void)[] = [];

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.chunks.push(Buffer.from(bytes));
    this.#sent.push(done);
  }

  /** Sends everything, also what is written as a consequence. */
  async send(): Promise<Buffer> {
    while (this.#sent.length > 0) {
      this.#sent.shift()?.();
      await new Promise(setImmediate);
    }
    return Buffer.concat(this.chunks);
  }
}

/** Counts the buffers that are out. */
class CountingPool extends BufferPool {
  out = 0;
  override get(bytes: number): ReturnType<BufferPool['get']> {
    this.out += 1;
    return super.get(bytes);
  }
  override put(bytes: Buffer): void {
    this.out -= 1;
    super.put(bytes);
  }
}

function scene(): { sink: SlowSink; pool: CountingPool; replies: Replies } {
  const sink = new SlowSink({ highWaterMark: 1 << 30 });
  const pool = new CountingPool();
  return { sink, pool, replies: new Replies(sink, pool, new InFlight(BATCH_BYTES)) };
}

function fill(room: Room, low: number, byte: number): void {
  writeSimple(room.buffer.bytes, room.start, 0, 0, low);
  room.buffer.bytes.fill(byte, room.start + 16, room.start + room.length);
}

const filled = (low: number, byte: number, length: number): Buffer =>
  simpleReply(0, BigInt(low), Buffer.alloc(length - 16, byte));

describe('replies', () => {
  it('of one turn leave in one write, and nothing leaves before', async () => {
    const { sink, replies } = scene();
    for (let i = 0; i < 100; i++) replies.simple(i % 2, cookie(i));
    replies.schedule();
    expect(sink.chunks).toEqual([]);
    expect(replies.waitingBytes).toBe(1600);
    await new Promise(setImmediate);
    expect(sink.chunks).toEqual([bytesOf(...Array.from({ length: 100 }, (_, i) => simpleReply(i % 2, BigInt(i))))]);
    expect([replies.waitingBytes, replies.sentBytes]).toEqual([0, 1600]);
  });

  it('of more than a batch keep their order and contents, and give all memory back', async () => {
    const { sink, pool, replies } = scene();
    const expected: Buffer[] = [];
    // Of both kinds: those that share a buffer, and those with one of their own.
    for (let i = 0; i < 60; i++) {
      const length = i % 7 === 3 ? 64 * 1024 + i : 10_000 + i * 300;
      const room = replies.reserve(length);
      fill(room, i, i);
      replies.keep(room);
      expected.push(filled(i, i, length));
    }
    replies.flush();
    expect(pool.out).toBeGreaterThan(3);
    expect((await sink.send()).equals(Buffer.concat(expected))).toBe(true);
    replies.close();
    expect(pool.out).toBe(0);
  });

  it('that are filled later do not hold up others, and nobody writes in their place', async () => {
    const { sink, pool, replies } = scene();
    const late = Array.from({ length: 40 }, (_, i) => {
      const room = replies.reserve(16 + 4096);
      replies.defer(room);
      replies.simple(0, cookie(1000 + i));
      return room;
    });
    replies.flush();
    const early = await sink.send();
    expect(early.equals(bytesOf(...late.map((_, i) => simpleReply(0, BigInt(1000 + i)))))).toBe(true);
    sink.chunks.length = 0;
    const order = late.map((_, i) => (i * 17) % 40);
    for (const i of order) {
      const room = late[i];
      if (room === undefined) continue;
      fill(room, i, i);
      replies.complete(room);
    }
    await new Promise(setImmediate);
    expect((await sink.send()).equals(bytesOf(...order.map((i) => filled(i, i, 4112))))).toBe(true);
    replies.close();
    expect(pool.out).toBe(0);
  });

  it('memory in which a failed call may still write is not used again', async () => {
    const { sink, pool, replies } = scene();
    const failed = replies.reserve(16 + 4096);
    replies.defer(failed);
    replies.structuredError(5, 'gone', cookie(1));
    replies.close();
    expect(await sink.send()).toEqual(chunk(0x8001, 1n, bytesOf([32, 5], [16, 4], 'gone')));
    expect(pool.out).toBe(1);
    expect(pool.get(BATCH_BYTES).bytes).not.toBe(failed.buffer.bytes);
  });

  it('memory is not used again before it was sent', async () => {
    const { sink, pool, replies } = scene();
    const first = replies.reserve(BATCH_BYTES);
    fill(first, 1, 1);
    replies.keep(first);
    replies.flush();
    const other = pool.get(BATCH_BYTES);
    expect(other.bytes).not.toBe(first.buffer.bytes);
    await sink.send();
    expect(pool.get(BATCH_BYTES).bytes).toBe(first.buffer.bytes);
  });

  it('of a socket that is gone are dropped, and their memory goes back', () => {
    const { sink, pool, replies } = scene();
    const room = replies.reserve(100_000);
    replies.keep(room);
    replies.simple(0, cookie(1));
    sink.destroy();
    replies.close();
    expect([sink.chunks, pool.out]).toEqual([[], 0]);
  });
});
