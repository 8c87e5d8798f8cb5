import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../../src/core/blockdevice/index.ts';
import { ControlledDevice } from '../../nbd/controlled-device.ts';
import { check, CONFLICT, GOOD, IDENTITY, INVALID_FIELD, newBench } from './initiator.ts';

const otherLun = Buffer.from([0, 1, 0, 0, 0, 0, 0, 0]);

/** One whose size is what the test says. */
class SizedDevice extends MemoryDevice {
  wantedBytes = 1 << 20;
  override get sizeBytes(): number {
    return this.wantedBytes;
  }
}

describe('a logical unit', () => {
  it('tells each session once that it begins', async () => {
    const { another } = await newBench();
    const host = another(2);
    expect(await host.send('00')).toMatchObject(check('6/2900'));
    expect(await host.send('00')).toMatchObject(GOOD);
  });

  it('is LUN 0, by peripheral or flat addressing', async () => {
    const { host, unit } = await newBench();
    const luns: readonly [string, boolean][] = [
      ['0000000000000000', true],
      ['4000000000000000', true],
      ['0001000000000000', false],
      ['4001000000000000', false],
      ['0100000000000000', false],
      ['0000000100000000', false],
      ['0000000000000001', false],
      ['c101000000000000', false],
    ];
    for (const [text, isUnit] of luns) {
      const lun = Buffer.from(text, 'hex');
      expect(unit.hasUnit(lun), text).toBe(isUnit);
      expect(await host.send('00', { lun }), text).toMatchObject(isUnit ? GOOD : check('5/2500'));
    }
  });

  it('refuses operation codes and service actions that it does not know', async () => {
    const { host } = await newBench();
    for (const cdb of ['02', '04', '7f', 'c0', 'ff', 'a4 0a'])
      expect(await host.send(cdb), cdb).toMatchObject(check('5/2000'));
    for (const cdb of ['9e 00', '9e 1f', 'a3 00', '5e 04', '5f 08', '5f 1f'])
      expect(await host.send(cdb), cdb).toMatchObject(INVALID_FIELD);
  });

  it('refuses whatever comes of a session that it does not know', async () => {
    const { host, unit } = await newBench();
    unit.leave(host.nexus);
    expect(await host.send('00')).toMatchObject(check('b/0000'));
  });

  it('does not take a device whose blocks are too large', () => {
    class LargeBlocks extends MemoryDevice {
      override readonly limits = { blockBytesMin: 4096, blockBytesPreferred: 4096, payloadBytesMax: 1 << 20 };
    }
    return expect(newBench({}, new LargeBlocks(1 << 20))).rejects.toMatchObject({ code: 'iscsi-block-size' });
  });

  it('tells everybody of another size of the device, once, and goes by it', async () => {
    const device = new SizedDevice(4 << 20);
    const { host, another } = await newBench({}, device);
    const second = await another(2).settle();
    device.wantedBytes = 2 << 20;
    expect(await host.send('25')).toMatchObject(check('6/2a09'));
    expect((await host.good('25')).toString('hex')).toBe('00000fff00000200');
    expect(await second.send('00')).toMatchObject(check('6/2a09'));
    expect(await second.send('00')).toMatchObject(GOOD);
    device.wantedBytes = 512 * 8;
    await host.settle();
    expect(await host.send('28 00 00000008 00 0001 00')).toMatchObject(check('5/2100'));
  });

  it('does not write beyond a device that became shorter while the data came', async () => {
    const device = new SizedDevice(1 << 20);
    const { host } = await newBench({}, device);
    const write = host.prepare('2a 00 00000010 00 0001 00');
    device.wantedBytes = 512 * 8;
    if (!('run' in write)) throw new Error('refused too early');
    const result = await write.run(Buffer.alloc(512, 1), Buffer.alloc(0), new AbortController().signal);
    expect(result.sense?.toString('hex').slice(24, 28)).toBe('2100');
    expect(device.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('tells all of a reset, and has its mode parameters as at the beginning', async () => {
    const { host, another, unit } = await newBench();
    const second = await another(2).settle();
    await host.good('15 10 0000 10 00', { dataOut: Buffer.from('000000000a0a021008000000ffff0000', 'hex') });
    unit.reset();
    for (const one of [host, second]) {
      expect(await one.send('00')).toMatchObject(check('6/2903'));
      expect(await one.send('00')).toMatchObject(GOOD);
    }
    await host.good('2a 00 00000000 00 0001 00', { dataOut: Buffer.alloc(512) });
  });

  it('tells of commands that another initiator cleared', async () => {
    const { host, unit } = await newBench();
    unit.commandsCleared(host.nexus);
    expect(await host.send('00')).toMatchObject(check('6/2f00'));
  });
});

describe('REPORT LUNS', () => {
  const answers: readonly [string, string][] = [
    ['00', '00000008000000000000000000000000'],
    ['01', '0000000000000000'],
    ['02', '00000008000000000000000000000000'],
  ];

  it.each(answers)('with SELECT REPORT %s', async (which, bytes) => {
    const { host } = await newBench();
    for (const lun of [Buffer.alloc(8), otherLun])
      expect((await host.good(`a0 00 ${which} 000000 00000100 00 00`, { lun })).toString('hex')).toBe(bytes);
  });

  it('knows no other selections', async () => {
    const { host } = await newBench();
    expect(await host.send('a0 00 03 000000 00000100 00 00')).toMatchObject(INVALID_FIELD);
  });
});

describe('REQUEST SENSE', () => {
  it('takes a unit attention as data', async () => {
    const { another } = await newBench();
    const host = another(2);
    expect((await host.good('03 00 0000 ff 00')).toString('hex')).toBe('700006000000000a00000000290000000000');
    expect((await host.good('03 00 0000 ff 00')).toString('hex')).toBe('700000000000000a00000000000000000000');
    expect(await host.send('00')).toMatchObject(GOOD);
  });

  it('is in descriptor format when it is asked for', async () => {
    const { another } = await newBench();
    expect((await another(2).good('03 01 0000 ff 00')).toString('hex')).toBe('7206290000000000');
  });

  it('says of other numbers that there is no unit', async () => {
    const { host } = await newBench();
    expect((await host.good('03 00 0000 ff 00', { lun: otherLun })).toString('hex')).toBe(
      '700005000000000a00000000250000000000',
    );
  });
});

describe('READ CAPACITY', () => {
  const sizes: readonly [number, string, string][] = [
    [1 << 20, '000007ff', '00000000000007ff'],
    // Not a whole block at the end.
    [(1 << 20) + 511, '000007ff', '00000000000007ff'],
    [2 ** 41, 'ffffffff', '00000000ffffffff'],
    [2 ** 41 - 512, 'fffffffe', '00000000fffffffe'],
    [2 ** 41 + 512, 'ffffffff', '0000000100000000'],
  ];

  it.each(sizes)('of %d bytes', async (sizeBytes, last10, last16) => {
    const device = new SizedDevice(0);
    device.wantedBytes = sizeBytes;
    const { host } = await newBench({}, device);
    expect((await host.good('25')).toString('hex')).toBe(`${last10}00000200`);
    const long = await host.good('9e 10 0000000000000000 00000020 00 00');
    // A logical block is a physical one; LBPME and LBPRZ.
    expect(long.toString('hex')).toBe(`${last16}00000200 0000c000 ${'00'.repeat(16)}`.replaceAll(' ', ''));
  });

  it('tells no provisioning of a unit that is not thin', async () => {
    const { host } = await newBench({ identity: { ...IDENTITY, isThin: false } });
    expect((await host.good('9e 10 0000000000000000 00000020 00 00')).readUInt8(14)).toBe(0);
  });

  it('is cut at the allocation length', async () => {
    const { host } = await newBench();
    for (let length = 0; length < 40; length++)
      expect(
        await host.good(`9e 10 0000000000000000 000000${length.toString(16).padStart(2, '0')} 00 00`),
      ).toHaveLength(Math.min(length, 32));
  });
});

describe('START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, READ DEFECT DATA', () => {
  it('makes everything durable when it is stopped, and stays ready', async () => {
    const device = new ControlledDevice(1 << 20);
    const { host } = await newBench({}, device);
    const cases: readonly [string, string[]][] = [
      ['1b 00 00 00 00 00', ['flush']],
      ['1b 01 00 00 00 00', ['flush']],
      ['1b 00 00 00 04 00', []],
      ['1b 00 00 00 01 00', []],
    ];
    for (const [cdb, calls] of cases) {
      device.calls.length = 0;
      await host.good(cdb);
      expect(device.calls, cdb).toEqual(calls);
      await host.good('00');
    }
  });

  it('has no medium to load or to eject, and no power conditions', async () => {
    const { host } = await newBench();
    for (const cdb of ['1b 00 00 00 02 00', '1b 00 00 00 03 00', '1b 00 00 00 10 00'])
      expect(await host.send(cdb), cdb).toMatchObject(INVALID_FIELD);
    await host.good('1e 000000 01 00');
    await host.good('1e 000000 00 00');
  });

  it('knows no defects', async () => {
    const { host } = await newBench();
    expect((await host.good('37 00 1d 00000000 ffff 00')).toString('hex')).toBe('001d0000');
    expect((await host.good('b7 08 00000000 0000ffff 00 00')).toString('hex')).toBe('0008000000000000');
  });

  it('lets those who do not hold a reservation start, and not stop', async () => {
    const { host, another } = await newBench();
    const second = await another(2).settle();
    const key = (text: string): Buffer => Buffer.from(text.padEnd(48, '0'), 'hex');
    await host.good('5f 00 00 0000 00000018 00', { dataOut: key('00000000000000000000000000000001') });
    await host.good('5f 01 01 0000 00000018 00', { dataOut: key('0000000000000001') });
    expect(await second.send('1b 00 00 00 01 00')).toMatchObject(GOOD);
    expect(await second.send('1b 00 00 00 00 00')).toMatchObject(CONFLICT);
    expect(await second.send('1e 000000 00 00')).toMatchObject(GOOD);
    expect(await second.send('1e 000000 01 00')).toMatchObject(CONFLICT);
  });
});
