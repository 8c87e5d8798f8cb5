import { describe, expect, it } from 'vitest';
import { seededRandom, SgwError } from '../../../../src/core/kit/index.ts';
import { ControlledDevice } from '../../nbd/controlled-device.ts';
import {
  BLOCK,
  check,
  GOOD,
  hex,
  IDENTITY,
  INVALID_FIELD,
  newBench,
  type Answer,
  type Initiator,
} from './initiator.ts';

const BAD_LENGTH = check('5/1a00');
const noise = seededRandom(13).bytes(16 << 20);

const u = (value: number | bigint, bytes: number): string => value.toString(16).padStart(bytes * 2, '0');
const cscd = (naa = IDENTITY.naa.toString('hex'), blockBytes = 512): string =>
  `e4 00 0000 01 03 00 10 ${naa} 00000000 00 ${u(blockBytes, 3)}`;
interface SegmentFields {
  readonly from: number | bigint;
  readonly to: number | bigint;
  readonly blocks: number;
  readonly source?: number;
  readonly target?: number;
}
const segment = ({ from, to, blocks, source = 0, target = 0 }: SegmentFields): string =>
  `02 00 0018 ${u(source, 2)} ${u(target, 2)} 0000 ${u(blocks, 2)} ${u(from, 8)} ${u(to, 8)}`;
interface ListFields {
  readonly id?: number;
  readonly usage?: number;
  readonly cscds?: readonly string[];
  readonly segments?: readonly string[];
  readonly inlineBytes?: number;
}
function listOf({ id = 1, usage = 0, cscds = [cscd()], segments = [], inlineBytes = 0 }: ListFields): Buffer {
  const [first, second] = [hex(cscds.join('')), hex(segments.join(''))];
  return Buffer.concat([
    hex(`${u(id, 1)} ${u(usage << 3, 1)} ${u(first.length, 2)} 00000000 ${u(second.length, 4)} ${u(inlineBytes, 4)}`),
    first,
    second,
  ]);
}
const copy = (host: Initiator, list: ListFields | Buffer): Promise<Answer> => {
  const dataOut = Buffer.isBuffer(list) ? list : listOf(list);
  return host.send(`83 00 0000000000000000 ${u(dataOut.length, 4)} 00 00`, { dataOut });
};
const results = (host: Initiator, action: number, id = 1): Promise<Answer> =>
  host.send(`84 ${u(action, 1)} ${u(id, 1)} 00000000000000 00000400 00 00`);

describe('EXTENDED COPY', () => {
  it('copies blocks of the unit, segment by segment', async () => {
    const { host, device } = await newBench({}, new ControlledDevice(16 << 20));
    noise.copy(device.bytes);
    const segments = [
      segment({ from: 0, to: 16384, blocks: 3 }),
      segment({ from: 16384, to: 100, blocks: 2, target: 1 }),
      segment({ from: 0, to: 17000, blocks: 15000 }),
      segment({ from: 0, to: 0, blocks: 0 }),
    ];
    expect(await copy(host, { cscds: [cscd(), cscd()], segments })).toMatchObject(GOOD);
    const model = Buffer.from(noise);
    model.copy(model, 16384 * BLOCK, 0, 3 * BLOCK);
    model.copy(model, 100 * BLOCK, 16384 * BLOCK, 16386 * BLOCK);
    model.copy(model, 17000 * BLOCK, 0, 15000 * BLOCK);
    expect(device.bytes.equals(model)).toBe(true);
  });

  it('copies what overlaps as if it had been read before it is written', async () => {
    for (const [from, to] of [
      [0, 5],
      [5, 0],
      [9000, 9000],
    ] as const) {
      const { host, device } = await newBench({}, new ControlledDevice(16 << 20));
      noise.copy(device.bytes);
      expect(await copy(host, { segments: [segment({ from, to, blocks: 20000 })] })).toMatchObject(GOOD);
      const model = Buffer.from(noise);
      model.copyWithin(to * BLOCK, from * BLOCK, (from + 20000) * BLOCK);
      expect(device.bytes.equals(model)).toBe(true);
    }
  });

  it('does nothing without a list', async () => {
    const { host } = await newBench();
    expect(await copy(host, Buffer.alloc(0))).toMatchObject(GOOD);
    expect(await copy(host, { cscds: [] })).toMatchObject(GOOD);
  });

  const good = segment({ from: 0, to: 8, blocks: 1 });
  const many = <T>(count: number, one: T): T[] => new Array<T>(count).fill(one);
  const refused: readonly [string, ListFields | Buffer, Partial<Answer>][] = [
    ['a header that is cut', listOf({}).subarray(0, 15), BAD_LENGTH],
    ['descriptors that are cut', listOf({ segments: [good] }).subarray(0, -1), BAD_LENGTH],
    ['more than is taken at all', { cscds: many(9, cscd()), segments: many(257, good) }, BAD_LENGTH],
    ['too many sources and destinations', { cscds: many(9, cscd()), segments: [good] }, check('5/2606')],
    ['another kind of them', { cscds: [cscd().replace('e4', 'e0')], segments: [good] }, check('5/2607')],
    ['too many segments', { segments: many(257, good) }, check('5/2608')],
    ['another kind of segment', { segments: [good, good.replace('02', '03')] }, check('5/2609')],
    ['data within the list', { segments: [good], inlineBytes: 1 }, check('5/260b')],
    ['a segment of another length', { segments: [good.replace('0018', '0014')] }, check('5/2600')],
    ['other blocks', { cscds: [cscd(undefined, 4096)], segments: [good] }, check('5/2600')],
    ['a list identifier that is none', { usage: 3, segments: [good] }, check('5/2600')],
    ['an unknown usage of it', { usage: 1, segments: [good] }, check('5/2600')],
    [
      'a destination that is not in the list',
      { segments: [segment({ from: 0, to: 8, blocks: 1, target: 1 })] },
      check('a/0804'),
    ],
    [
      'a source that is not in the list',
      { segments: [segment({ from: 0, to: 8, blocks: 1, source: 7 })] },
      check('a/0804'),
    ],
    ['another unit', { cscds: [cscd('60'.repeat(16))], segments: [good] }, check('a/0d02')],
    ['blocks beyond the end', { segments: [segment({ from: 0, to: 2047, blocks: 2 })] }, check('a/0000')],
    [
      'blocks far beyond the end',
      { segments: [segment({ from: (1n << 64n) - 1n, to: 0, blocks: 1 })] },
      check('a/0000'),
    ],
  ];

  it.each(refused)('refuses %s, and writes nothing', async (_name, list, answer) => {
    const { host, device } = await newBench();
    device.bytes.fill(7, 0, BLOCK);
    expect(await copy(host, list)).toMatchObject(answer);
    expect(device.bytes.subarray(BLOCK).every((byte) => byte === 0)).toBe(true);
  });

  it('stops when it is told to, and where the device fails', async () => {
    const device = new ControlledDevice(16 << 20);
    const { host } = await newBench({}, device);
    const stop = new AbortController();
    stop.abort();
    const dataOut = listOf({ segments: [good] });
    const cdb = `83 00 0000000000000000 ${u(dataOut.length, 4)} 00 00`;
    expect(await host.send(cdb, { dataOut, signal: stop.signal })).toMatchObject(check('b/0000'));
    expect(device.calls).toEqual([]);
    device.failure = new SgwError('exhausted', 'test', 'full');
    expect(await copy(host, { segments: [good] })).toMatchObject(check('7/2707'));
  });
});

describe('RECEIVE COPY RESULTS', () => {
  it('tells what copies may be', async () => {
    const { host } = await newBench();
    expect((await results(host, 3)).data.toString('hex')).toBe(
      hex(`0000002a 01000000 0008 0100 00001d00 01fffe00 00000000 00000000 00000000
           0000 00ff ff 09 00 00 000000 02 02e4`).toString('hex'),
    );
  });

  it('tells how a copy of this nexus went, until it is gone', async () => {
    const { host, another, unit } = await newBench();
    const second = await another(2).settle();
    for (const action of [0, 4]) expect(await results(host, action)).toMatchObject(INVALID_FIELD);
    const good = segment({ from: 0, to: 8, blocks: 3 });
    await copy(host, { segments: [good, good] });
    expect((await results(host, 0)).data.toString('hex')).toBe('000000080100020100000003');
    expect((await results(host, 4)).data.toString('hex')).toBe('00000000');
    expect(await results(host, 0, 2), 'another list').toMatchObject(INVALID_FIELD);
    expect(await results(second, 0), 'another nexus').toMatchObject(INVALID_FIELD);
    await copy(host, { segments: [good, segment({ from: 0, to: 0, blocks: 1, target: 1 })] });
    expect((await results(host, 0)).data.toString('hex')).toBe('000000080200010100000002');
    const failure = (await results(host, 4)).data;
    expect(failure.readUInt32BE(0)).toBe(failure.length - 4);
    expect(failure.subarray(56).toString('hex')).toBe('0200001270000a000000000a00000000080400000000');
    unit.leave(host.nexus);
    unit.join(host.nexus);
    await host.settle();
    expect(await results(host, 0)).toMatchObject(INVALID_FIELD);
  });

  it('keeps nothing of a copy that does not ask for it', async () => {
    const { host } = await newBench();
    const good = segment({ from: 0, to: 8, blocks: 3 });
    expect(await copy(host, { usage: 2, segments: [good] })).toMatchObject(GOOD);
    expect(await copy(host, { usage: 3, id: 0, segments: [good] })).toMatchObject(GOOD);
    for (const id of [0, 1]) expect(await results(host, 0, id)).toMatchObject(INVALID_FIELD);
  });

  it('tells of a copy that runs, whose identifier is not free', async () => {
    const device = new ControlledDevice(1 << 20);
    const { host } = await newBench({}, device);
    device.holds.add('read');
    const answer = copy(host, { segments: [segment({ from: 0, to: 8, blocks: 3 })] });
    expect((await results(host, 0)).data.toString('hex')).toBe('000000080000000100000000');
    expect(await results(host, 4)).toMatchObject(INVALID_FIELD);
    expect(await copy(host, {})).toMatchObject(check('5/0016'));
    await new Promise((resolve) => setImmediate(resolve));
    device.open();
    expect(await answer).toMatchObject(GOOD);
  });
});
