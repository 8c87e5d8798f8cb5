import { describe, expect, it } from 'vitest';
import { MemoryDevice, type Completion } from '../../../../src/core/blockdevice/index.ts';
import { seededRandom, SgwError } from '../../../../src/core/kit/index.ts';
import { ControlledDevice } from '../../nbd/controlled-device.ts';
import { BLOCK, check, GOOD, hex, Initiator, INVALID_FIELD, newBench } from './initiator.ts';

const OUT_OF_RANGE = check('5/2100');
const noise = seededRandom(7).bytes(1 << 20);

/** Forms of a command by the size of their CDB, for an address and a number of blocks. */
const u = (value: number | bigint, bytes: number): string => value.toString(16).padStart(bytes * 2, '0');
const FORMS = {
  6: (opcode: string, lba: number | bigint, blocks: number) => `${opcode} ${u(lba, 3)} ${u(blocks & 0xff, 1)} 00`,
  10: (opcode: string, lba: number | bigint, blocks: number, flags = 0) =>
    `${opcode} ${u(flags, 1)} ${u(lba, 4)} 00 ${u(blocks, 2)} 00`,
  12: (opcode: string, lba: number | bigint, blocks: number, flags = 0) =>
    `${opcode} ${u(flags, 1)} ${u(lba, 4)} ${u(blocks, 4)} 00 00`,
  16: (opcode: string, lba: number | bigint, blocks: number, flags = 0) =>
    `${opcode} ${u(flags, 1)} ${u(lba, 8)} ${u(blocks, 4)} 00 00`,
} as const;

const PAIRS: readonly [6 | 10 | 12 | 16, string, string][] = [
  [6, '08', '0a'],
  [10, '28', '2a'],
  [12, 'a8', 'aa'],
  [16, '88', '8a'],
];

describe.each(PAIRS)('READ(%d) and WRITE of that size', (size, read, write) => {
  const form = FORMS[size];

  it('move whole blocks', async () => {
    const { host, device } = await newBench();
    for (const [lba, blocks] of [
      [0, 1],
      [3, 8],
      [2040, 8],
      [100, 255],
    ] as const) {
      const data = noise.subarray(lba, lba + blocks * BLOCK);
      await host.good(form(write, lba, blocks), { dataOut: data });
      expect(device.bytes.subarray(lba * BLOCK, (lba + blocks) * BLOCK).equals(data)).toBe(true);
      expect((await host.good(form(read, lba, blocks))).equals(data)).toBe(true);
    }
  });

  it('end within the disk, or nothing is done', async () => {
    const { host, device } = await newBench();
    const beyond: [number | bigint, number][] = [
      [2048, 1],
      [2047, 2],
      [1793, 256],
    ];
    if (size !== 6) beyond.push([2049, 0], [0x8000_0000, 1], [0xffff_ffff, 1], [0xffff_ffff, 0]);
    if (size === 16) beyond.push([1n << 63n, 1], [(1n << 64n) - 1n, 1], [(1n << 64n) - 1n, 0]);
    for (const [lba, blocks] of beyond) {
      expect(await host.send(form(read, lba, blocks)), `${String(lba)}+${String(blocks)}`).toMatchObject(OUT_OF_RANGE);
      expect(await host.send(form(write, lba, blocks), { dataOut: noise })).toMatchObject(OUT_OF_RANGE);
    }
    expect(device.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('take no count for nothing, but for 256 in the shortest', async () => {
    const { host } = await newBench();
    expect(await host.good(form(read, 0, 0))).toHaveLength(size === 6 ? 256 * BLOCK : 0);
    if (size !== 6) expect(await host.send(form(read, 2048, 0))).toMatchObject(GOOD);
  });

  it('refuse protection information and reserved bits', async () => {
    if (size === 6) return;
    const { host } = await newBench();
    for (const flags of [0x20, 0xe0, 0x01, 0x02, 0x04])
      for (const opcode of [read, write])
        expect(await host.send(FORMS[size](opcode, 0, 1, flags), { dataOut: noise })).toMatchObject(INVALID_FIELD);
  });
});

describe('READ', () => {
  it('says what it has when less is taken, and gives a part of a block', async () => {
    const { host, device } = await newBench({}, new ControlledDevice(1 << 20));
    noise.copy(device.bytes);
    for (const takes of [0, 1, 200, 512, 700, 1024, 5000]) {
      const { status, data, dataInBytes } = await host.send('28 00 00000000 00 0002 00', { takes });
      expect({ status, dataInBytes }).toEqual({ status: 0, dataInBytes: 1024 });
      expect(data.equals(noise.subarray(0, Math.min(takes, 1024)))).toBe(true);
    }
  });

  it('reads whole blocks of a device that has nothing less', async () => {
    class Blocks extends MemoryDevice {
      override readonly limits = { blockBytesMin: 512, blockBytesPreferred: 4096, payloadBytesMax: 1 << 20 };
      override read(offset: number, target: Buffer): Completion {
        expect([offset % 512, target.length % 512]).toEqual([0, 0]);
        return super.read(offset, target);
      }
    }
    const { host } = await newBench({}, new Blocks(1 << 20));
    await host.good('28 00 00000003 00 0002 00', { takes: 513 });
  });

  it('is at most as long as VPD page B0h says, and a write too', async () => {
    const { host } = await newBench({}, new MemoryDevice(32 << 20));
    expect(await host.good('28 00 00000000 00 4000 00')).toHaveLength(8 << 20);
    expect(await host.send('28 00 00000000 00 4001 00')).toMatchObject(INVALID_FIELD);
    const { senseBytes } = await host.send('8a 00 0000000000000000 00004001 00 00', { dataOut: noise });
    expect(senseBytes.subarray(12).toString('hex'), 'points to the number of blocks').toBe('240000cf000a');
  });

  it('with FUA makes durable what it tells', async () => {
    const device = new ControlledDevice(1 << 20);
    const { host } = await newBench({}, device);
    await host.good('28 08 00000000 00 0001 00');
    expect(device.calls).toEqual(['flush', 'read']);
  });
});

describe('WRITE', () => {
  it('writes the whole blocks that came, when less came than it takes', async () => {
    const { host, device } = await newBench();
    const data = Buffer.alloc(5 * BLOCK, 7);
    for (const [came, written] of [
      [0, 0],
      [200, 0],
      [512, 512],
      [1023, 512],
      [1024, 1024],
    ] as const) {
      device.bytes.fill(0);
      await host.good('2a 00 00000000 00 0002 00', { dataOut: data.subarray(0, came) });
      expect(device.bytes.indexOf(0), String(came)).toBe(written);
    }
    await host.good('2a 00 00000010 00 0001 00', { dataOut: data });
    expect(device.bytes.subarray(0x11 * BLOCK).every((byte) => byte === 0)).toBe(true);
  });

  it('with FUA is durable', async () => {
    const device = new ControlledDevice(1 << 20);
    const { host } = await newBench({}, device);
    await host.good('2a 18 00000000 00 0001 00', { dataOut: noise });
    await host.good('2a 10 00000000 00 0001 00', { dataOut: noise });
    expect(device.calls).toEqual(['write fua', 'write']);
  });

  it('makes no promise when the device is done at once', async () => {
    const { host } = await newBench();
    for (const cdb of ['28 00 00000000 00 0008 00', '2a 00 00000000 00 0008 00']) {
      const command = host.prepare(cdb);
      if (!('run' in command)) throw new Error('refused');
      const result = command.run(
        Buffer.alloc(command.dataOutBytes),
        Buffer.alloc(command.dataInBytes),
        new AbortController().signal,
      );
      expect(result).not.toBeInstanceOf(Promise);
    }
  });

  it('ends with one promise when several end together, with one failure for all', async () => {
    const device = new ControlledDevice(1 << 20);
    device.holds.add('write');
    const { host } = await newBench({}, device);
    const { signal } = new AbortController();
    const start = (lba: number): unknown => {
      const command = host.prepare(FORMS[10]('2a', lba, 1));
      if (!('run' in command)) throw new Error('refused');
      return command.run(Buffer.alloc(BLOCK, lba), Buffer.alloc(0), signal);
    };
    const first = start(1);
    expect(start(2)).toBe(first);
    expect(start(3)).toBe(first);
    device.open(new SgwError('exhausted', 'test', 'full'));
    expect(await first).toMatchObject({ status: 2 });
    const next = start(4);
    expect(next).not.toBe(first);
    device.open();
    expect(await next).toEqual({ status: 0, dataInBytes: 0 });
  });

  it('is refused where the medium may not be written', async () => {
    const { unit, device } = await newBench();
    const reader = await Initiator.on(unit, device, { id: 2, isReadOnly: true }).settle();
    const writes = [
      '0a 000000 01 00',
      '2a 00 00000000 00 0001 00',
      'aa 00 00000000 00000001 00 00',
      '8a 00 0000000000000000 00000001 00 00',
      '2e 00 00000000 00 0001 00',
      'ae 00 00000000 00000001 00 00',
      '8e 00 0000000000000000 00000001 00 00',
      '89 00 0000000000000000 000000 01 00 00',
      '8b 00 0000000000000000 00000001 00 00',
      '41 00 00000000 00 0001 00',
      '93 09 0000000000000000 00000001 00 00',
      '42 00 00000000 00 0018 00',
      '9c 00 0000000000000000 0000 0001 00 00',
    ];
    for (const cdb of writes) expect(await reader.send(cdb, { dataOut: noise }), cdb).toMatchObject(check('7/2700'));
    await reader.good('28 00 00000000 00 0001 00');
    await reader.good('35 00 00000000 00 0000 00');
    expect(device.bytes.every((byte) => byte === 0)).toBe(true);
  });
});

describe('WRITE ATOMIC', () => {
  class Units extends ControlledDevice {
    override readonly limits = {
      blockBytesMin: 1,
      blockBytesPreferred: 4096,
      payloadBytesMax: 1 << 20,
      atomic: { unitBytes: 4096, bytesMax: 65536 },
    };
  }
  const atomic = (lba: string, blocks: string, flags = '00', boundary = '0000'): string =>
    `9c ${flags} ${lba} ${boundary} ${blocks} 00 00`;

  it('writes what the device takes as a whole, with one call', async () => {
    const device = new Units(1 << 20);
    const { host } = await newBench({}, device);
    await host.good(atomic('0000000000000008', '0080'), { dataOut: noise.subarray(0, 65536) });
    await host.good(atomic('0000000000000000', '0008', '08'), { dataOut: noise.subarray(0, 4096) });
    expect(device.calls).toEqual(['write atomic', 'write fua atomic']);
    expect(device.bytes.subarray(4096, 4096 + 65536).equals(noise.subarray(0, 65536))).toBe(true);
    expect((await host.good('12 01 b0 0040 00')).subarray(44).toString('hex')).toBe(
      '00000080 00000008 00000008 00000000 00000000'.replaceAll(' ', ''),
    );
  });

  it('refuses parts of units, more than is taken, boundaries, and data that is not all there', async () => {
    const device = new Units(1 << 20);
    const { host } = await newBench({}, device);
    const dataOut = noise.subarray(0, 65536);
    for (const cdb of [
      atomic('0000000000000004', '0008'),
      atomic('0000000000000000', '0004'),
      atomic('0000000000000000', '0088'),
      atomic('0000000000000000', '0008', '00', '0008'),
      atomic('0000000000000000', '0008', '20'),
    ])
      expect(await host.send(cdb, { dataOut }), cdb).toMatchObject(INVALID_FIELD);
    expect(await host.send(atomic('0000000000000800', '0008'), { dataOut })).toMatchObject(OUT_OF_RANGE);
    expect(await host.send(atomic('0000000000000000', '0010'), { dataOut: dataOut.subarray(0, 4096) })).toMatchObject(
      check('5/0e03'),
    );
    expect(await host.send(atomic('0000000000000000', '0000'))).toMatchObject(GOOD);
    expect(device.calls).toEqual([]);
  });

  it('is not there where the device promises nothing', async () => {
    class Plain extends MemoryDevice {
      override readonly limits = { blockBytesMin: 1, blockBytesPreferred: 4096, payloadBytesMax: 1 << 20 };
    }
    const { host } = await newBench({}, new Plain(1 << 20));
    expect(await host.send(atomic('0000000000000000', '0008'), { dataOut: noise })).toMatchObject(check('5/2000'));
  });
});

describe('SYNCHRONIZE CACHE and PRE-FETCH', () => {
  it('flush, wherever the blocks are', async () => {
    const device = new ControlledDevice(1 << 20);
    const { host } = await newBench({}, device);
    for (const cdb of [
      '35 00 00000000 00 0000 00',
      '35 06 00000001 00 0007 00',
      '91 02 0000000000000000 00000000 00 00',
    ])
      await host.good(cdb);
    expect(device.calls).toEqual(['flush', 'flush', 'flush']);
    expect(await host.send('91 00 0000000000000800 00000001 00 00')).toMatchObject(OUT_OF_RANGE);
    device.failure = new SgwError('unavailable', 'test', 'gone');
    expect(await host.send('35 00 00000000 00 0000 00')).toMatchObject(check('2/0401'));
  });

  it('give advice of what lies within the disk', async () => {
    const advice: [number, number][] = [];
    class Advised extends MemoryDevice {
      override prefetch(offset?: number, length?: number): Completion {
        advice.push([offset ?? -1, length ?? -1]);
        return undefined;
      }
    }
    const { host } = await newBench({}, new Advised(1 << 20));
    await host.good('34 00 00000001 00 0002 00');
    await host.good('34 02 00000001 1f 0002 00');
    await host.good('90 00 00000000000007f0 00000000 00 00');
    await host.good('90 00 0000000000000800 00000000 00 00');
    expect(advice).toEqual([
      [512, 1024],
      [512, 1024],
      [0x7f0 * 512, 16 * 512],
    ]);
    for (const cdb of [
      '34 00 00000801 00 0000 00',
      '34 00 000007ff 00 0002 00',
      '90 00 ffffffffffffffff 00000001 00 00',
    ])
      expect(await host.send(cdb), cdb).toMatchObject(OUT_OF_RANGE);
  });
});

describe('a CDB', () => {
  it('that is cut is refused', async () => {
    const { host, unit } = await newBench();
    for (const length of [1, 9]) {
      const answer = unit.prepare(host.nexus, Buffer.alloc(8), hex('28 00 00000000 00 0001 00').subarray(0, length));
      expect(answer).toMatchObject({ status: 2 });
    }
  });
});
