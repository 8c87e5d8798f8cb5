import { describe, expect, it } from 'vitest';
import type { Completion } from '../../../../src/core/blockdevice/index.ts';
import { seededRandom } from '../../../../src/core/kit/index.ts';
import { ControlledDevice } from '../../nbd/controlled-device.ts';
import { BLOCK, check, GOOD, INVALID_FIELD, newBench } from './initiator.ts';

const MISCOMPARE = check('e/1d00');
const OUT_OF_RANGE = check('5/2100');
const noise = seededRandom(11).bytes(8 << 20);

const FORMS: readonly [string, string, string, (lba: string, blocks: string, flags?: string) => string][] = [
  ['10', '2f', '2e', (lba, blocks, flags = '00') => `${flags} ${lba.slice(-8)} 00 ${blocks.slice(-4)} 00`],
  ['12', 'af', 'ae', (lba, blocks, flags = '00') => `${flags} ${lba.slice(-8)} ${blocks} 00 00`],
  ['16', '8f', '8e', (lba, blocks, flags = '00') => `${flags} ${lba} ${blocks} 00 00`],
];
const LBA_0 = '0000000000000000';
const one = '00000001';

describe.each(FORMS)('VERIFY(%s) and WRITE AND VERIFY of that size', (_size, verify, write, form) => {
  it('compare with all of the data, byte by byte', async () => {
    const { host, device } = await newBench();
    noise.copy(device.bytes);
    const data = Buffer.from(noise.subarray(0, 4 * BLOCK));
    const cdb = `${verify} ${form(LBA_0, '00000004', '02')}`;
    expect(await host.send(cdb, { dataOut: data })).toMatchObject(GOOD);
    for (const at of [0, 511, 512, 2047]) {
      const other = Buffer.from(data);
      other[at] = (other[at] ?? 0) ^ 1;
      expect(await host.send(cdb, { dataOut: other }), String(at)).toMatchObject(MISCOMPARE);
      // Only what came is compared.
      expect(await host.send(cdb, { dataOut: other.subarray(0, at) })).toMatchObject(GOOD);
    }
  });

  it('compare with one block again and again', async () => {
    const { host, device } = await newBench();
    device.bytes.fill(5, 0, 4 * BLOCK);
    const cdb = `${verify} ${form(LBA_0, '00000004', '06')}`;
    expect(await host.send(cdb, { dataOut: Buffer.alloc(BLOCK, 5) })).toMatchObject(GOOD);
    device.bytes[4 * BLOCK - 1] = 6;
    expect(await host.send(cdb, { dataOut: Buffer.alloc(BLOCK, 5) })).toMatchObject(MISCOMPARE);
  });

  it('read without data, and take none', async () => {
    const { host, device } = await newBench();
    const command = host.prepare(`${verify} ${form(LBA_0, '00000004', '10')}`);
    expect(command).toMatchObject({ dataOutBytes: 0, dataInBytes: 0 });
    noise.copy(device.bytes);
    expect(await host.send(`${verify} ${form(LBA_0, '00000800')}`)).toMatchObject(GOOD);
  });

  it('stay within the disk, take no count for nothing, and know no other ways to compare', async () => {
    const { host, device } = await newBench();
    for (const flags of ['00', '02', '06']) {
      const dataOut = noise.subarray(0, 2 * BLOCK);
      const refused = `${verify} ${form('0000000000000800', one, flags)}`;
      expect(await host.send(refused, { dataOut })).toMatchObject(OUT_OF_RANGE);
      expect(await host.send(`${verify} ${form('0000000000000801', '00000000', flags)}`)).toMatchObject(OUT_OF_RANGE);
      expect(await host.send(`${verify} ${form('0000000000000800', '00000000', flags)}`)).toMatchObject(GOOD);
    }
    expect(await host.send(`${verify} ${form(LBA_0, one, '04')}`)).toMatchObject(INVALID_FIELD);
    expect(await host.send(`${verify} ${form(LBA_0, one, '20')}`)).toMatchObject(INVALID_FIELD);
    for (const flags of ['04', '06', '08', '20'])
      expect(await host.send(`${write} ${form(LBA_0, one, flags)}`, { dataOut: noise })).toMatchObject(INVALID_FIELD);
    expect(await host.send(`${write} ${form('00000000000007ff', '00000002')}`, { dataOut: noise })).toMatchObject(
      OUT_OF_RANGE,
    );
    expect(device.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('write durably, and find what is not there as it was written', async () => {
    class Rotten extends ControlledDevice {
      isRotten = false;
      override read(offset: number, target: Buffer): Completion {
        const done = super.read(offset, target);
        if (this.isRotten) target[3] = (target[3] ?? 0) ^ 0x10;
        return done;
      }
    }
    const device = new Rotten(1 << 20);
    const { host } = await newBench({}, device);
    const data = noise.subarray(0, 3 * BLOCK);
    await host.good(`${write} ${form(LBA_0, '00000003', '12')}`, { dataOut: data });
    expect(device.bytes.subarray(0, data.length).equals(data)).toBe(true);
    expect(device.calls).toEqual(['write fua', 'read']);
    device.isRotten = true;
    expect(await host.send(`${write} ${form(LBA_0, '00000003', '02')}`, { dataOut: data })).toMatchObject(MISCOMPARE);
    expect(await host.send(`${write} ${form(LBA_0, '00000003')}`, { dataOut: data })).toMatchObject(GOOD);
  });
});

describe('VERIFY of many blocks', () => {
  it('stops when it is told to', async () => {
    const device = new ControlledDevice(16 << 20);
    const { host } = await newBench({}, device);
    const stop = new AbortController();
    device.holds.add('read');
    const answer = host.send('8f 00 0000000000000000 00008000 00 00', { signal: stop.signal });
    stop.abort();
    await new Promise((resolve) => setImmediate(resolve));
    device.open();
    expect(await answer).toMatchObject(check('b/0000'));
    expect(device.calls).toEqual(['read']);
  });

  it('compares across its reads', async () => {
    const { host, device } = await newBench({}, new ControlledDevice(16 << 20));
    noise.copy(device.bytes, BLOCK);
    const cdb = '8f 02 0000000000000001 00004000 00 00';
    expect(await host.send(cdb, { dataOut: noise })).toMatchObject(GOOD);
    device.bytes.fill(~(noise.at(-1) ?? 0), BLOCK + (8 << 20) - 1, BLOCK + (8 << 20));
    expect(await host.send(cdb, { dataOut: noise })).toMatchObject(MISCOMPARE);
  });
});
