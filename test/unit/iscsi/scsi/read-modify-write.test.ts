import { describe, expect, it } from 'vitest';
import { SgwError } from '../../../../src/core/kit/index.ts';
import { ControlledDevice } from '../../nbd/controlled-device.ts';
import { BLOCK, check, GOOD, INVALID_FIELD, newBench, type Answer, type Initiator } from './initiator.ts';

const filled = (byte: number, blocks = 1): Buffer => Buffer.alloc(blocks * BLOCK, byte);
const compareAndWrite = (lba: number, blocks: number): string =>
  `89 00 ${lba.toString(16).padStart(16, '0')} 000000 ${blocks.toString(16).padStart(2, '0')} 00 00`;
const caw = (host: Initiator, lba: number, expected: Buffer, wanted: Buffer): Promise<Answer> =>
  host.send(compareAndWrite(lba, expected.length / BLOCK), { dataOut: Buffer.concat([expected, wanted]) });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('COMPARE AND WRITE', () => {
  it('writes what is there as it was expected', async () => {
    const { host, device } = await newBench();
    for (const blocks of [1, 8, 255]) {
      device.bytes.fill(1);
      expect(await caw(host, 3, filled(1, blocks), filled(2, blocks))).toMatchObject(GOOD);
      expect(device.bytes.subarray(3 * BLOCK, (3 + blocks) * BLOCK).equals(filled(2, blocks))).toBe(true);
      expect([device.bytes[3 * BLOCK - 1], device.bytes[(3 + blocks) * BLOCK]]).toEqual([1, 1]);
    }
  });

  it('tells where the first difference is, and writes nothing', async () => {
    const { host, device } = await newBench();
    const expected = filled(0, 2);
    expected[700] = 1;
    expected[800] = 1;
    const { status, senseBytes } = await caw(host, 0, expected, filled(2, 2));
    expect(status).toBe(2);
    // VALID, MISCOMPARE, INFORMATION 700
    expect(senseBytes.toString('hex')).toBe('f0000e000002bc0a000000001d0000000000');
    expect(device.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('must get all of its data, and no more, or does nothing', async () => {
    const { host, device } = await newBench();
    const twice = Buffer.concat([filled(0, 2), filled(2, 2)]);
    // One block to compare, one to write.
    const cases: readonly [number, Partial<Answer>][] = [
      [1, INVALID_FIELD],
      [3, INVALID_FIELD],
      [0, INVALID_FIELD],
    ];
    for (const [blocks, answer] of cases)
      expect(await host.send(compareAndWrite(0, blocks), { dataOut: twice })).toMatchObject(answer);
    const short = { dataOut: twice.subarray(0, 2 * BLOCK), dataOutBytes: 4 * BLOCK };
    expect(await host.send(compareAndWrite(0, 2), short)).toMatchObject(check('5/0e03'));
    expect(await host.send(compareAndWrite(0, 0))).toMatchObject(GOOD);
    expect(await host.send(compareAndWrite(2048, 1))).toMatchObject(check('5/2100'));
    expect(device.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('tells a read that failed from a write that did', async () => {
    const device = new ControlledDevice(1 << 20);
    const { host } = await newBench({}, device);
    const corrupt = new SgwError('corrupt', 'test', 'damaged');
    for (const [held, sense] of [
      ['read', '3/1100'],
      ['write', '3/0c00'],
    ] as const) {
      device.holds = new Set([held]);
      const answer = caw(host, 0, filled(device.bytes[0] ?? 0), filled(9));
      await turn();
      device.open(corrupt);
      expect(await answer).toMatchObject(check(sense));
    }
  });

  it('is one after the other, on every path', async () => {
    const device = new ControlledDevice(1 << 20);
    device.holds = new Set(['read', 'write']);
    const { host, another } = await newBench({}, device);
    const hosts = [host, await another(2).settle(), await another(3).settle()];
    const answers = hosts.map((one, i) => caw(one, 0, filled(i), filled(i + 1)));
    for (let i = 0; i < 20; i++) {
      device.open();
      await turn();
    }
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([0, 0, 0]);
    expect(device.bytes[0]).toBe(3);
  });

  /** Whether an answer is there. */
  const watch = (answer: Promise<Answer>): { isDone: boolean } => {
    const seen = { isDone: false };
    void answer.then(() => {
      seen.isDone = true;
    });
    return seen;
  };

  it('waits for a write that was there before, and sees it', async () => {
    const device = new ControlledDevice(1 << 20);
    const { host } = await newBench({}, device);
    device.holds.add('write');
    const write = host.send('2a 00 00000001 00 0001 00', { dataOut: filled(7) });
    device.holds.clear();
    const compare = caw(host, 0, filled(0, 2), filled(9, 2));
    const seen = watch(compare);
    await turn();
    expect(device.calls, 'nothing of it has begun').toEqual(['write']);
    expect(seen.isDone).toBe(false);
    device.open();
    expect(await write).toMatchObject(GOOD);
    expect(await compare).toMatchObject(check('e/1d00'));
  });

  it('lets nobody in who touches its blocks, and everybody else', async () => {
    const device = new ControlledDevice(1 << 20);
    const { host, another } = await newBench({}, device);
    const second = await another(2).settle();
    device.holds.add('read');
    const compare = caw(host, 8, filled(0, 8), filled(9, 8));
    await turn();
    device.holds.clear();
    const touching = ['2a 00 0000000f 00 0001 00', '28 00 00000000 00 0009 00', '41 00 0000000c 00 0001 00'].map(
      (cdb) => second.send(cdb, { dataOut: filled(7) }),
    );
    const seen = touching.map(watch);
    await second.good('2a 00 00000010 00 0001 00', { dataOut: filled(7) });
    await second.good('28 00 00000000 00 0008 00');
    expect(seen.map(({ isDone }) => isDone)).toEqual([false, false, false]);
    device.open();
    expect(await compare).toMatchObject(GOOD);
    const [, read] = await Promise.all(touching);
    expect(read?.data.subarray(8 * BLOCK).equals(filled(9))).toBe(true);
    expect([8, 12, 15, 16].map((block) => device.bytes[block * BLOCK])).toEqual([9, 7, 7, 7]);
  });
});

describe('ORWRITE', () => {
  it('sets bits, of whole blocks that came', async () => {
    const { host, device } = await newBench();
    device.bytes.fill(0xa5);
    await host.good('8b 00 0000000000000001 00000002 00 00', { dataOut: filled(0x5a, 1) });
    expect(device.bytes.subarray(BLOCK, 2 * BLOCK).equals(filled(0xff))).toBe(true);
    expect([device.bytes[0], device.bytes[2 * BLOCK]]).toEqual([0xa5, 0xa5]);
    await host.good('8b 08 0000000000000000 00000001 00 00', { dataOut: filled(0x0f) });
    expect(device.bytes.subarray(0, BLOCK).equals(filled(0xaf))).toBe(true);
    expect(await host.send('8b 00 0000000000000801 00000000 00 00')).toMatchObject(check('5/2100'));
    expect(await host.send('8b 00 0000000000000800 00000000 00 00')).toMatchObject(GOOD);
    expect(await host.send('8b 20 0000000000000000 00000001 00 00')).toMatchObject(INVALID_FIELD);
  });
});
