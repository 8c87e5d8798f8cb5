/**
 * Reads and writes of all sizes, over all that can be agreed on, against plain bytes: an initiator that keeps every rule, some commands at
 * once, its bytes cut anywhere. `SGW_SEED` and `SGW_RUNS` for more.
 */
import { describe, expect, it } from 'vitest';
import { MemoryDevice, type Completion, type DeviceCall, type WriteCall } from '../../../src/core/blockdevice/index.ts';
import { seededRandom, type Random } from '../../../src/core/kit/index.ts';
import { cdb, command, dataOut, NO_TAG, READ, withDigests, WRITE, WRITE_MORE } from './pdu-builder.ts';
import { Scene, type Initiator } from './scene.ts';

const SEED = Number(process.env['SGW_SEED'] ?? 1);
const RUNS = Number(process.env['SGW_RUNS'] ?? 12);
const SIZE = 1 << 20;
/** Commands under way at once, each in a part of the device of its own. */
const LANES = 8;
const LANE_BYTES = SIZE / LANES;

/** Half of its calls end later. */
class SometimesLate extends MemoryDevice {
  readonly #random: Random;

  constructor(random: Random) {
    super(SIZE);
    this.#random = random;
  }

  #maybe(run: () => Completion): Completion {
    if (this.#random.float() < 0.5) return run();
    return new Promise((resolve) => {
      setImmediate(() => {
        void run();
        resolve();
      });
    });
  }

  override read(offset: number, target: Buffer, _call?: DeviceCall): Completion {
    return this.#maybe(() => super.read(offset, target));
  }

  override write(offset: number, data: Buffer, _call?: WriteCall): Completion {
    return this.#maybe(() => super.write(offset, data));
  }
}

interface Agreed {
  readonly maxSend: number;
  readonly maxReceive: number;
  readonly firstBurst: number;
  readonly maxBurst: number;
  readonly immediate: boolean;
  readonly unasked: boolean;
}

/** One command that is under way. */
interface Lane {
  readonly offset: number;
  readonly data: Buffer;
  readonly isRead: boolean;
  filled: number;
  dataSn: number;
}

class Workload {
  readonly #random: Random;
  readonly #initiator: Initiator;
  readonly #agreed: Agreed;
  readonly #model = Buffer.alloc(SIZE);
  readonly #lanes = new Map<number, Lane>();
  #output: Buffer[] = [];

  constructor(random: Random, initiator: Initiator, agreed: Agreed) {
    this.#random = random;
    this.#initiator = initiator;
    this.#agreed = agreed;
  }

  below(bound: number): number {
    return Math.floor(this.#random.float() * bound);
  }

  /** Runs so many commands, and compares all that is read. */
  async run(count: number): Promise<Buffer> {
    let begun = 0;
    while (begun < count || this.#lanes.size > 0) {
      for (let lane = 0; lane < LANES && begun < count; lane++) {
        if (this.#lanes.has(lane) || this.below(2) === 0) continue;
        this.#begin(lane);
        begun += 1;
      }
      await this.#flush();
      if (this.#lanes.size > 0) await this.#takeOne();
    }
    return this.#model;
  }

  #begin(itt: number): void {
    const blocks = 1 + this.below(this.below(4) === 0 ? LANE_BYTES / 512 : 16);
    const length = Math.min(blocks, LANE_BYTES / 512) * 512;
    const offset = itt * LANE_BYTES + this.below((LANE_BYTES - length) / 512 + 1) * 512;
    const isRead = this.below(2) === 0;
    const data = isRead ? Buffer.alloc(length) : this.#random.bytes(length);
    const lane = { offset, data, isRead, filled: 0, dataSn: 0 };
    this.#lanes.set(itt, lane);
    if (isRead) this.#push(this.#command(itt, cdb.read(offset / 512, length / 512), READ, length));
    else this.#beginWrite(itt, lane);
  }

  #command(itt: number, bytes: Buffer, flags: number, expected: number, data?: Buffer): Buffer {
    const cmdSn = this.#initiator.cmdSn++;
    return command({ itt, cmdSn, cdb: bytes, flags, expected, ...(data === undefined ? {} : { data }) });
  }

  #beginWrite(itt: number, { offset, data }: Lane): void {
    const { immediate, unasked, firstBurst, maxSend } = this.#agreed;
    const allowed = Math.min(firstBurst, data.length);
    const immediateBytes = immediate && this.below(3) > 0 ? 1 + this.below(Math.min(allowed, maxSend)) : 0;
    const unaskedBytes = unasked && immediateBytes < allowed && this.below(2) === 0 ? allowed : immediateBytes;
    const flags = unaskedBytes > immediateBytes ? WRITE_MORE : WRITE;
    const part = immediateBytes === 0 ? undefined : data.subarray(0, immediateBytes);
    this.#push(this.#command(itt, cdb.write(offset / 512, data.length / 512), flags, data.length, part));
    if (flags === WRITE_MORE) this.#sendData(itt, NO_TAG, immediateBytes, unaskedBytes);
  }

  #sendData(itt: number, ttt: number, start: number, end: number): void {
    const data = this.#lanes.get(itt)?.data ?? Buffer.alloc(0);
    for (let at = start, dataSn = 0; at < end; dataSn++) {
      const length = Math.min(end - at, 1 + this.below(this.#agreed.maxSend));
      const isFinal = at + length === end;
      this.#push(dataOut({ itt, ttt, dataSn, offset: at, isFinal, data: data.subarray(at, at + length) }));
      at += length;
    }
  }

  #push(plain: Buffer): void {
    this.#output.push(withDigests(plain, this.#initiator.digests));
  }

  async #flush(): Promise<void> {
    const all = Buffer.concat(this.#output);
    this.#output = [];
    for (let at = 0; at < all.length;) {
      const length = 1 + this.below(20_000);
      this.#initiator.socket.write(all.subarray(at, at + length));
      at += length;
      if (this.below(4) === 0) await new Promise(setImmediate);
    }
  }

  async #takeOne(): Promise<void> {
    const { header, data } = await this.#initiator.takeParts();
    const itt = header.readUInt32BE(16);
    const lane = this.#lanes.get(itt);
    if (lane === undefined) throw new Error(`an answer to ${String(itt)}, which is not under way`);
    if (header[0] === 0x31) {
      const offset = header.readUInt32BE(40);
      const length = header.readUInt32BE(44);
      expect(length).toBeLessThanOrEqual(this.#agreed.maxBurst);
      this.#sendData(itt, header.readUInt32BE(20), offset, offset + length);
      return;
    }
    if (header[0] === 0x25) this.#takeData(lane, header, data);
    const hasStatus = header[0] === 0x21 || ((header[1] ?? 0) & 1) === 1;
    if (!hasStatus) return;
    expect([header[3], header.readUInt32BE(44)]).toEqual([0, 0]);
    expect(header.readUInt32BE(24)).toBe(this.#initiator.statSn++);
    const model = this.#model.subarray(lane.offset, lane.offset + lane.data.length);
    if (lane.isRead) expect(lane.data.equals(model)).toBe(true);
    else lane.data.copy(model);
    this.#lanes.delete(itt);
  }

  #takeData(lane: Lane, header: Buffer, data: Buffer): void {
    const offset = header.readUInt32BE(40);
    expect([offset, header.readUInt32BE(36)]).toEqual([lane.filled, lane.dataSn]);
    expect(data.length).toBeLessThanOrEqual(this.#agreed.maxReceive);
    data.copy(lane.data, offset);
    lane.filled += data.length;
    lane.dataSn += 1;
  }
}

const pick = <T>(random: Random, of: readonly T[]): T => of[Math.floor(random.float() * of.length)] as T;

describe('transfers', () => {
  for (let run = 0; run < RUNS; run++) {
    it(`are right whatever was agreed on (SGW_SEED=${String(SEED + run)})`, { timeout: 60_000 }, async () => {
      const random = seededRandom(SEED + run);
      const maxReceive = pick(random, [512, 1000, 8192, 65_536, 262_144]);
      const firstBurst = pick(random, [512, 4096, 65_536]);
      const maxBurst = Math.max(firstBurst, pick(random, [512, 10_000, 65_536, 262_144]));
      const immediate = random.float() < 0.7;
      const unasked = random.float() < 0.7;
      const device = new SometimesLate(seededRandom(SEED + run + 0x1000));
      const wishes = { maxReceiveLength: pick(random, [512, 4096, 262_144]) };
      await using scene = await Scene.open({
        device,
        wishes,
        limits: { bytesMax: pick(random, [1, 65_536, 1 << 26]) },
      });
      const initiator = await scene.initiator({
        keys: [
          `MaxRecvDataSegmentLength=${maxReceive}`,
          `FirstBurstLength=${firstBurst}`,
          `MaxBurstLength=${maxBurst}`,
          `ImmediateData=${immediate ? 'Yes' : 'No'}`,
          `InitialR2T=${unasked ? 'No' : 'Yes'}`,
          `MaxOutstandingR2T=${pick(random, [1, 2, 7])}`,
          `HeaderDigest=${pick(random, ['None', 'CRC32C'])}`,
          `DataDigest=${pick(random, ['None', 'None', 'CRC32C'])}`,
        ],
      });
      const maxSend = wishes.maxReceiveLength;
      const agreed = { maxSend, maxReceive, firstBurst, maxBurst, immediate, unasked };
      const model = await new Workload(random, initiator, agreed).run(150);
      expect(device.bytes.equals(model)).toBe(true);
      expect(scene.faults).toEqual([]);
    });
  }
});
