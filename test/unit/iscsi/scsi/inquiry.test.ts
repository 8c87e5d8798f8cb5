import { describe, expect, it } from 'vitest';
import { MemoryDevice, type DeviceLimits } from '../../../../src/core/blockdevice/index.ts';
import { IDENTITY, INVALID_FIELD, newBench } from './initiator.ts';

const ascii = (text: string): string => Buffer.from(text, 'latin1').toString('hex');

/** A page as one asks for it with all the room there is. */
const page = (code: string): string => `12 01 ${code} ffff 00`;

class SmallDevice extends MemoryDevice {
  override readonly limits: DeviceLimits = { blockBytesMin: 512, blockBytesPreferred: 512, payloadBytesMax: 1 << 20 };
}

describe('INQUIRY', () => {
  it('describes a disk of SPC-4 and SBC-3 that is reached by iSCSI', async () => {
    const { host } = await newBench();
    const data = await host.good('12 00 00 ffff 00');
    expect(data.subarray(0, 8).toString('hex')).toBe('000006125b180002');
    expect(data.subarray(8, 36).toString('latin1')).toBe('SGW     VOLUME          0.1 ');
    expect(data.subarray(58, 66).toString('hex')).toBe('00a0046004c00960');
    expect(data).toHaveLength(96);
  });

  it('is cut at the allocation length', async () => {
    const { host } = await newBench();
    const whole = await host.good('12 00 00 ffff 00');
    for (const length of [0, 1, 5, 36, 95, 96, 97, 255, 511, 512]) {
      const cdb = `12 00 00 ${length.toString(16).padStart(4, '0')} 00`;
      expect((await host.good(cdb)).equals(whole.subarray(0, length))).toBe(true);
    }
    const { dataInBytes } = await host.send('12 00 00 0060 00', { takes: 10 });
    expect(dataInBytes, 'whatever the initiator takes').toBe(96);
  });

  const pages: readonly [string, string, string][] = [
    ['supported pages', '00', '0000000a 0080838687888fb0b1b2'],
    ['unit serial number', '80', `00800010 ${ascii('0123456789abcdef')}`],
    [
      'device identification',
      '83',
      `00830090
       01030010 6001405000112233445566778899aabb
       02010018 ${ascii('SGW     0123456789abcdef')}
       51940004 00000001
       51950004 00000001
       53980028 ${ascii('iqn.2020-01.com.example:disk,t,0x0001')}000000
       53a80020 ${ascii('iqn.2020-01.com.example:disk')}00000000`,
    ],
    ['extended INQUIRY', '86', `0086003c 000101${'00'.repeat(57)}`],
    ['mode page policy: all shared', '87', '00870004 3fff0000'],
    [
      'SCSI ports',
      '88',
      `00880038 0000 0001 0000 0000 0000 002c
       53980028 ${ascii('iqn.2020-01.com.example:disk,t,0x0001')}000000`,
    ],
    [
      'third-party copy',
      '8f',
      `008f0064
       0001000c 08 83 01 00 84 03 00 03 04 000000
       0004001c 00000000 0008 0100 00001d00 00000000 000000000000000000000000
       00080004 02 02 e4 00
       000c0004 0000 0000
       80010020 000000ff 000000ff 01fffe00 ${'00'.repeat(20)}`,
    ],
    [
      'block limits',
      'b0',
      `00b0003c 01 ff 0008 00004000 00000800 00004000 00100000 00000100 00000008 80000000
       000000000000fff8 00000800 00000001 00000001 00000000 00000000`,
    ],
    ['block device characteristics: solid state', 'b1', `00b1003c 0001${'00'.repeat(58)}`],
    ['logical block provisioning: thin', 'b2', '00b20004 00e40200'],
  ];

  it.each(pages)('has page %s', async (_name, code, bytes) => {
    const { host } = await newBench();
    expect((await host.good(page(code))).toString('hex')).toBe(bytes.replaceAll(/\s/g, ''));
  });

  it('has every page of its list, and no others', async () => {
    const { host } = await newBench();
    const known = new Set((await host.good(page('00'))).subarray(4));
    for (let code = 0; code < 256; code++) {
      const answer = await host.send(page(code.toString(16).padStart(2, '0')));
      if (known.has(code)) expect(answer.data.subarray(0, 2)).toEqual(Buffer.from([0, code]));
      else expect(answer).toMatchObject(INVALID_FIELD);
    }
  });

  it('refuses a page code without EVPD, and CMDDT', async () => {
    const { host } = await newBench();
    expect(await host.send('12 00 80 0040 00')).toMatchObject(INVALID_FIELD);
    expect(await host.send('12 02 00 0040 00')).toMatchObject(INVALID_FIELD);
  });

  it('tells no unmapping of a unit that is not thin', async () => {
    const { host } = await newBench({ identity: { ...IDENTITY, isThin: false } });
    expect((await host.good(page('b2'))).toString('hex')).toBe('00b2000400000000');
    expect((await host.good(page('b0'))).subarray(20, 36)).toEqual(Buffer.alloc(16));
  });

  it('tells the limits of the device', async () => {
    const { host } = await newBench({}, new SmallDevice(1 << 20));
    const limits = await host.good(page('b0'));
    expect(limits.subarray(6, 16).toString('hex')).toBe('0001 00000800 00000800'.replaceAll(' ', ''));
    expect(limits.subarray(44), 'no atomic writes').toEqual(Buffer.alloc(20));
  });

  it('tells the group of the port, where there are several', async () => {
    const portGroups = [
      { id: 7, state: 'standby', isPreferred: false, ports: [9] },
      { id: 258, state: 'activeOptimized', isPreferred: true, ports: [1] },
    ] as const;
    const { host } = await newBench({ portGroups: () => portGroups });
    expect((await host.good(page('83'))).toString('hex')).toContain('5195000400000102');
    expect((await host.good('12 00 00 ffff 00'))[6], 'MULTIP').toBe(0x10);
  });

  it('goes past unit attentions, and says that nothing can be at other numbers', async () => {
    const { another } = await newBench();
    const host = another(2);
    const lun = Buffer.from([0, 1, 0, 0, 0, 0, 0, 0]);
    expect((await host.good('12 00 00 ffff 00'))[0]).toBe(0);
    expect((await host.good('12 00 00 ffff 00', { lun }))[0]).toBe(0x7f);
    expect((await host.good(page('00'), { lun })).toString('hex')).toBe('7f00000100');
    expect(await host.send(page('80'), { lun })).toMatchObject(INVALID_FIELD);
    expect(await host.send('00')).toMatchObject({ sense: '6/2900' });
  });
});
