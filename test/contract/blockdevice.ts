/** What every block device must do. A caller gives a function that makes an empty one of a size. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/core/blockdevice/index.ts';
import { MIB, seededRandom, SgwError } from '../../src/core/kit/index.ts';

/** The last page is not a whole one. */
const DEVICE_BYTES = 3 * MIB + 1000;

export interface DeviceUnderTest {
  readonly device: BlockDevice;
  /** Called between operations, now and then: the device may move its data about meanwhile. */
  readonly disturb?: () => Promise<void>;
  readonly close: () => Promise<void>;
  /** Changes the size of the device, where it can. */
  readonly resize?: (sizeBytes: number) => Promise<void>;
  /** Opens what is there once more, after a loss of power, where that can be tried. */
  readonly afterPowerLoss?: () => Promise<BlockDevice>;
}

export interface DeviceContractOptions {
  readonly openReadOnly?: (sizeBytes: number) => Promise<DeviceUnderTest>;
  /** How many sequences of operations are tried, each on a device of its own. */
  readonly runs?: number;
}

type Step =
  | {
      readonly kind: 'write';
      readonly at: number;
      readonly length: number;
      readonly fill: number;
      readonly fua: boolean;
    }
  | {
      readonly kind: 'trim' | 'zero' | 'read' | 'prefetch';
      readonly at: number;
      readonly length: number;
      readonly flag: boolean;
    }
  | { readonly kind: 'flush' | 'disturb' };

const seed = Number(process.env['SGW_SEED'] ?? 20261125);

export function blockDeviceContract(
  name: string,
  open: (sizeBytes: number) => Promise<DeviceUnderTest>,
  { openReadOnly, runs = 30 }: DeviceContractOptions = {},
): void {
  describe(`block device contract: ${name}`, () => {
    let opened: DeviceUnderTest;
    beforeEach(async () => {
      opened = await open(DEVICE_BYTES);
    });
    afterEach(async () => {
      await opened.close();
    });

    contents(
      () => opened.device,
      async () => open(DEVICE_BYTES),
      runs,
    );
    overlaps(() => opened.device);
    states(() => opened.device);
    sizes(() => opened);
    if (openReadOnly !== undefined) readOnly(async () => openReadOnly(DEVICE_BYTES));
  });
}

const NOISE = seededRandom(3).bytes(70_001);
const ZEROES = Buffer.alloc(DEVICE_BYTES);

/** Bytes that are others for each `fill`. */
const pattern = (fill: number, length: number): Buffer => Buffer.alloc(length, NOISE.subarray(fill));

/** Extents in units of the smallest block. */
function extent(unit: number, lengthMax: number): fc.Arbitrary<{ readonly at: number; readonly length: number }> {
  const blocks = Math.floor(DEVICE_BYTES / unit);
  return fc
    .tuple(
      fc.oneof(fc.nat(blocks - 1), fc.nat(Math.min(blocks - 1, 64))),
      fc.integer({ min: 1, max: lengthMax / unit }),
    )
    .map(([at, length]) => ({ at: at * unit, length: Math.min(length, blocks - at) * unit }));
}

function steps(unit: number): fc.Arbitrary<Step[]> {
  const near = fc.oneof(extent(unit, 20_000), extent(unit, 300_000));
  return fc.array(
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc
          .tuple(near, fc.nat(0xffff), fc.boolean())
          .map(([at, fill, fua]): Step => ({ kind: 'write', ...at, fill, fua })),
      },
      {
        weight: 5,
        arbitrary: fc
          .tuple(fc.constantFrom('trim', 'zero', 'read', 'prefetch'), near, fc.boolean())
          .map(([kind, at, flag]): Step => ({ kind, ...at, flag })),
      },
      { weight: 2, arbitrary: fc.constantFrom<Step>({ kind: 'flush' }, { kind: 'disturb' }) },
    ),
    { maxLength: 40 },
  );
}

async function apply(
  { device, disturb }: Pick<DeviceUnderTest, 'device' | 'disturb'>,
  model: Buffer,
  step: Step,
): Promise<void> {
  switch (step.kind) {
    case 'write': {
      const data = pattern(step.fill, step.length);
      await device.write(step.at, data, { fua: step.fua });
      data.copy(model, step.at);
      expect(data.equals(pattern(step.fill, step.length)), 'a write does not change its data').toBe(true);
      return;
    }
    case 'trim':
      await device.trim(step.at, step.length, { fua: step.flag });
      model.fill(0, step.at, step.at + step.length);
      return;
    case 'zero':
      await device.writeZeroes(step.at, step.length, { mayTrim: step.flag });
      model.fill(0, step.at, step.at + step.length);
      return;
    case 'read':
      await expectContents(device, model, step.at, step.length);
      return;
    case 'prefetch':
      await device.prefetch(step.at, step.length);
      return;
    case 'flush':
      await device.flush();
      return;
    case 'disturb':
      await disturb?.();
  }
}

async function expectContents(device: BlockDevice, model: Buffer, at: number, length: number): Promise<void> {
  const target = Buffer.alloc(length, 0xee);
  await device.read(at, target);
  const expected = model.subarray(at, at + length);
  if (target.equals(expected)) return;
  const wrong = target.findIndex((byte, i) => byte !== expected[i]);
  throw new Error(`byte ${String(at + wrong)} is ${String(target[wrong])}, not ${String(expected[wrong])}`);
}

/** Pieces that cover an extent, asked for again and again from where the last answer ended. */
async function walk(
  device: BlockDevice,
  at: number,
  length: number,
  piecesMax: number,
): Promise<[number, boolean, boolean][]> {
  const found: [number, boolean, boolean][] = [];
  for (let from = at; from < at + length;) {
    const pieces = await device.extents(from, at + length - from, piecesMax);
    expect(pieces.length).toBeGreaterThan(0);
    expect(pieces.length).toBeLessThanOrEqual(piecesMax);
    for (const piece of pieces) {
      expect(piece.length).toBeGreaterThan(0);
      found.push([piece.length, piece.isHole, piece.isZero]);
      from += piece.length;
    }
    expect(from).toBeLessThanOrEqual(at + length);
  }
  return found;
}

function contents(device: () => BlockDevice, open: () => Promise<DeviceUnderTest>, runs: number): void {
  it('is all zeroes, of the size it says', async () => {
    expect(device().sizeBytes).toBe(DEVICE_BYTES);
    await expectContents(device(), Buffer.alloc(DEVICE_BYTES), 0, DEVICE_BYTES);
  });

  it('any operations leave what a byte array has, and extents say so', async () => {
    const unit = device().limits.blockBytesMin;
    await fc.assert(
      fc.asyncProperty(steps(unit), async (all) => {
        const fresh = await open();
        try {
          const model = Buffer.alloc(DEVICE_BYTES);
          for (const step of all) await apply(fresh, model, step);
          await expectContents(fresh.device, model, 0, DEVICE_BYTES);
          let at = 0;
          for (const [length, , isZero] of await walk(fresh.device, 0, DEVICE_BYTES, 7)) {
            if (isZero)
              expect(model.subarray(at, at + length).equals(ZEROES.subarray(0, length)), 'zeroes are zeroes').toBe(
                true,
              );
            at += length;
          }
        } finally {
          await fresh.close();
        }
      }),
      { seed, numRuns: runs },
    );
  });

  it('first and last bytes, and the longest read and write, are in reach', async () => {
    const { blockBytesMin, payloadBytesMax } = device().limits;
    const model = Buffer.alloc(DEVICE_BYTES);
    const long = Math.min(payloadBytesMax, DEVICE_BYTES);
    await apply({ device: device() }, model, {
      kind: 'write',
      at: DEVICE_BYTES - long,
      length: long,
      fill: 1,
      fua: false,
    });
    await apply({ device: device() }, model, { kind: 'write', at: 0, length: blockBytesMin, fill: 2, fua: true });
    await apply({ device: device() }, model, {
      kind: 'write',
      at: DEVICE_BYTES - blockBytesMin,
      length: blockBytesMin,
      fill: 3,
      fua: false,
    });
    await expectContents(device(), model, 0, DEVICE_BYTES);
  });
}

function overlaps(device: () => BlockDevice): void {
  it('calls beside one another: each block is wholly what one of them wrote', async () => {
    const block = 8192;
    const random = seededRandom(seed);
    for (let round = 0; round < 5; round++) {
      const at = Math.floor(random.float() * Math.floor(DEVICE_BYTES / block)) * block;
      const ended = [1, 2, 3, 4].map(async (fill) => {
        await device().write(at, Buffer.alloc(block, fill));
      });
      await Promise.all(ended);
      const target = Buffer.alloc(block);
      await device().read(at, target);
      const pages = [0, 4096].map((from) => target.subarray(from, from + 4096));
      for (const page of pages) expect([1, 2, 3, 4].some((fill) => page.every((byte) => byte === fill))).toBe(true);
    }
  });

  it('writes of different places under way at once all arrive', async () => {
    const model = Buffer.alloc(DEVICE_BYTES);
    const ended: Promise<void>[] = [];
    for (let i = 0; i < 200; i++) {
      const data = pattern(i, 4096);
      data.copy(model, i * 12_288);
      const call = device().write(i * 12_288, data, { fua: i % 50 === 0 });
      if (call !== undefined) ended.push(call);
    }
    await Promise.all(ended);
    await device().flush();
    await expectContents(device(), model, 0, DEVICE_BYTES);
  });

  it('an atomic write as long as they may be arrives, beside others', async (context) => {
    const { atomic } = device().limits;
    if (atomic === undefined) {
      context.skip('this device promises no atomic writes');
      return;
    }
    const length = Math.floor(Math.min(atomic.bytesMax, DEVICE_BYTES / 8) / atomic.unitBytes) * atomic.unitBytes;
    expect(length).toBeGreaterThan(0);
    const ended = [0, 1, 2, 3].map(async (i) => {
      await device().write(i * 2 * length, pattern(i, length), i % 2 === 0 ? { atomic: true } : {});
      await device().write(i * 2 * length, pattern(i + 9, length), { atomic: true, fua: true });
    });
    await Promise.all(ended);
    const model = Buffer.alloc(DEVICE_BYTES);
    for (const i of [0, 1, 2, 3]) pattern(i + 9, length).copy(model, i * 2 * length);
    await expectContents(device(), model, 0, DEVICE_BYTES);
  });

  it('a read that starts after a write was acknowledged sees it', async () => {
    for (let i = 1; i < 50; i++) {
      await device().write(4096, Buffer.alloc(4096, i));
      const target = Buffer.alloc(4096);
      await device().read(4096, target);
      expect(target.every((byte) => byte === i)).toBe(true);
    }
  });
}

function states(device: () => BlockDevice): void {
  it('extents tell data from zeroes, within what is asked for', async () => {
    await device().write(65_536, Buffer.alloc(8192, 1));
    await device().write(1_048_576, Buffer.alloc(4096, 1));
    const found = await walk(device(), 0, DEVICE_BYTES, 1000);
    const zeroAt = (offset: number): boolean => {
      let at = 0;
      for (const [length, , isZero] of found) {
        at += length;
        if (offset < at) return isZero;
      }
      throw new Error('beyond the end');
    };
    expect([65_536, 73_727, 1_048_576].map(zeroAt)).toEqual([false, false, false]);
    expect([2 * MIB, DEVICE_BYTES - 1].map(zeroAt)).toEqual([true, true]);
    expect(await device().extents(65_536, 4096, 1)).toMatchObject([{ length: 4096, isZero: false }]);
  });

  it('what is trimmed is told as zeroes', async () => {
    await device().write(0, Buffer.alloc(262_144, 1));
    await device().trim(65_536, 65_536);
    await device().flush();
    const pieces = await device().extents(65_536, 65_536, 100);
    expect(pieces.every(({ isZero }) => isZero)).toBe(true);
    const model = Buffer.alloc(DEVICE_BYTES);
    model.fill(1, 0, 65_536).fill(1, 131_072, 262_144);
    await expectContents(device(), model, 0, DEVICE_BYTES);
  });

  it('zeroes that must be fast are written, or refused as unsupported, and nothing in between', async () => {
    await device().write(0, Buffer.alloc(65_536, 1));
    let isRefused = false;
    try {
      await device().writeZeroes(0, 65_536, { fastOnly: true });
    } catch (error) {
      expect((error as SgwError).kind).toBe('unsupported');
      isRefused = true;
    }
    const target = Buffer.alloc(65_536);
    await device().read(0, target);
    expect(target.every((byte) => byte === (isRefused ? 1 : 0))).toBe(true);
  });
}

function sizes(opened: () => DeviceUnderTest): void {
  it('a new size is seen at once; what is added reads as zeroes', async (context) => {
    const { device, resize } = opened();
    if (resize === undefined) {
      context.skip('this device has one size');
      return;
    }
    await device.write(DEVICE_BYTES - 4096, Buffer.alloc(4096, 1));
    await resize(2 * DEVICE_BYTES);
    expect(device.sizeBytes).toBe(2 * DEVICE_BYTES);
    const model = Buffer.alloc(2 * DEVICE_BYTES);
    model.fill(1, DEVICE_BYTES - 4096, DEVICE_BYTES);
    await expectContents(device, model, DEVICE_BYTES - 4096, DEVICE_BYTES + 4096);
    await device.write(2 * DEVICE_BYTES - 4096, Buffer.alloc(4096, 2));
  });

  it('what was flushed, or written with FUA, outlives a loss of power', async (context) => {
    const { device, afterPowerLoss } = opened();
    if (afterPowerLoss === undefined) {
      context.skip('no loss of power can be tried on this device');
      return;
    }
    const model = Buffer.alloc(DEVICE_BYTES);
    await apply({ device }, model, {
      kind: 'write',
      at: 4096,
      length: 100_000 - (100_000 % device.limits.blockBytesMin),
      fill: 1,
      fua: false,
    });
    await device.flush();
    await apply({ device }, model, { kind: 'write', at: MIB, length: 4096, fill: 2, fua: true });
    await expectContents(await afterPowerLoss(), model, 0, DEVICE_BYTES);
  });
}

function readOnly(open: () => Promise<DeviceUnderTest>): void {
  it('a read-only device is read, and refuses every change', async () => {
    const { device, close } = await open();
    try {
      expect(device.isReadOnly).toBe(true);
      const target = Buffer.alloc(4096);
      await device.read(0, target);
      for (const change of [
        () => device.write(0, Buffer.alloc(4096)),
        () => device.trim(0, 4096),
        () => device.writeZeroes(0, 4096),
      ]) {
        const failure = await (async () => change())().then(
          () => undefined,
          (error: unknown) => error,
        );
        expect(failure).toBeInstanceOf(SgwError);
        expect((failure as SgwError).kind).toBe('readOnly');
      }
      await device.flush();
    } finally {
      await close();
    }
  });
}
