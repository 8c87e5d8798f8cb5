import { describe, expect, it } from 'vitest';
import { GOOD, IDENTITY, INVALID_FIELD, newBench, type Initiator } from './initiator.ts';

const u = (value: number, bytes: number): string => value.toString(16).padStart(bytes * 2, '0');
const report = (option: number, opcode = 0, serviceAction = 0): string =>
  `a3 0c ${u(option, 1)} ${u(opcode, 1)} ${u(serviceAction, 2)} 0000ffff 00 00`;

interface Descriptor {
  readonly opcode: number;
  readonly serviceAction: number | undefined;
  readonly cdbBytes: number;
}

async function allCommands(host: Initiator): Promise<Descriptor[]> {
  const data = await host.good(report(0));
  expect(data.readUInt32BE(0)).toBe(data.length - 4);
  return Array.from({ length: (data.length - 4) / 8 }, (_, i) => {
    const bytes = data.subarray(4 + i * 8, 12 + i * 8);
    const hasAction = bytes.readUInt8(5) === 1;
    expect([0, 1]).toContain(bytes[5]);
    if (!hasAction) expect(bytes.readUInt16BE(2)).toBe(0);
    return {
      opcode: bytes.readUInt8(0),
      serviceAction: hasAction ? bytes.readUInt16BE(2) : undefined,
      cdbBytes: bytes.readUInt16BE(6),
    };
  });
}

describe('REPORT SUPPORTED OPERATION CODES', () => {
  it('tells every command, with the bits that it may have', async () => {
    const { host } = await newBench();
    const commands = await allCommands(host);
    expect(commands.length).toBeGreaterThan(50);
    for (const { opcode, serviceAction, cdbBytes } of commands) {
      const option = serviceAction === undefined ? 1 : 2;
      const other = serviceAction === undefined ? 2 : 1;
      expect(await host.send(report(other, opcode, serviceAction))).toMatchObject(INVALID_FIELD);
      const one = await host.good(report(option, opcode, serviceAction));
      expect((await host.good(report(3, opcode, serviceAction))).equals(one)).toBe(true);
      expect([one[1], one.readUInt16BE(2), one[4], one.length]).toEqual([3, cdbBytes, opcode, 4 + cdbBytes]);
      expect(cdbBytes, `${u(opcode, 1)}: by its group (SPC-4, 4.3.2)`).toBe([6, 10, 10, 16, 16, 12][opcode >> 5]);
      if (serviceAction !== undefined) expect((one[5] ?? 0) & 0x1f).toBe(serviceAction);
    }
  });

  it('is held to by every command: a bit that is not told is refused', async () => {
    const { host } = await newBench();
    for (const { opcode, serviceAction } of await allCommands(host)) {
      const usage = (await host.good(report(3, opcode, serviceAction))).subarray(4);
      for (let at = 1; at < usage.length; at++)
        for (let bit = 0; bit < 8; bit++) {
          if (((usage[at] ?? 0) & (1 << bit)) !== 0) continue;
          if (at === 1 && serviceAction !== undefined && bit < 5) continue;
          const cdb = Buffer.alloc(16);
          cdb[0] = opcode;
          cdb[1] = serviceAction ?? 0;
          cdb[at] = (cdb[at] ?? 0) | (1 << bit);
          const { status, senseBytes } = await host.send(cdb.toString('hex'));
          expect({ cdb: cdb.toString('hex'), status, sense: senseBytes.subarray(12).toString('hex') }).toEqual({
            cdb: cdb.toString('hex'),
            status: 2,
            sense: `240000c${(8 + bit).toString(16)}${u(at, 2)}`,
          });
        }
    }
  });

  const usages: readonly [string, number, number, string][] = [
    ['READ(10)', 0x28, 0, '2818ffffffff1fffff00'],
    ['COMPARE AND WRITE', 0x89, 0, '8918ffffffffffffffff000000ff1f00'],
    ['VERIFY(16)', 0x8f, 0, '8f16ffffffffffffffffffffffff1f00'],
    ['GET LBA STATUS', 0x9e, 0x12, '9e12ffffffffffffffffffffffff0000'],
    ['REGISTER', 0x5f, 0x00, '5f00ff0000ffffffff00'],
    ['REPORT TARGET PORT GROUPS', 0xa3, 0x0a, 'a3ea00000000ffffffff0000'],
  ];

  it.each(usages)('of %s', async (_name, opcode, serviceAction, usage) => {
    const { host } = await newBench();
    expect((await host.good(report(3, opcode, serviceAction))).toString('hex')).toBe(
      `0003${u(usage.length / 2, 2)}${usage}`,
    );
  });

  it('tells what is not supported', async () => {
    const { host } = await newBench({ identity: { ...IDENTITY, isThin: false } });
    const unsupported: readonly [number, number, number][] = [
      [1, 0x04, 0],
      [2, 0x04, 1],
      [2, 0x9e, 0x1f],
      [3, 0xa4, 0x0a],
      [3, 0x28, 1],
      // Not thin
      [1, 0x42, 0],
    ];
    for (const [option, opcode, action] of unsupported)
      expect((await host.good(report(option, opcode, action))).toString('hex')).toBe('00010000');
    expect((await allCommands(host)).map(({ opcode }) => opcode)).not.toContain(0x42);
    expect(await host.send(report(4))).toMatchObject(INVALID_FIELD);
  });

  it('with timeouts, when they are asked for', async () => {
    const { host } = await newBench();
    const plain = await allCommands(host);
    const data = await host.good(report(0x80));
    expect(data.length).toBe(4 + plain.length * 20);
    for (let at = 4; at < data.length; at += 20) {
      expect((data[at + 5] ?? 0) & 2).toBe(2);
      expect(data.subarray(at + 8, at + 20).toString('hex')).toBe('000a0000000000000000003c');
    }
    expect((await host.good(report(0x81, 0x00))).toString('hex')).toBe('00830006000000000000000a0000000000000000003c');
  });

  it('is cut at the allocation length', async () => {
    const { host } = await newBench();
    const whole = await host.good(report(0));
    expect((await host.good('a3 0c 00 00 0000 00000005 00 00')).equals(whole.subarray(0, 5))).toBe(true);
    expect(host.prepare('a3 0c 00 00 0000 ffffffff 00 00')).toMatchObject({ dataInBytes: whole.length });
  });
});

describe('REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS', () => {
  it('tells those that iSCSI has', async () => {
    const { host } = await newBench();
    expect((await host.good('a3 0d 00 000000 00000100 00 00')).toString('hex')).toBe('da000000');
    expect((await host.good('a3 0d 80 000000 00000100 00 00')).toString('hex')).toBe(`da00000c${'00'.repeat(12)}`);
  });
});

describe('REPORT TARGET PORT GROUPS', () => {
  it('has one group with one port by itself', async () => {
    const { host } = await newBench();
    expect((await host.good('a3 0a 00000000 00000100 00 00')).toString('hex')).toBe(
      '0000000c 000f0001 00000001 00000001'.replaceAll(' ', ''),
    );
    expect((await host.good('a3 2a 00000000 00000100 00 00')).toString('hex')).toBe(
      '00000010 10000000 000f0001 00000001 00000001'.replaceAll(' ', ''),
    );
    expect(await host.send('a3 4a 00000000 00000100 00 00')).toMatchObject(INVALID_FIELD);
    expect((await host.good('a3 0a 00000000 00000004 00 00')).toString('hex')).toBe('0000000c');
    expect(await host.send('a4 0a 00000000 00000000 00 00'), 'none may be set').toMatchObject({ sense: '5/2000' });
  });

  it('has the groups of all gateways', async () => {
    const states = ['activeOptimized', 'activeNonOptimized', 'standby', 'unavailable'] as const;
    const portGroups = states.map((state, i) => ({
      id: i + 1,
      state,
      isPreferred: i === 1,
      ports: [i * 2 + 1, i * 2 + 2],
    }));
    const { host } = await newBench({ portGroups: () => portGroups });
    expect((await host.good('a3 0a 00000000 00000100 00 00')).toString('hex')).toBe(
      `00000040
       000f0001 00000002 00000001 00000002
       810f0002 00000002 00000003 00000004
       020f0003 00000002 00000005 00000006
       030f0004 00000002 00000007 00000008`.replaceAll(/\s/g, ''),
    );
    expect(await host.send('00')).toMatchObject(GOOD);
  });
});
