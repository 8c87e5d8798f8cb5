import { describe, expect, it } from 'vitest';
import { ERROR_KINDS, SgwError, type ErrorKind } from '../../../../src/core/kit/index.ts';
import { ControlledDevice } from '../../nbd/controlled-device.ts';
import { newBench } from './initiator.ts';

describe('sense data', () => {
  it('is in fixed format, with a pointer to the field of the CDB that is not good', async () => {
    const { host } = await newBench();
    // RDPROTECT of READ(10)
    const { senseBytes } = await host.send('28 20 00000000 00 0001 00');
    expect(senseBytes.toString('hex')).toBe('700005000000000a00000000240000cd0001');
  });

  it('is in descriptor format with D_SENSE, and points to the same field', async () => {
    const { host } = await newBench();
    const list = Buffer.from('000000000a0a06100000 0000ffff0000'.replaceAll(' ', ''), 'hex');
    await host.good('15 10 0000 10 00', { dataOut: list });
    const { senseBytes } = await host.send('28 20 00000000 00 0001 00');
    // ILLEGAL REQUEST, INVALID FIELD IN CDB, sense key specific descriptor
    expect(senseBytes.toString('hex')).toBe('720524000000000802060000cd000100');
  });

  it('has NACA as a field that is not good', async () => {
    const { host } = await newBench();
    const { senseBytes } = await host.send('00 00000000 04');
    expect(senseBytes.toString('hex')).toBe('700005000000000a00000000240000ca0005');
  });

  const failures: readonly [ErrorKind, string, string][] = [
    ['corrupt', '3/1100', '3/0c00'],
    ['readOnly', '7/2700', '7/2700'],
    ['exhausted', '7/2707', '7/2707'],
    ['fenced', '2/0403', '2/0403'],
    ['unavailable', '2/0401', '2/0401'],
    ['timeout', 'b/0801', 'b/0801'],
    ['aborted', 'b/0000', 'b/0000'],
    ['invalid', '4/4400', '4/4400'],
    ['notFound', '4/4400', '4/4400'],
    ['conflict', '4/4400', '4/4400'],
    ['denied', '4/4400', '4/4400'],
    ['unsupported', '4/4400', '4/4400'],
    ['internal', '4/4400', '4/4400'],
  ];

  it('is known for every kind of error', () => {
    expect(failures.map(([kind]) => kind).toSorted()).toEqual(Object.keys(ERROR_KINDS).toSorted());
  });

  it.each(failures)('of a device that fails with %s', async (kind, reading, writing) => {
    const device = new ControlledDevice(1 << 20);
    const { host } = await newBench({}, device);
    const failure = new SgwError(kind, 'test', 'on purpose');
    const block = Buffer.alloc(512, 1);
    const reads = ['28 00 00000000 00 0001 00', '28 08 00000000 00 0001 00', '2f 00 00000000 00 0001 00'];
    const writes = ['2a 00 00000000 00 0001 00', '2e 00 00000000 00 0001 00', '41 00 00000000 00 0001 00'];
    for (const isLate of [false, true]) {
      device.failure = isLate ? undefined : failure;
      device.holds = new Set(isLate ? ['read', 'write'] : []);
      for (const [cdbs, sense] of [
        [reads, reading],
        [writes, writing],
      ] as const)
        for (const cdb of cdbs) {
          const answer = host.send(cdb, { dataOut: block });
          // Late: when the call is under way.
          if (isLate) {
            await new Promise((resolve) => setImmediate(resolve));
            device.open(failure);
          }
          expect({ cdb, ...(await answer) }).toMatchObject({ cdb, status: 2, sense });
        }
    }
  });
});
