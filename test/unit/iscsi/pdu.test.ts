/** Framing of PDUs: headers, additional headers, digests, padding; fed whole and cut at every byte. */
import { describe, expect, it } from 'vitest';
import { digestOf, dataDigest } from '../../../src/core/iscsi/digest.ts';
import { FramingError, pduBytes, PduReader, sealPdu, type Digests } from '../../../src/core/iscsi/pdu.ts';
import { ByteQueue } from '../../../src/core/sockets/index.ts';

/** Bit by bit, with the reflected polynomial of Castagnoli. */
function crc32c(bytes: Buffer): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const littleEndian = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

interface Parts {
  readonly data?: Buffer;
  readonly ahsWords?: number;
  readonly digests?: Digests;
  readonly padding?: number;
}

const NONE: Digests = { header: false, data: false };
const BOTH: Digests = { header: true, data: true };
const EVERY: readonly Digests[] = [NONE, { header: true, data: false }, { header: false, data: true }, BOTH];

/** A PDU whose header has a number in each byte that framing does not look at. */
function build({ data = Buffer.alloc(0), ahsWords = 0, digests = NONE, padding = 0 }: Parts = {}): Buffer {
  const header = Buffer.from(Array.from({ length: 48 + ahsWords * 4 }, (_, i) => i));
  header[4] = ahsWords;
  header.writeUIntBE(data.length, 5, 3);
  const padded = Buffer.concat([data, Buffer.alloc(-data.length & 3, padding)]);
  return Buffer.concat([
    header,
    ...(digests.header ? [littleEndian(crc32c(header))] : []),
    padded,
    ...(digests.data && data.length > 0 ? [littleEndian(crc32c(padded))] : []),
  ]);
}

interface Read {
  readonly header: Buffer;
  readonly data: Buffer;
  readonly outcome: string;
}

/** Reads PDUs out of pieces. */
function readAll(pieces: readonly Buffer[], digests: Digests = NONE, dataBytesMax = 1024): Read[] {
  const queue = new ByteQueue();
  const reader = new PduReader(queue, dataBytesMax);
  reader.setDigests(digests);
  const all: Read[] = [];
  let open: { header: Buffer; data: Buffer } | undefined;
  for (const piece of pieces) {
    queue.push(Buffer.from(piece));
    for (;;) {
      if (open === undefined) {
        const header = reader.header();
        if (header === undefined) break;
        open = { header: Buffer.from(header), data: Buffer.alloc(reader.dataLength) };
      }
      const outcome = reader.data(open.data);
      if (outcome === 'more') break;
      all.push({ ...open, outcome });
      open = undefined;
    }
  }
  expect(queue.length + (open?.data.length ?? 0)).toBe(0);
  return all;
}

const DATA = Buffer.from('0123456789abc');

describe('CRC32C', () => {
  /** RFC 7143, B.4: the digest as its bytes are sent. */
  it.each([
    ['zeroes', '00'.repeat(32), 'aa36918a'],
    ['ones', 'ff'.repeat(32), '43aba862'],
    ['counting up', Buffer.from(Array.from({ length: 32 }, (_, i) => i)).toString('hex'), '4e79dd46'],
    ['counting down', Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)).toString('hex'), '5cdb3f11'],
    [
      'a SCSI read',
      '01c0000000000000000000000000000014000000000004000000001400000018280000000000000002000000' + '00000000',
      '563a96d9',
    ],
  ])('of %s is that of the RFC', (_, input, digest) => {
    const bytes = Buffer.from(input, 'hex');
    expect(littleEndian(digestOf(bytes)).toString('hex')).toBe(digest);
    expect(littleEndian(crc32c(bytes)).toString('hex')).toBe(digest);
    expect(littleEndian(dataDigest(bytes)).toString('hex')).toBe(digest);
  });

  it.each([1, 2, 3, 4, 5])('of %i bytes of data covers the padding', (length) => {
    const data = DATA.subarray(0, length);
    expect(dataDigest(data)).toBe(crc32c(Buffer.concat([data, Buffer.alloc(-length & 3)])));
  });
});

describe('a PDU', () => {
  const cases = EVERY.flatMap((digests) =>
    [0, 1, 2, 3, 4, 13].flatMap((length) => [0, 2].map((ahsWords) => ({ digests, length, ahsWords }))),
  );

  it.each(cases)('is read wherever it is cut: %j', ({ digests, length, ahsWords }) => {
    const data = DATA.subarray(0, length);
    const one = build({ data, ahsWords, digests });
    const stream = Buffer.concat([one, build({ digests }), one]);
    const expected = readAll([stream], digests);
    expect(expected.map((read) => [read.header.length, read.data.toString(), read.outcome])).toEqual([
      [48 + ahsWords * 4, data.toString(), 'whole'],
      [48, '', 'whole'],
      [48 + ahsWords * 4, data.toString(), 'whole'],
    ]);
    expect(expected[0]?.header).toEqual(one.subarray(0, 48 + ahsWords * 4));
    for (let cut = 1; cut < stream.length; cut++)
      expect(readAll([stream.subarray(0, cut), stream.subarray(cut)], digests)).toEqual(expected);
    const bytes = Array.from(stream, (byte) => Buffer.of(byte));
    expect(readAll(bytes, digests)).toEqual(expected);
  });

  it('may be padded with other bytes than zeroes, which the digest covers', () => {
    const pdu = build({ data: DATA, digests: BOTH, padding: 0x55 });
    expect(readAll([pdu], BOTH)).toMatchObject([{ outcome: 'whole', data: DATA }]);
    const byte = Array.from(pdu, (value) => Buffer.of(value));
    expect(readAll(byte, BOTH)).toMatchObject([{ outcome: 'whole' }]);
  });

  it('with any bit of its header turned ends the reading, when headers have digests', () => {
    const digests = { header: true, data: false };
    for (let at = 8; at < 52; at++) {
      const pdu = build({ digests });
      pdu[at] = (pdu[at] ?? 0) ^ 0x10;
      expect(() => readAll([pdu], digests), String(at)).toThrow(FramingError);
    }
  });

  it('with any bit of its data turned is damaged, and the next one is read', () => {
    for (let at = 52; at < 52 + 16 + 4; at++) {
      const pdu = build({ data: DATA, digests: BOTH });
      pdu[at] = (pdu[at] ?? 0) ^ 0x01;
      const outcomes = readAll([pdu, build({ data: DATA, digests: BOTH })], BOTH).map(({ outcome }) => outcome);
      expect(outcomes, String(at)).toEqual(['damaged', 'whole']);
    }
  });

  it('that is longer than agreed on is not waited for', () => {
    const whole = build({ data: Buffer.alloc(1024) });
    expect(readAll([whole], NONE, 1024)).toHaveLength(1);
    expect(() => readAll([build({ data: Buffer.alloc(1025) }).subarray(0, 48)], NONE, 1024)).toThrow(FramingError);
    expect(() => readAll([build({ ahsWords: 65 }).subarray(0, 48)])).toThrow(FramingError);
  });

  it('is read with the digests that hold from it on', () => {
    const queue = new ByteQueue();
    const reader = new PduReader(queue, 1024);
    queue.push(Buffer.concat([build(), build({ data: DATA, digests: BOTH })]));
    expect(reader.header()).toHaveLength(48);
    expect(reader.data(Buffer.alloc(0))).toBe('whole');
    reader.setDigests(BOTH);
    expect(reader.header()).toHaveLength(48);
    const data = Buffer.alloc(DATA.length);
    expect(reader.data(data)).toBe('whole');
    expect(data).toEqual(DATA);
  });

  it.each(EVERY)('is finished with length, padding and digests: %j', (digests) => {
    for (let length = 0; length <= DATA.length; length++) {
      const data = DATA.subarray(0, length);
      const expected = build({ data, digests });
      const bytes = Buffer.alloc(3 + pduBytes(length, digests), 0xee);
      expected.copy(bytes, 3, 0, 48);
      bytes.fill(0xee, 3 + 4, 3 + 8);
      data.copy(bytes, 3 + (digests.header ? 52 : 48));
      sealPdu(bytes, 3, length, digests);
      expect(bytes.subarray(3).toString('hex')).toBe(expected.toString('hex'));
      expect(bytes.toString('hex', 0, 3)).toBe('eeeeee');
    }
  });
});
