import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../../src/core/blockdevice/index.ts';
import { ControlledDevice } from '../../nbd/controlled-device.ts';
import { check, GOOD, hex, Initiator, INVALID_FIELD, newBench } from './initiator.ts';

const CACHING = '08120400ffff0000ffffffff0000000000000000';
const CONTROL = '0a0a021000000000ffff0000';
const CONTROL_EXTENSION = `4a01001c${'00'.repeat(28)}`;
const EXCEPTIONS = '1c0a00000000000000000000';
const DESCRIPTOR = '0000080000000200';

const BAD_PARAMETER = check('5/2600');
const BAD_LENGTH = check('5/1a00');

describe('MODE SENSE', () => {
  const cases: readonly [string, string, string][] = [
    ['(6), all pages', '1a 00 3f 00 ff 00', `37001008 ${DESCRIPTOR} ${CACHING} ${CONTROL} ${EXCEPTIONS}`],
    ['(6), all subpages', '1a 08 3f ff ff 00', `4f001000 ${CACHING} ${CONTROL} ${CONTROL_EXTENSION} ${EXCEPTIONS}`],
    ['(6), caching', '1a 08 08 00 ff 00', `17001000 ${CACHING}`],
    ['(6), control and its extension', '1a 08 0a ff ff 00', `2f001000 ${CONTROL} ${CONTROL_EXTENSION}`],
    ['(6), control extension', '1a 08 0a 01 ff 00', `23001000 ${CONTROL_EXTENSION}`],
    ['(6), informational exceptions', '1a 08 1c 00 ff 00', `0f001000 ${EXCEPTIONS}`],
    ['(6), what is changeable of caching', '1a 08 48 00 ff 00', `17001000 08120400${'00'.repeat(16)}`],
    ['(6), what is changeable of control', '1a 08 4a 00 ff 00', '0f001000 0a0a04000800000000000000'],
    ['(6), defaults', '1a 08 8a 00 ff 00', `0f001000 ${CONTROL}`],
    ['(6), cut', '1a 00 3f 00 04 00', '37001008'],
    ['(10), caching', '5a 00 08 00 000000 ffff 00', `0022001000000008 ${DESCRIPTOR} ${CACHING}`],
    ['(10), without block descriptor', '5a 08 08 00 000000 ffff 00', `001a001000000000 ${CACHING}`],
    [
      '(10), long block descriptor',
      '5a 10 0a 00 000000 ffff 00',
      `0022001001000010 000000000000080000000000 00000200 ${CONTROL}`,
    ],
  ];

  it.each(cases)('%s', async (_name, cdb, bytes) => {
    const { host } = await newBench();
    expect((await host.good(cdb)).toString('hex')).toBe(bytes.replaceAll(' ', ''));
  });

  it('says that a unit is write-protected', async () => {
    const { unit } = await newBench();
    const device = new MemoryDevice(1 << 20);
    const reader = await Initiator.on(unit, device, { id: 2, isReadOnly: true }).settle();
    expect((await reader.good('1a 08 08 00 ff 00'))[2]).toBe(0x90);
    const readOnly = await Initiator.on(unit, new MemoryDevice(1 << 20, { isReadOnly: true }), { id: 3 }).settle();
    expect((await readOnly.good('5a 08 08 00 000000 ffff 00'))[3]).toBe(0x90);
  });

  it('has no saved values, and no other pages', async () => {
    const { host } = await newBench();
    expect(await host.send('1a 08 c8 00 ff 00')).toMatchObject(check('5/3900'));
    for (const cdb of [
      '1a 08 00 00 ff 00',
      '1a 08 01 00 ff 00',
      '1a 08 08 01 ff 00',
      '1a 08 3f 01 ff 00',
      '5a 08 20 00 000000 ffff 00',
    ])
      expect(await host.send(cdb), cdb).toMatchObject(INVALID_FIELD);
  });
});

describe('MODE SELECT', () => {
  /** A list for the 6 byte command. */
  const select6 = (list: string): { cdb: string; dataOut: Buffer } => {
    const dataOut = hex(list);
    return { cdb: `15 10 0000 ${dataOut.length.toString(16).padStart(2, '0')} 00`, dataOut };
  };
  const select10 = (list: string): { cdb: string; dataOut: Buffer } => {
    const dataOut = hex(list);
    return { cdb: `55 10 00 00 000000 ${dataOut.length.toString(16).padStart(4, '0')} 00`, dataOut };
  };

  it('protects the medium with SWP, until it is taken back', async () => {
    const { host } = await newBench();
    const set = select6(`00000000 0a0a021008000000ffff0000`);
    await host.good(set.cdb, set);
    expect((await host.good('1a 08 0a 00 ff 00')).toString('hex')).toBe('0f0090000a0a021008000000ffff0000');
    expect(await host.send('2a 00 00000000 00 0001 00', { dataOut: Buffer.alloc(512) })).toMatchObject(check('7/2702'));
    await host.good('28 00 00000000 00 0001 00');
    const clear = select10(`0000000000000000 ${CONTROL}`);
    await host.good(clear.cdb, clear);
    await host.good('2a 00 00000000 00 0001 00', { dataOut: Buffer.alloc(512) });
  });

  it('makes every write durable when the write cache is turned off', async () => {
    const device = new ControlledDevice(1 << 20);
    const { host } = await newBench({}, device);
    const off = select6(`00000000 08120000ffff0000ffffffff0000000000000000`);
    await host.good(off.cdb, off);
    device.calls.length = 0;
    const writes = [
      ['2a 00 00000000 00 0001 00', Buffer.alloc(512, 1)],
      ['89 00 0000000000000000 000000 01 00 00', Buffer.alloc(1024, 1)],
      ['8b 00 0000000000000000 00000001 00 00', Buffer.alloc(512, 1)],
      ['41 00 00000000 00 0001 00', Buffer.alloc(512, 1)],
      ['41 08 00000000 00 0001 00', Buffer.alloc(512)],
      ['42 00 00000000 00 0018 00', hex('0016 0010 00000000 0000000000000000 00000001 00000000')],
    ] as const;
    for (const [cdb, dataOut] of writes) await host.good(cdb, { dataOut });
    expect(device.calls.filter((call) => /^(write|zero|trim)/.test(call))).toEqual([
      'write fua',
      'write fua',
      'write fua',
      'write fua',
      'zero fua',
      'trim fua',
    ]);
  });

  it('tells the others, and only when something has changed', async () => {
    const { host, another } = await newBench();
    const second = await another(2).settle();
    const same = select6(`00000000 ${CONTROL}`);
    await host.good(same.cdb, same);
    expect(await second.send('00')).toMatchObject(GOOD);
    const changed = select6(`00000008 ${DESCRIPTOR} 0a0a061000000000ffff0000`);
    await host.good(changed.cdb, changed);
    expect(await second.send('00')).toMatchObject(check('6/2a01'));
    expect(await second.send('00')).toMatchObject(GOOD);
    expect(await host.send('00')).toMatchObject(GOOD);
  });

  it('takes what MODE SENSE gave, with all its pages', async () => {
    const { host } = await newBench();
    for (const [sense, form] of [
      ['5a 00 3f ff 000000 ffff 00', select10],
      ['5a 18 3f 00 000000 ffff 00', select10],
      ['1a 00 3f ff ff 00', select6],
    ] as const) {
      const { cdb, dataOut } = form((await host.good(sense)).toString('hex'));
      await host.good(cdb, { dataOut });
    }
  });

  it('does nothing with an empty list', async () => {
    const { host } = await newBench();
    await host.good('15 10 0000 00 00');
    await host.good('55 10 00 00 000000 0000 00');
  });

  const refused: readonly [string, string, Partial<typeof BAD_LENGTH>][] = [
    ['a header that is cut', '0000', BAD_LENGTH],
    ['a medium type', '00010000', BAD_PARAMETER],
    ['a page header that is cut', '00000000 0a', BAD_LENGTH],
    ['a page that is cut', '00000000 0a0a0210', BAD_LENGTH],
    ['a page with another length', '00000000 0a090210000000000000ff', BAD_PARAMETER],
    ['a page that is not known', '00000000 01020000', BAD_PARAMETER],
    ['a subpage that is not known', '00000000 4a020000', BAD_PARAMETER],
    ['a page as a subpage of itself', '00000000 4a00000a000000000000000000', BAD_PARAMETER],
    ['a bit that may not change', '00000000 0a0a021000000000ffff0001', BAD_PARAMETER],
    ['a block descriptor of a wrong length', `00000007 ${DESCRIPTOR}`, BAD_PARAMETER],
    ['a block descriptor that is cut', '00000008 00000800', BAD_LENGTH],
    ['blocks of another length', '00000008 0000080000001000', BAD_PARAMETER],
    ['another capacity', '00000008 0000070000000200', BAD_PARAMETER],
    ['a good page before a bad one', `00000000 0a0a021008000000ffff0000 1c0a01000000000000000000`, BAD_PARAMETER],
  ];

  it.each(refused)('refuses %s, and changes nothing', async (_name, list, sense) => {
    const { host } = await newBench();
    const { cdb, dataOut } = select6(list);
    expect(await host.send(cdb, { dataOut })).toMatchObject(sense);
    expect((await host.good('1a 08 3f ff ff 00')).toString('hex')).toBe(
      `4f001000${CACHING}${CONTROL}${CONTROL_EXTENSION}${EXCEPTIONS}`,
    );
  });

  it('points to the byte that is not good', async () => {
    const { host } = await newBench();
    const { cdb, dataOut } = select6('00000000 0a0a021000400000ffff0000');
    // TAS, byte 9 of the list, bit 6
    expect((await host.send(cdb, { dataOut })).senseBytes.subarray(15).toString('hex')).toBe('8e0009');
  });

  it('has no saved pages, and no other format', async () => {
    const { host } = await newBench();
    const dataOut = hex(`00000000 ${CONTROL}`);
    expect(await host.send('15 11 0000 10 00', { dataOut })).toMatchObject(INVALID_FIELD);
    expect(await host.send('15 00 0000 10 00', { dataOut })).toMatchObject(INVALID_FIELD);
    expect(await host.send('15 10 0000 20 00', { dataOut }), 'less than was said').toMatchObject(BAD_LENGTH);
  });
});
