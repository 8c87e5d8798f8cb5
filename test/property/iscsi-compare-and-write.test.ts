/** Several initiators count with COMPARE AND WRITE over a device that takes its time: no count is lost. SGW_SEED=N replays a run. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryDevice, type Completion } from '../../src/core/blockdevice/index.ts';
import { BLOCK, newBench, type Initiator } from '../unit/iscsi/scsi/initiator.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261125);

/** Calls take effect at once, or later and block by block, and end later still. */
class SlowDevice extends MemoryDevice {
  readonly #turns: () => number;

  constructor(sizeBytes: number, turns: () => number) {
    super(sizeBytes);
    this.#turns = turns;
  }

  async #wait(): Promise<void> {
    for (let i = this.#turns(); i > 0; i--) await Promise.resolve();
  }

  async #blockByBlock(length: number, call: (from: number, to: number) => Completion): Promise<void> {
    await this.#wait();
    for (let at = 0; at < length; at += BLOCK) {
      await call(at, at + BLOCK);
      await this.#wait();
    }
  }

  override read(offset: number, target: Buffer): Completion {
    if (this.#turns() === 0) return super.read(offset, target);
    return this.#blockByBlock(target.length, (from, to) => super.read(offset + from, target.subarray(from, to)));
  }

  override write(offset: number, data: Buffer): Completion {
    if (this.#turns() === 0) return super.write(offset, data);
    return this.#blockByBlock(data.length, (from, to) => super.write(offset + from, data.subarray(from, to)));
  }
}

const READ = '28 00 00000000 00 0002 00';
const COMPARE_AND_WRITE = '89 00 0000000000000000 000000 02 00 00';

/** Counts up to `count` times in both of the two blocks, each time until nobody was faster. */
async function countUp(host: Initiator, count: number): Promise<void> {
  for (let done = 0; done < count;) {
    const present = await host.good(READ);
    const wanted = Buffer.from(present);
    for (const at of [0, BLOCK]) wanted.writeUInt32BE(present.readUInt32BE(at) + 1, at);
    const { status, sense } = await host.send(COMPARE_AND_WRITE, { dataOut: Buffer.concat([present, wanted]) });
    if (status === 0) done += 1;
    else expect(sense).toBe('e/1d00');
  }
}

/** Writes elsewhere, and reads what is counted: never one block before the other. */
async function lookOn(host: Initiator, rounds: number): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    await host.good('2a 00 00000002 00 0001 00', { dataOut: Buffer.alloc(BLOCK, i) });
    const present = await host.good(READ);
    expect(present.readUInt32BE(0)).toBe(present.readUInt32BE(BLOCK));
  }
}

describe('COMPARE AND WRITE by several initiators', () => {
  it('loses no count, and nobody sees half of one', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(4), { minLength: 5, maxLength: 60 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 8 }),
        async (turns, hosts, count) => {
          let at = 0;
          const device = new SlowDevice(1 << 20, () => turns[at++ % turns.length] ?? 0);
          const bench = await newBench({}, device);
          const counters = await Promise.all(
            Array.from({ length: hosts }, async (_, i) => bench.another(i + 2).settle()),
          );
          await Promise.all([...counters.map((host) => countUp(host, count)), lookOn(bench.host, count)]);
          expect(device.bytes.readUInt32BE(0)).toBe(hosts * count);
        },
      ),
      { seed, numRuns: 150 },
    );
  });
});
