/** The suite that every block device passes. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/core/blockdevice/index.ts';
import { seededRandom } from '../../src/core/kit/index.ts';

export interface DeviceUnderTest {
  readonly device: BlockDevice;
  /** Called between operations, now and then: the device may move its data about meanwhile. */
  readonly disturb?: () => Promise<void>;
  readonly close: () => Promise<void>;
}

const SIZE = 3 * 1024 * 1024 + 1000;

/** Runs the contract of block devices; `open` makes an empty one of `sizeBytes`. */
export function blockDeviceContract(name: string, open: (sizeBytes: number) => Promise<DeviceUnderTest>): void {
  describe(`block device contract: ${name}`, () => {
    let subject: DeviceUnderTest;
    beforeEach(async () => {
      subject = await open(SIZE);
    });
    afterEach(async () => {
      await subject.close();
    });

    const readAll = async (): Promise<Buffer> => {
      const bytes = Buffer.alloc(subject.device.sizeBytes, 0xee);
      await subject.device.read(0, bytes);
      return bytes;
    };

    it('a new device reads as zeroes', async () => {
      expect((await readAll()).equals(Buffer.alloc(SIZE))).toBe(true);
    });

    it(
      'any sequence of writes, zeroes, trims and flushes reads back as from a byte array',
      { timeout: 120_000 },
      async () => {
        const seed = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 1e9));
        const random = seededRandom(seed);
        const integer = (below: number): number => Math.floor(random.float() * below);
        const model = Buffer.alloc(SIZE);
        for (let step = 0; step < 300; step++) {
          const unit = [1, 512, 4096, 65536][integer(4)]!;
          const offset = Math.min(SIZE - 1, integer(Math.ceil(SIZE / unit)) * unit);
          const length = Math.min(SIZE - offset, Math.max(1, integer(8) + 1) * unit);
          switch (integer(8)) {
            case 0:
            case 1:
            case 2:
            case 3: {
              const data = random.bytes(length);
              await subject.device.write(offset, data, { fua: random.float() < 0.1 });
              data.copy(model, offset);
              break;
            }
            case 4:
              await subject.device.writeZeroes(offset, length, { mayTrim: random.float() < 0.5 });
              model.fill(0, offset, offset + length);
              break;
            case 5:
              await subject.device.trim(offset, length);
              model.fill(0, offset, offset + length);
              break;
            case 6:
              await subject.device.flush();
              break;
            default:
              await subject.disturb?.();
          }
          const at = integer(SIZE);
          const part = Buffer.alloc(Math.min(SIZE - at, 1 + integer(200_000)));
          await subject.device.read(at, part);
          expect(part.equals(model.subarray(at, at + part.length)), `seed ${seed}, step ${step}, read at ${at}`).toBe(
            true,
          );
        }
        expect((await readAll()).equals(model), `seed ${seed}`).toBe(true);
        await subject.disturb?.();
        expect((await readAll()).equals(model), `seed ${seed}, after all`).toBe(true);
      },
    );

    it('calls that overlap in time do not disturb each other where their extents are apart', async () => {
      const { device } = subject;
      const data = seededRandom(7).bytes(SIZE);
      const parts = Array.from({ length: 64 }, (_, i) => i * 10_007);
      await Promise.all(parts.map(async (offset) => device.write(offset, data.subarray(offset, offset + 10_007))));
      const whole = Buffer.alloc(64 * 10_007);
      await device.read(0, whole);
      expect(whole.equals(data.subarray(0, whole.length))).toBe(true);
    });

    it('extents cover what was asked for, in order, and agree with the contents', async () => {
      const { device } = subject;
      await device.write(65_536, Buffer.alloc(8192, 1));
      await device.write(1_000_000, Buffer.alloc(5000, 2));
      await device.trim(65_536, 4096);
      for (const settle of [false, true]) {
        if (settle) await subject.disturb?.();
        const pieces = await subject.device.extents(0, SIZE, 1000);
        expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(SIZE);
        const contents = await readAll();
        let at = 0;
        for (const { length, isZero, isHole } of pieces) {
          expect(length).toBeGreaterThan(0);
          const isAllZero = contents.subarray(at, at + length).equals(Buffer.alloc(length));
          if (isZero || isHole) expect(isAllZero).toBe(true);
          at += length;
        }
        expect(pieces.some(({ isHole }) => isHole)).toBe(true);
        expect(pieces.some(({ isHole }) => !isHole)).toBe(true);
        expect(await subject.device.extents(0, SIZE, 1)).toHaveLength(1);
      }
    });
  });
}
