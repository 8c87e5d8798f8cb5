/** Commands over a real socket, compared byte by byte with what an independent builder expects. */
import { describe, expect, it } from 'vitest';
import { SgwError, seededRandom, type ErrorKind } from '../../../src/core/kit/index.ts';
import { ControlledDevice } from './controlled-device.ts';
import { Scene, SIZE } from './scene.ts';
import {
  bytesOf,
  chunk,
  clientFlags,
  dataChunk,
  goData,
  metaData,
  option,
  request,
  simpleReply,
  statusChunk,
} from './wire-builder.ts';

const READ = 0;
const WRITE = 1;
const DISC = 2;
const FLUSH = 3;
const TRIM = 4;
const CACHE = 5;
const ZERO = 6;
const STATUS = 7;
const DATA = seededRandom(7).bytes(200_000);
const COOKIE = 0xfedc_ba98_7654_3210n;

describe('transmission', () => {
  it.each([1, 5, 27, 28, 29, 4096])('writes and reads come out the same, fed by %i bytes', async (pieceBytes) => {
    await using scene = await Scene.open();
    const client = await scene.client();
    const data = DATA.subarray(0, 500);
    const bytes = bytesOf(
      request({ type: WRITE, cookie: 1n, offset: 1000, data }),
      request({ type: READ, cookie: 2n, offset: 1000, length: data.length }),
      request({ type: FLUSH, cookie: 3n }),
      request({ type: DISC, cookie: 4n }),
    );
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      client.send(bytes.subarray(at, at + pieceBytes));
      if (pieceBytes < 100) await new Promise(setImmediate);
    }
    expect(await client.rest()).toEqual(bytesOf(simpleReply(0, 1n), simpleReply(0, 2n, data), simpleReply(0, 3n)));
    await scene.settled();
    expect(scene.faults).toEqual([]);
  });

  it.each([1, 4096, 65_535, 65_536, 200_000])('a structured read of %i bytes has offset and data', async (length) => {
    await using scene = await Scene.open();
    const client = await scene.client({ isStructured: true });
    client.send(request({ type: WRITE, cookie: 1n, offset: 4096, data: DATA }));
    await client.expect(simpleReply(0, 1n));
    client.send(request({ type: READ, flags: 4, cookie: COOKIE, offset: 4096, length }));
    await client.expect(dataChunk(COOKIE, 4096, DATA.subarray(0, length)));
  });

  it('many requests in one piece are all answered, each with its own cookie', async () => {
    await using scene = await Scene.open();
    const client = await scene.client();
    const count = 3000;
    client.send(
      ...Array.from({ length: count }, (_, i) => request({ type: READ, cookie: BigInt(i), offset: i, length: 512 })),
    );
    const replies = await client.take(count * 528);
    const cookies = new Set<bigint>();
    for (let i = 0; i < count; i++) cookies.add(replies.readBigUInt64BE(i * 528 + 8));
    expect(cookies.size).toBe(count);
  });

  it('hands FUA, NO_HOLE and FAST_ZERO to the device', async () => {
    const device = new ControlledDevice(SIZE);
    await using scene = await Scene.open({ device });
    const client = await scene.client();
    client.send(
      request({ type: WRITE, flags: 1, cookie: 1n, data: DATA.subarray(0, 10) }),
      request({ type: TRIM, flags: 1, cookie: 2n, length: 10 }),
      request({ type: ZERO, flags: 1 | 2, cookie: 3n, length: 10 }),
      request({ type: ZERO, flags: 16, cookie: 4n, length: 10 }),
      request({ type: CACHE, cookie: 5n, length: 10 }),
    );
    await client.expect(bytesOf(...[1n, 2n, 3n, 4n, 5n].map((cookie) => simpleReply(0, cookie))));
    expect(device.calls).toEqual([
      'write fua',
      'trim fua',
      'mayTrim false fastOnly false',
      'zero fua',
      'mayTrim true fastOnly true',
      'zero',
      'prefetch',
    ]);
  });

  it('replies come as calls end, writes of one commit together, and not before', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('write').add('read');
    await using scene = await Scene.open({ device });
    const client = await scene.client();
    client.send(
      request({ type: WRITE, cookie: 1n, data: DATA.subarray(0, 4096) }),
      request({ type: WRITE, cookie: 2n, offset: 4096, data: DATA.subarray(4096, 8192) }),
      request({ type: READ, cookie: 3n, length: 4096 }),
      request({ type: FLUSH, cookie: 4n }),
    );
    await client.expect(simpleReply(0, 4n));
    device.open();
    await client.expect(bytesOf(simpleReply(0, 1n), simpleReply(0, 2n), simpleReply(0, 3n, DATA.subarray(0, 4096))));
  });

  it.each<[ErrorKind, number]>([
    ['readOnly', 1],
    ['exhausted', 28],
    ['fenced', 108],
    ['aborted', 108],
    ['corrupt', 5],
    ['unavailable', 5],
    ['notFound', 5],
    ['unsupported', 95],
  ])('a failure of kind %s is error %i, thrown or rejected, and the connection goes on', async (kind, errno) => {
    const device = new ControlledDevice(SIZE);
    await using scene = await Scene.open({ device });
    const client = await scene.client();
    const structured = await scene.client({ isStructured: true });
    const failure = new SgwError(kind, 'test', 'it failed');
    device.failure = failure;
    client.send(
      request({ type: WRITE, cookie: 1n, data: DATA.subarray(0, 10) }),
      request({ type: READ, cookie: 2n, length: 10 }),
    );
    await client.expect(bytesOf(simpleReply(errno, 1n), simpleReply(errno, 2n)));
    device.failure = undefined;
    device.holds.add('write').add('read').add('flush');
    for (const [type, code] of [
      [FLUSH, 0],
      [READ, 10],
    ] as const) {
      structured.send(request({ type, cookie: COOKIE, length: code }));
      while (device.calls.at(-1) !== (type === FLUSH ? 'flush' : 'read')) await new Promise(setImmediate);
      device.open(failure);
      await structured.expect(
        type === FLUSH ? simpleReply(errno, COOKIE) : chunk(0x8001, COOKIE, bytesOf([32, errno], [16, 9], 'it failed')),
      );
    }
  });
});

describe('requests that are refused', () => {
  it.each([
    ['a command nobody knows', 22, { type: 99 }],
    ['a flag nobody knows', 22, { type: READ, flags: 1 << 9, length: 1 }],
    ['a flag of another command', 22, { type: CACHE, flags: 16, length: 1 }],
    ['a read beyond the end', 22, { type: READ, offset: SIZE - 1, length: 2 }],
    ['a read far beyond', 22, { type: READ, offset: 0xffff_ffff_ffff_ffffn, length: 1 }],
    ['a read of nothing', 22, { type: READ, length: 0 }],
    ['a read that is too long', 22, { type: READ, length: (32 << 20) + 1 }],
    ['a write beyond the end', 28, { type: WRITE, offset: SIZE - 1, data: Buffer.from('ab') }],
    ['a trim beyond the end', 22, { type: TRIM, offset: SIZE - 1, length: 2 }],
    ['advice beyond the end', 22, { type: CACHE, offset: SIZE, length: 1 }],
    ['a trim of nothing', 22, { type: TRIM, offset: SIZE, length: 0 }],
    ['zeroes beyond the end', 28, { type: ZERO, offset: SIZE, length: 1 }],
    ['block status without a context', 22, { type: STATUS, length: 1 }],
    ['DF without structured replies', 22, { type: READ, flags: 4, length: 1 }],
  ])('%s: error %i, and the next one is answered', async (_, errno, fields) => {
    await using scene = await Scene.open();
    const client = await scene.client();
    client.send(request({ cookie: COOKIE, ...fields }), request({ type: FLUSH, cookie: 1n }));
    await client.expect(bytesOf(simpleReply(errno, COOKIE), simpleReply(0, 1n)));
  });

  it.each([READ, FLUSH, TRIM, CACHE, ZERO])('FUA goes with command %i, as with every one', async (type) => {
    await using scene = await Scene.open();
    const client = await scene.client();
    client.send(request({ type, flags: 1, cookie: COOKIE, length: type === FLUSH ? 0 : 8 }));
    await client.expect(simpleReply(0, COOKIE, Buffer.alloc(type === READ ? 8 : 0)));
  });

  it('a trim or write of a read-only export: EPERM, and the payload is skipped', async () => {
    await using scene = await Scene.open({ isReadOnly: true });
    const client = await scene.client();
    client.send(
      request({ type: WRITE, cookie: 1n, data: DATA.subarray(0, 100) }),
      request({ type: TRIM, cookie: 2n, length: 1 }),
      request({ type: READ, cookie: 3n, length: 4 }),
    );
    await client.expect(bytesOf(simpleReply(1, 1n), simpleReply(1, 2n), simpleReply(0, 3n, Buffer.alloc(4))));
  });

  it.each([
    ['something that is no request', Buffer.alloc(28, 7)],
    ['a write of more than the limit', request({ type: WRITE, cookie: 1n, length: (32 << 20) + 1 })],
  ])('%s ends the connection, after what came before was answered', async (_, bytes) => {
    await using scene = await Scene.open();
    const client = await scene.client();
    client.send(bytesOf(request({ type: FLUSH, cookie: 1n }), bytes));
    expect(await client.rest()).toEqual(simpleReply(0, 1n));
    await scene.settled();
    expect(scene.faults).toHaveLength(1);
  });
});

describe('block status', () => {
  const numbers = {
    name: 'x:numbers',
    query: async (offset: number, length: number, max: number) =>
      Promise.resolve(
        [
          { length: 512, flags: 1 },
          { length: Math.max(1, length - 512), flags: offset },
        ].slice(0, max),
      ),
  };

  it('has a chunk for each chosen context, the last one done', async () => {
    await using scene = await Scene.open({ contexts: [numbers] });
    const client = await scene.connect();
    client.send(clientFlags(), option(8), option(10, metaData('mem', ['base:allocation', 'x:numbers'])));
    expect([await client.skipOptionReplies(), await client.skipOptionReplies()]).toEqual([1, 1]);
    client.send(option(7, goData('mem')));
    await client.skipOptionReplies();
    client.send(request({ type: WRITE, cookie: 1n, offset: 8192, data: DATA.subarray(0, 4096) }));
    await client.expect(simpleReply(0, 1n));
    client.send(request({ type: STATUS, cookie: COOKIE, length: 65_536 }));
    await client.expect(
      bytesOf(
        statusChunk(
          COOKIE,
          1,
          [
            [8192, 3],
            [4096, 0],
            [53_248, 3],
          ],
          0,
        ),
        statusChunk(COOKIE, 2, [
          [512, 1],
          [65_024, 0],
        ]),
      ),
    );
    client.send(request({ type: STATUS, flags: 8, cookie: COOKIE, offset: 8192, length: 65_536 }));
    await client.expect(bytesOf(statusChunk(COOKIE, 1, [[4096, 0]], 0), statusChunk(COOKIE, 2, [[512, 1]])));
  });
});
