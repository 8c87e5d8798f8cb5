/** Negotiation, in bytes from an independent builder: whole, split, and one at a time. */
import { describe, expect, it } from 'vitest';
import { ByteQueue } from '../../../src/core/sockets/index.ts';
import { Handshake, type HandshakeStep, type TlsMode } from '../../../src/core/nbd/handshake.ts';
import { DEFAULT_LIMITS } from '../../../src/core/nbd/limits.ts';
import { MemoryExports, SIZE, type SceneOptions } from './scene.ts';
import { bytesOf, clientFlags, goData, metaData, option, optionReply } from './wire-builder.ts';

const FLAGS = 0b1001_0110_1101 | 0b100_0000_0000;
const WRITABLE = bytesOf([64, SIZE], [16, FLAGS]);

interface Outcome {
  readonly sent: Buffer;
  readonly step: HandshakeStep;
  readonly exports: MemoryExports;
}

async function negotiate(
  bytes: Buffer,
  {
    pieceBytes = bytes.length,
    tls = 'off',
    ...scene
  }: Omit<SceneOptions, 'tls'> & { pieceBytes?: number; tls?: TlsMode } = {},
): Promise<Outcome> {
  const queue = new ByteQueue();
  const sent: Buffer[] = [];
  const exports = new MemoryExports(scene);
  const handshake = new Handshake({
    queue,
    directory: exports,
    limits: { ...DEFAULT_LIMITS, ...scene.limits },
    tls,
    connectionId: 1,
    signal: new AbortController().signal,
    send: (data) => sent.push(data),
    claim: async () => Promise.resolve(),
    backlogBytes: () => 0,
  });
  let step: HandshakeStep = { kind: 'more' };
  for (let at = 0; at < bytes.length && step.kind === 'more'; at += pieceBytes) {
    queue.push(Buffer.from(bytes.subarray(at, at + pieceBytes)));
    step = await handshake.advance();
  }
  return { sent: Buffer.concat(sent), step, exports };
}

const infoReply = (code: number, kind: number, data: Buffer): Buffer => optionReply(code, 3, bytesOf([16, kind], data));
const blockSizes = (code: number): Buffer => infoReply(code, 3, bytesOf([32, 1], [32, 4096], [32, 32 << 20]));

describe('handshake', () => {
  it.each([1, 2, 3, 7, 1000])('GO answers size, flags, names and block sizes, fed by %i bytes', async (pieceBytes) => {
    const bytes = bytesOf(clientFlags(), option(7, goData('mem', [1, 2, 3])));
    const { sent, step } = await negotiate(bytes, { pieceBytes });
    expect(sent.toString('hex')).toBe(
      bytesOf(
        infoReply(7, 0, WRITABLE),
        infoReply(7, 1, Buffer.from('mem')),
        infoReply(7, 2, Buffer.from('in memory')),
        blockSizes(7),
        optionReply(7, 1),
      ).toString('hex'),
    );
    expect(step.kind).toBe('transmission');
  });

  it('INFO answers like GO, lets go of the export, and negotiation goes on', async () => {
    const { sent, step, exports } = await negotiate(bytesOf(clientFlags(), option(6, goData(''))));
    expect(sent).toEqual(bytesOf(infoReply(6, 0, WRITABLE), blockSizes(6), optionReply(6, 1)));
    expect(step.kind).toBe('more');
    expect(exports).toMatchObject({ opened: 1, released: 1 });
  });

  it('a read-only export offers no writing', async () => {
    const { sent } = await negotiate(bytesOf(clientFlags(), option(7, goData('mem'))), { isReadOnly: true });
    const flags = 1 | 2 | 4 | 256 | 1024;
    expect(sent.subarray(0, 32)).toEqual(infoReply(7, 0, bytesOf([64, SIZE], [16, flags])));
  });

  it('DF is offered once replies are structured', async () => {
    const { sent } = await negotiate(bytesOf(clientFlags(), option(8), option(7, goData('mem'))));
    expect(sent.subarray(0, 20)).toEqual(optionReply(8, 1));
    expect(sent.subarray(20, 52)).toEqual(infoReply(7, 0, bytesOf([64, SIZE], [16, FLAGS | 128])));
  });

  it('EXPORT_NAME answers without zeroes, or with 124 of them, as the client flags say', async () => {
    const short = await negotiate(bytesOf(clientFlags(3), option(1, Buffer.from('mem'))));
    expect(short.sent).toEqual(WRITABLE);
    expect(short.step.kind).toBe('transmission');
    const long = await negotiate(bytesOf(clientFlags(1), option(1)));
    expect(long.sent).toEqual(bytesOf(WRITABLE, Buffer.alloc(124)));
  });

  it('EXPORT_NAME of an unknown export closes without a word, GO says so', async () => {
    const old = await negotiate(bytesOf(clientFlags(), option(1, Buffer.from('other'))));
    expect([old.step.kind, old.sent.length]).toEqual(['closed', 0]);
    const { sent, step } = await negotiate(bytesOf(clientFlags(), option(7, goData('other'))));
    expect(sent.readUInt32BE(12)).toBe(0x8000_0006);
    expect(step.kind).toBe('more');
  });

  it('LIST names exports, or is refused where they are not listed', async () => {
    const { sent } = await negotiate(bytesOf(clientFlags(), option(3)));
    expect(sent).toEqual(bytesOf(optionReply(3, 2, bytesOf([32, 3], 'memin memory')), optionReply(3, 1)));
    const hidden = await negotiate(bytesOf(clientFlags(), option(3)), { isListed: false });
    expect(hidden.sent.readUInt32BE(12)).toBe(0x8000_0002);
  });

  it('ABORT is acknowledged and closes', async () => {
    const { sent, step } = await negotiate(bytesOf(clientFlags(), option(2)));
    expect(sent).toEqual(optionReply(2, 1));
    expect(step).toEqual({ kind: 'closed', reason: undefined });
  });

  it.each([
    [11, 'extended headers'],
    [4, 'an option that was withdrawn'],
    [0xffff_ffff, 'an option nobody knows'],
  ])('option %i (%s) is not supported, and negotiation goes on', async (code) => {
    const { sent, step } = await negotiate(bytesOf(clientFlags(), option(code, Buffer.from('abc'))));
    expect(sent).toEqual(optionReply(code, 0x8000_0001));
    expect(step.kind).toBe('more');
  });

  it.each([
    ['LIST with data', option(3, Buffer.from('x'))],
    ['STRUCTURED_REPLY with data', option(8, Buffer.from('x'))],
    ['GO without anything', option(7)],
    ['GO whose name ends beyond its data', option(7, bytesOf([32, 100], 'mem', [16, 0]))],
    ['GO with fewer requests than it says', option(7, bytesOf([32, 3], 'mem', [16, 2], [16, 1]))],
    ['GO with bytes to spare', option(7, bytesOf(goData('mem'), [8, 0]))],
    ['SET_META_CONTEXT before structured replies', option(10, metaData('mem', ['base:allocation']))],
  ])('%s is invalid, and negotiation goes on', async (_, bytes) => {
    const { sent, step, exports } = await negotiate(bytesOf(clientFlags(), bytes));
    expect(sent.readUInt32BE(12)).toBe(0x8000_0003);
    expect(step.kind).toBe('more');
    expect(exports.opened).toBe(exports.released);
  });

  it.each([
    ['client flags nobody knows', clientFlags(7)],
    ['something that is no option', bytesOf(clientFlags(), 'GET / HTTP/1.1\r\n')],
    ['a huge option', bytesOf(clientFlags(), 'IHAVEOPT', [32, 7], [32, 0xffff_ffff])],
  ])('%s ends the connection', async (_, bytes) => {
    const { step } = await negotiate(bytes);
    expect(step.kind).toBe('closed');
  });

  it('options without end are cut off', async () => {
    const many = Array.from({ length: 20 }, () => option(8));
    const { step } = await negotiate(bytesOf(clientFlags(), ...many), { limits: { optionsMax: 19 } });
    expect(step.kind).toBe('closed');
  });
});

describe('metadata contexts', () => {
  const dirty = { name: 'qemu:dirty-bitmap:b1', query: async () => Promise.resolve([]) };
  const structured = bytesOf(clientFlags(), option(8));

  it('are listed all, by namespace, or by name', async () => {
    const ask = async (queries: readonly string[]): Promise<string[]> => {
      const bytes = bytesOf(structured, option(9, metaData('mem', queries)));
      const { sent } = await negotiate(bytes, { contexts: [dirty] });
      const names: string[] = [];
      for (let at = 20; sent.readUInt32BE(at + 12) === 4; at += 20 + sent.readUInt32BE(at + 16))
        names.push(sent.toString('utf8', at + 24, at + 20 + sent.readUInt32BE(at + 16)));
      return names;
    };
    expect(await ask([])).toEqual(['base:allocation', dirty.name]);
    expect(await ask(['base:'])).toEqual(['base:allocation']);
    expect(await ask(['qemu:', 'x:y'])).toEqual([dirty.name]);
    expect(await ask([dirty.name])).toEqual([dirty.name]);
  });

  it('are set by full name only, each with its id, for the export that they were set for', async () => {
    const set = option(10, metaData('mem', ['base:', 'base:allocation', dirty.name, 'no:such']));
    const scene = { contexts: [dirty] };
    const { sent, step } = await negotiate(bytesOf(structured, set, option(7, goData('mem'))), scene);
    const named = (id: number, name: string): Buffer => optionReply(10, 4, bytesOf([32, id], name));
    const expected = bytesOf(named(1, 'base:allocation'), named(2, dirty.name), optionReply(10, 1));
    expect(sent.subarray(20, 20 + expected.length)).toEqual(expected);
    expect(step).toMatchObject({ contexts: [{ name: 'base:allocation' }, { name: dirty.name }], isStructured: true });
    const other = await negotiate(bytesOf(structured, set, option(7, goData(''))), scene);
    expect(other.step).toMatchObject({ contexts: [] });
  });

  it('that an export finds by query are offered', async () => {
    const found: { name: string; query: () => Promise<[]> }[] = [];
    const { step } = await negotiate(
      bytesOf(structured, option(10, metaData('mem', ['a:b'])), option(7, goData('mem'))),
      {
        contexts: found,
        findContexts: async (queries) => {
          found.push(...queries.map((name) => ({ name, query: async (): Promise<[]> => Promise.resolve([]) })));
          return Promise.resolve();
        },
      },
    );
    expect(step).toMatchObject({ contexts: [{ id: 1, name: 'a:b' }] });
  });
});

describe('TLS in the handshake', () => {
  it('required: nothing is told before it', async () => {
    const { sent, exports } = await negotiate(bytesOf(clientFlags(), option(3), option(7, goData('mem'))), {
      tls: 'require',
    });
    expect(sent.readUInt32BE(12)).toBe(0x8000_0005);
    expect(exports.opened).toBe(0);
    const old = await negotiate(bytesOf(clientFlags(), option(1, Buffer.from('mem'))), { tls: 'require' });
    expect([old.step.kind, old.sent.length]).toEqual(['closed', 0]);
  });

  it('off: STARTTLS is refused by policy', async () => {
    const { sent } = await negotiate(bytesOf(clientFlags(), option(5)));
    expect(sent.readUInt32BE(12)).toBe(0x8000_0002);
  });

  it('on: STARTTLS is acknowledged; bytes behind it in the clear end the connection', async () => {
    const clean = await negotiate(bytesOf(clientFlags(), option(5)), { tls: 'on' });
    expect([clean.step.kind, clean.sent]).toEqual(['startTls', optionReply(5, 1)]);
    const injected = await negotiate(bytesOf(clientFlags(), option(5), option(7, goData('mem'))), { tls: 'on' });
    expect(injected.step.kind).toBe('closed');
  });

  it('what was negotiated before TLS does not count after it', async () => {
    const queue = new ByteQueue();
    const handshake = new Handshake({
      queue,
      directory: new MemoryExports({}),
      limits: DEFAULT_LIMITS,
      tls: 'on',
      connectionId: 1,
      signal: new AbortController().signal,
      send: () => undefined,
      claim: async () => Promise.resolve(),
      backlogBytes: () => 0,
    });
    queue.push(bytesOf(clientFlags(), option(8), option(10, metaData('mem', ['base:allocation'])), option(5)));
    expect((await handshake.advance()).kind).toBe('startTls');
    handshake.secured('alice');
    queue.push(option(7, goData('mem')));
    expect(await handshake.advance()).toMatchObject({ kind: 'transmission', isStructured: false, contexts: [] });
  });
});
