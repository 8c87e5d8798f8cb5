import { describe, expect, it } from 'vitest';
import {
  MemoryDevice,
  type Completion,
  type DeviceExtent,
  type ZeroCall,
} from '../../../../src/core/blockdevice/index.ts';
import { SgwError } from '../../../../src/core/kit/index.ts';
import { ControlledDevice } from '../../nbd/controlled-device.ts';
import { BLOCK, check, GOOD, hex, IDENTITY, INVALID_FIELD, newBench, type Answer } from './initiator.ts';

const OUT_OF_RANGE = check('5/2100');
const BAD_LENGTH = check('5/1a00');
const BAD_PARAMETER = check('5/2600');

/** Notes what is trimmed and made zero. */
class Noting extends MemoryDevice {
  readonly noted: (string | number)[][] = [];
  override trim(offset: number, length: number): Completion {
    this.noted.push(['trim', offset / BLOCK, length / BLOCK]);
    this.bytes.fill(0, offset, offset + length);
    return undefined;
  }
  override writeZeroes(offset: number, length: number, call?: ZeroCall): Completion {
    this.noted.push([call?.mayTrim === true ? 'zero, trimmed' : 'zero', offset / BLOCK, length / BLOCK]);
    return super.writeZeroes(offset, length, call);
  }
  override write(offset: number, data: Buffer): Completion {
    this.noted.push(['write', offset / BLOCK, data.length / BLOCK]);
    return super.write(offset, data);
  }
}

const unmapList = (
  extents: readonly (readonly [number | bigint, number])[],
  descriptorBytes = extents.length * 16,
): Buffer => {
  const list = Buffer.alloc(8 + extents.length * 16);
  list.writeUInt16BE(list.length - 2, 0);
  list.writeUInt16BE(descriptorBytes, 2);
  extents.forEach(([lba, blocks], i) => {
    list.writeBigUInt64BE(BigInt(lba), 8 + i * 16);
    list.writeUInt32BE(blocks, 16 + i * 16);
  });
  return list;
};
const unmapCdb = (bytes: number): string => `42 00 00000000 00 ${bytes.toString(16).padStart(4, '0')} 00`;

describe('UNMAP', () => {
  it('lets go of extents, and of neighbours at once', async () => {
    const device = new Noting(1 << 20);
    device.bytes.fill(1);
    const { host } = await newBench({}, device);
    const list = unmapList([
      [0, 1],
      [1, 2],
      [5, 0],
      [8, 8],
      [2047, 1],
      [2048, 0],
    ]);
    await host.good(unmapCdb(list.length), { dataOut: list });
    expect(device.noted).toEqual([
      ['trim', 0, 3],
      ['trim', 8, 8],
      ['trim', 2047, 1],
    ]);
    expect((await host.good('28 00 00000000 00 0003 00')).every((byte) => byte === 0)).toBe(true);
    expect(device.bytes[3 * BLOCK]).toBe(1);
  });

  it('takes a list of nothing, and no list', async () => {
    const device = new Noting(1 << 20);
    const { host } = await newBench({}, device);
    await host.good(unmapCdb(8), { dataOut: unmapList([]) });
    await host.good(unmapCdb(0));
    // A descriptor that is not whole is passed by.
    await host.good(unmapCdb(24), { dataOut: unmapList([[0, 1]], 15) });
    expect(device.noted).toEqual([]);
  });

  const many = Array.from({ length: 257 }, (_, i): [number, number] => [i, 1]);
  const refused: readonly [string, Buffer, number | undefined, Partial<Answer>][] = [
    ['a header that is cut', Buffer.alloc(7), undefined, BAD_LENGTH],
    ['more descriptors than there are', unmapList([[0, 1]], 32), undefined, BAD_LENGTH],
    ['less than it should have', unmapList([[0, 1]]), 40, BAD_LENGTH],
    ['too many descriptors', unmapList(many), undefined, BAD_PARAMETER],
    ['too many blocks', unmapList([[0, (1 << 20) + 1]]), undefined, BAD_PARAMETER],
    [
      'too many blocks in all',
      unmapList([
        [0, 1 << 19],
        [0, 1 << 19],
        [0, 1],
      ]),
      undefined,
      BAD_PARAMETER,
    ],
    [
      'blocks beyond the end, after good ones',
      unmapList([
        [0, 8],
        [1 << 21, 1],
      ]),
      undefined,
      OUT_OF_RANGE,
    ],
    [
      'a block far away',
      unmapList([
        [0, 8],
        [(1n << 64n) - 1n, 1],
      ]),
      undefined,
      OUT_OF_RANGE,
    ],
  ];

  it.each(refused)('refuses %s, and does nothing', async (_name, list, bytes, answer) => {
    const device = new Noting(1 << 30);
    const { host } = await newBench({}, device);
    expect(await host.send(unmapCdb(bytes ?? list.length), { dataOut: list })).toMatchObject(answer);
    expect(device.noted).toEqual([]);
  });

  it('is not there where the unit is not thin, and anchors nothing', async () => {
    const thick = await newBench({ identity: { ...IDENTITY, isThin: false } });
    expect(await thick.host.send(unmapCdb(8), { dataOut: unmapList([]) })).toMatchObject(check('5/2000'));
    const { host } = await newBench();
    expect(await host.send('42 01 00000000 00 0008 00', { dataOut: unmapList([]) })).toMatchObject(INVALID_FIELD);
  });

  it('stops at a failure', async () => {
    const device = new ControlledDevice(1 << 20);
    const { host } = await newBench({}, device);
    device.failure = new SgwError('fenced', 'test', 'taken over');
    const list = unmapList([
      [0, 1],
      [8, 1],
    ]);
    expect(await host.send(unmapCdb(list.length), { dataOut: list })).toMatchObject(check('2/0403'));
    expect(device.calls).toEqual(['trim']);
  });
});

describe('WRITE SAME', () => {
  const ones = Buffer.alloc(BLOCK, 1);
  const zeroes = Buffer.alloc(BLOCK);
  const cases: readonly [string, string, Buffer, (string | number)[][]][] = [
    ['(10) of a pattern', '41 00 00000003 00 0005 00', ones, [['write', 3, 5]]],
    ['(10) of zeroes', '41 00 00000003 00 0005 00', zeroes, [['zero', 3, 5]]],
    ['(10) of zeroes with UNMAP', '41 08 00000003 00 0005 00', zeroes, [['zero, trimmed', 3, 5]]],
    ['(10) of a pattern with UNMAP', '41 08 00000003 00 0005 00', ones, [['write', 3, 5]]],
    ['(16) of a pattern', '93 00 0000000000000003 00000005 00 00', ones, [['write', 3, 5]]],
    [
      '(16) with UNMAP and no data',
      '93 09 0000000000000003 00000005 00 00',
      Buffer.alloc(0),
      [['zero, trimmed', 3, 5]],
    ],
    ['(16) with no data', '93 01 0000000000000003 00000005 00 00', Buffer.alloc(0), [['zero', 3, 5]]],
    [
      '(16) of more than is written at once',
      '93 00 0000000000000000 00000fff 00 00',
      ones,
      [
        ['write', 0, 2048],
        ['write', 2048, 2047],
      ],
    ],
  ];

  it.each(cases)('%s', async (_name, cdb, dataOut, noted) => {
    const device = new Noting(4 << 20);
    device.bytes.fill(9);
    const { host } = await newBench({}, device);
    await host.good(cdb, { dataOut });
    expect(device.noted).toEqual(noted);
    const [, first = 0] = noted[0] ?? [];
    const blocks = noted.reduce((sum, [, , count]) => sum + Number(count), 0);
    const expected = Buffer.alloc(4 << 20, 9);
    expected.fill(dataOut[0] ?? 0, Number(first) * BLOCK, (Number(first) + blocks) * BLOCK);
    expect(device.bytes.equals(expected)).toBe(true);
  });

  it('must have a count, a block of data, and room on the disk, or does nothing', async () => {
    const device = new Noting(64 << 20);
    const { host } = await newBench({}, device);
    const refused: readonly [string, Buffer, Partial<Answer>][] = [
      ['41 00 00000000 00 0000 00', ones, INVALID_FIELD],
      ['93 00 0000000000000000 00000000 00 00', ones, INVALID_FIELD],
      ['93 00 0000000000000000 0000fff9 00 00', ones, INVALID_FIELD],
      ['41 10 00000000 00 0001 00', ones, INVALID_FIELD],
      ['41 18 00000000 00 0001 00', ones, INVALID_FIELD],
      ['41 20 00000000 00 0001 00', ones, INVALID_FIELD],
      ['41 01 00000000 00 0001 00', ones, INVALID_FIELD],
      ['41 00 00020000 00 0001 00', ones, OUT_OF_RANGE],
      ['93 00 ffffffffffffffff 00000001 00 00', ones, OUT_OF_RANGE],
      ['41 00 00000000 00 0001 00', Buffer.alloc(2 * BLOCK, 1), check('5/0e03')],
      ['41 00 00000000 00 0001 00', Buffer.alloc(BLOCK / 2, 1), check('5/0e03')],
      ['41 00 00000000 00 0001 00', Buffer.alloc(0), check('5/0e03')],
    ];
    for (const [cdb, dataOut, answer] of refused) expect(await host.send(cdb, { dataOut }), cdb).toMatchObject(answer);
    expect(
      await host.send('41 00 00000000 00 0001 00', { dataOut: ones.subarray(1), dataOutBytes: BLOCK }),
    ).toMatchObject(check('5/0e03'));
    expect(device.noted).toEqual([]);
  });

  it('unmaps nothing where the unit is not thin', async () => {
    const { host } = await newBench({ identity: { ...IDENTITY, isThin: false } });
    expect(await host.send('41 08 00000000 00 0001 00', { dataOut: zeroes })).toMatchObject(INVALID_FIELD);
    await host.good('41 00 00000000 00 0001 00', { dataOut: zeroes });
  });
});

describe('GET LBA STATUS', () => {
  const status = (lba: number, length: string): string => `9e 12 ${lba.toString(16).padStart(16, '0')} ${length} 00 00`;

  it('tells which blocks are there, from the one that was asked for', async () => {
    const { host, device } = await newBench();
    device.bytes.fill(1, 8 * BLOCK, 16 * BLOCK);
    expect((await host.good(status(0, '00001000'))).toString('hex')).toBe(
      hex(`00000034 00000000
           0000000000000000 00000008 01000000
           0000000000000008 00000008 00000000
           0000000000000010 000007f0 01000000`).toString('hex'),
    );
    expect((await host.good(status(10, '00000018'))).toString('hex')).toBe(
      hex('00000014 00000000 000000000000000a 00000006 00000000').toString('hex'),
    );
    expect((await host.good(status(2047, '00000018'))).toString('hex')).toBe(
      hex('00000014 00000000 00000000000007ff 00000001 01000000').toString('hex'),
    );
  });

  it('is cut at the allocation length, and refuses what is beyond the end', async () => {
    const { host } = await newBench();
    for (const length of [0, 4, 8, 23]) {
      const data = await host.good(status(0, length.toString(16).padStart(8, '0')));
      expect(data).toHaveLength(length);
    }
    expect(await host.send(status(2048, '00000018'))).toMatchObject(OUT_OF_RANGE);
    expect(await host.send(status(2047, '00000018'))).toMatchObject(GOOD);
    expect(await host.send(`9e 12 ${'00'.repeat(8)} 00000018 01 00`)).toMatchObject(INVALID_FIELD);
  });

  it('counts a block as there when a part of it is', async () => {
    class Bytes extends MemoryDevice {
      pieces: DeviceExtent[] = [];
      override extents(): Promise<DeviceExtent[]> {
        return Promise.resolve(this.pieces);
      }
    }
    const device = new Bytes(1 << 20);
    const { host } = await newBench({}, device);
    const piece = (length: number, isHole: boolean): DeviceExtent => ({ length, isHole, isZero: isHole });
    const cases: readonly [DeviceExtent[], string][] = [
      [
        [piece(700, true), piece(100, false), piece(1248, true)],
        '0000000000000000 00000001 01000000 0000000000000001 00000001 00000000 0000000000000002 00000002 01000000',
      ],
      [[piece(100, false)], '0000000000000000 00000001 00000000'],
      [[piece(100, true), piece(924, true)], '0000000000000000 00000002 01000000'],
      [[piece(1024, false), piece(300, true)], '0000000000000000 00000002 00000000'],
    ];
    for (const [pieces, descriptors] of cases) {
      device.pieces = pieces;
      expect((await host.good(status(0, '00001000'))).subarray(8).toString('hex')).toBe(
        descriptors.replaceAll(' ', ''),
      );
    }
  });

  it('tells of a device that fails', async () => {
    class Failing extends MemoryDevice {
      override extents(): Promise<DeviceExtent[]> {
        return Promise.reject(new SgwError('unavailable', 'test', 'gone'));
      }
    }
    const { host } = await newBench({}, new Failing(1 << 20));
    expect(await host.send(status(0, '00000018'))).toMatchObject(check('2/0401'));
  });
});
