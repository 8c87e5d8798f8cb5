/** The NBD client against a server that says what the test tells it to. */
import { describe, expect, it } from 'vitest';
import type { DeviceExtent } from '../../../src/core/blockdevice/index.ts';
import type { SgwError } from '../../../src/core/kit/index.ts';
import { NbdClient, type ClientRequest, type WireFailure } from '../../../src/core/nbd/client/index.ts';
import { waitFor } from '../sockets/byte-client.ts';
import { ScriptedServer, type Offer } from './scripted-server.ts';
import {
  bytesOf,
  chunk,
  clientFlags,
  dataChunk,
  goData,
  metaData,
  option,
  simpleReply,
  statusChunk,
} from './wire-builder.ts';

class Asked implements ClientRequest {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  readonly data: Buffer | undefined;
  readonly answers: { readonly failure: WireFailure | undefined; readonly extents: readonly DeviceExtent[] }[] = [];

  constructor(type: number, offset: number, length: number, data?: Buffer, flags = 0) {
    this.type = type;
    this.flags = flags;
    this.offset = offset;
    this.length = length;
    this.data = data;
  }

  answered(failure: WireFailure | undefined, extents: readonly DeviceExtent[]): void {
    this.answers.push({ failure, extents });
  }
}

/** A read into memory with a margin that must stay as it is. */
function reading(offset: number, length: number): { readonly asked: Asked; readonly check: () => void } {
  const memory = Buffer.alloc(length + 32, 0xee);
  const asked = new Asked(0, offset, length, memory.subarray(16, 16 + length));
  return {
    asked,
    check: () => {
      expect([memory.subarray(0, 16), memory.subarray(-16)]).toEqual([Buffer.alloc(16, 0xee), Buffer.alloc(16, 0xee)]);
    },
  };
}

const noise = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7919) & 0xff));

describe('an NBD client', () => {
  it('negotiates structured replies, contexts and the export, byte for byte', async () => {
    await using server = await ScriptedServer.listen();
    const { client, peer } = await server.open({
      contexts: ['base:allocation', 'sgw:writer:vol-1:7', 'sgw:client:' + 'ab'.repeat(16)],
    });
    const sent = peer.options.map(({ code, data }) => option(code, data));
    expect(Buffer.concat(sent).toString('hex')).toBe(
      bytesOf(
        option(8),
        option(9, metaData('disk', ['sgw:writer'])),
        option(10, metaData('disk', ['base:allocation', `sgw:client:${'ab'.repeat(16)}`])),
        option(7, goData('disk', [3])),
      ).toString('hex'),
    );
    expect(client.info).toMatchObject({
      sizeBytes: 1 << 20,
      isStructured: true,
      statusContext: 1,
      writer: { volume: 'vol-1', epoch: 7 },
      isClaimed: true,
      payloadBytesMax: 1 << 25,
    });
    client.destroy();
  });

  it('a server that knows none of that is used as it is', async () => {
    await using server = await ScriptedServer.listen();
    const { client, peer } = await server.open({ isStructured: false });
    expect(client.info).toMatchObject({ isStructured: false, writer: undefined, isClaimed: false });
    const { asked, check } = reading(512, 1000);
    client.submit(asked);
    const { cookie } = await peer.request();
    peer.send(simpleReply(0, cookie, noise.subarray(0, 1000)));
    await waitFor('the answer', () => asked.answers.length > 0);
    expect(asked.answers).toEqual([{ failure: undefined, extents: [] }]);
    expect(asked.data?.equals(noise.subarray(0, 1000))).toBe(true);
    check();
    client.destroy();
  });

  it.each<[string, Offer, string, string]>([
    ['no such export', { refusal: 0x8000_0006 }, 'nbd-refused', 'notFound'],
    ['policy', { refusal: 0x8000_0002 }, 'nbd-refused', 'denied'],
    ['a server that ends', { refusal: 0x8000_0007 }, 'nbd-refused', 'unavailable'],
    ['the old form', { greeting: Buffer.alloc(18, 1) }, 'nbd-negotiation', 'unavailable'],
    ['an export that tells no flags', { flags: 0 }, 'nbd-negotiation', 'unavailable'],
  ])('is refused: %s', async (_why, offer, code, kind) => {
    await using server = await ScriptedServer.listen();
    const opening = NbdClient.open({
      address: server.address,
      exportName: 'disk',
      signal: AbortSignal.timeout(10_000),
    });
    const peer = await server.peer();
    peer.negotiate(offer).catch(() => undefined);
    await expect(opening).rejects.toMatchObject({ code, kind });
  });

  it('gives up a server that says nothing, when it is told to', async () => {
    await using server = await ScriptedServer.listen();
    const opening = NbdClient.open({ address: server.address, exportName: 'disk', signal: AbortSignal.timeout(50) });
    await expect(opening).rejects.toMatchObject({ kind: 'aborted' });
  });

  it('sends requests as the specification has them, many in one turn, long data from where they are', async () => {
    await using server = await ScriptedServer.listen();
    const { client, peer } = await server.open();
    const long = Buffer.alloc(100_000, 7);
    const asked = [
      new Asked(1, 4096, 5, Buffer.from('hello'), 1),
      new Asked(1, 1 << 19, long.length, long),
      new Asked(3, 0, 0),
      new Asked(6, 0x1234_0000, 65_536, undefined, 2),
    ];
    for (const one of asked) client.submit(one);
    expect(await peer.request()).toMatchObject({ type: 1, flags: 1, offset: 4096n, data: Buffer.from('hello') });
    const second = await peer.request();
    expect(second.data.equals(long)).toBe(true);
    const third = await peer.request();
    expect(third).toMatchObject({ type: 3, length: 0 });
    expect(await peer.request()).toMatchObject({ type: 6, flags: 2, offset: 0x1234_0000n, length: 65_536 });
    // In another order, and a failure with its number.
    peer.send(simpleReply(28, third.cookie), simpleReply(0, second.cookie));
    await waitFor('two answers', () => asked[1]?.answers.length === 1);
    expect(asked.map(({ answers }) => answers.map(({ failure }) => failure?.errno))).toEqual([
      [],
      [undefined],
      [28],
      [],
    ]);
    expect(client.underWay).toBe(2);
    client.destroy();
  });

  it.each([1, 3, 19, 4096, 100_000])('understands structured replies that come by %i bytes', async (pieceBytes) => {
    await using server = await ScriptedServer.listen();
    const { client, peer } = await server.open({ contexts: ['base:allocation'] });
    const reads = [reading(0, 3000), reading(8192, 2000), reading(0, 10)];
    const status = new Asked(7, 0, 10_000);
    for (const { asked } of reads) client.submit(asked);
    client.submit(status);
    const cookies: bigint[] = [];
    for (let i = 0; i < 4; i++) cookies.push((await peer.request()).cookie);
    const [whole = 0n, pieces = 0n, failing = 0n, told = 0n] = cookies;
    const hole = chunk(2, pieces, bytesOf([64, 8192 + 500], [32, 1000]), 0);
    const bytes = Buffer.concat([
      chunk(1, pieces, bytesOf([64, 8192 + 1500], noise.subarray(0, 500)), 0),
      dataChunk(whole, 0, noise),
      hole,
      chunk(0x8001, failing, bytesOf([32, 5], [16, 4], 'ouch'), 0),
      chunk(1, pieces, bytesOf([64, 8192], noise.subarray(500, 1000)), 0),
      statusChunk(told, 1, [
        [4096, 3],
        [4096, 0],
        [1 << 20, 2],
      ]),
      chunk(0, failing, Buffer.alloc(0)),
      chunk(0, pieces, Buffer.alloc(0)),
    ]);
    for (let at = 0; at < bytes.length; at += pieceBytes) peer.send(bytes.subarray(at, at + pieceBytes));
    await waitFor('all answers', () => client.underWay === 0);
    for (const { check } of reads) check();
    expect(reads[0]?.asked.data?.equals(noise)).toBe(true);
    expect(
      reads[1]?.asked.data?.equals(
        Buffer.concat([noise.subarray(500, 1000), Buffer.alloc(1000), noise.subarray(0, 500)]),
      ),
    ).toBe(true);
    expect(reads[2]?.asked.answers[0]?.failure).toEqual({ errno: 5, message: 'ouch' });
    expect(status.answers[0]?.extents).toEqual([
      { length: 4096, isHole: true, isZero: true },
      { length: 4096, isHole: false, isZero: false },
      { length: 1808, isHole: false, isZero: true },
    ]);
    client.destroy();
  });

  const bad: readonly [string, (cookie: bigint) => Buffer][] = [
    ['what is no reply', () => bytesOf([32, 0xdeadbeef], [64, 0], [64, 0])],
    ['a reply to nothing', (cookie) => simpleReply(0, cookie + 5n)],
    ['a reply to what was answered before', (cookie) => simpleReply(0, cookie - (1n << 32n))],
    ['a simple reply with data', (cookie) => simpleReply(0, cookie, Buffer.alloc(1000))],
    ['data before the request', (cookie) => dataChunk(cookie, 511, Buffer.alloc(1000))],
    ['data beyond the request', (cookie) => dataChunk(cookie, 600, Buffer.alloc(1000))],
    ['more data than asked for', (cookie) => dataChunk(cookie, 512, Buffer.alloc(1001))],
    ['less data than asked for', (cookie) => dataChunk(cookie, 512, Buffer.alloc(999))],
    ['data that do not end', (cookie) => chunk(1, cookie, Buffer.alloc(4))],
    ['a hole beyond the request', (cookie) => chunk(2, cookie, bytesOf([64, 512], [32, 1001]))],
    ['a hole of an odd length', (cookie) => chunk(2, cookie, Buffer.alloc(11))],
    ['status that was not asked for', (cookie) => statusChunk(cookie, 1, [[512, 0]])],
    ['an error without its message', (cookie) => chunk(0x8001, cookie, bytesOf([32, 5], [16, 400]))],
    ['an error that is too long', (cookie) => chunk(0x8001, cookie, Buffer.alloc(10_000))],
    ['an unknown kind of chunk', (cookie) => chunk(9, cookie, Buffer.alloc(0))],
    ['nothing for a read', (cookie) => chunk(0, cookie, Buffer.alloc(0))],
  ];
  it.each(bad)('ends the connection for %s, and answers nobody', async (_what, make) => {
    await using server = await ScriptedServer.listen();
    const { client, peer } = await server.open();
    const ends: SgwError[] = [];
    client.onEnd = (reason) => ends.push(reason);
    const { asked, check } = reading(512, 1000);
    client.submit(asked);
    peer.send(make((await peer.request()).cookie));
    await waitFor('the end', () => ends.length > 0);
    expect(ends[0]).toMatchObject({ code: 'nbd-reply', kind: 'unavailable' });
    expect([asked.answers, client.isEnded]).toEqual([[], true]);
    check();
  });

  it('tells of the end when the server leaves, also in the middle of a reply', async () => {
    await using server = await ScriptedServer.listen();
    const { client, peer } = await server.open();
    const ends: SgwError[] = [];
    client.onEnd = (reason) => ends.push(reason);
    const { asked, check } = reading(0, 1000);
    client.submit(asked);
    const { cookie } = await peer.request();
    peer.send(dataChunk(cookie, 0, Buffer.alloc(1000)).subarray(0, 500));
    peer.socket.end();
    await waitFor('the end', () => ends.length > 0);
    expect([ends.length, ends[0]?.code, asked.answers.length]).toEqual([1, 'nbd-ended', 0]);
    check();
  });

  it('takes leave in order', async () => {
    await using server = await ScriptedServer.listen();
    const { client, peer } = await server.open();
    const ends: SgwError[] = [];
    client.onEnd = (reason) => ends.push(reason);
    const closed = client.close();
    expect((await peer.request()).type).toBe(2);
    peer.socket.end();
    await closed;
    expect(ends).toEqual([]);
  });

  it('the client flags are what the server offered', async () => {
    await using server = await ScriptedServer.listen();
    const opening = NbdClient.open({ address: server.address, exportName: 'disk', signal: AbortSignal.timeout(5000) });
    const peer = await server.peer();
    peer.send(bytesOf('NBDMAGIC', 'IHAVEOPT', [16, 1]));
    expect(await peer.take(4)).toEqual(clientFlags(1));
    peer.socket.destroy();
    await expect(opening).rejects.toMatchObject({ kind: 'unavailable' });
  });
});
