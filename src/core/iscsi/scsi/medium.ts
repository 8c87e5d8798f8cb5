/**
 * The medium of a unit: calls of its block device, as results. What ends at once makes no promise; calls under way are noted in the
 * extent locks, and writes that end with the same promise, a group commit, share one result.
 */
import type { BlockDevice, Completion, DeviceCall, WriteCall } from '../../blockdevice/index.ts';
import { STATUS, type ScsiResult } from './contract.ts';
import { ExtentLocks, type NotedExtent } from './extent-locks.ts';
import { senseOf } from './failures.ts';
import { ASC, illegalRequest, type Sense } from './sense.ts';

/** Of a logical block. */
export const BLOCK_BYTES = 512;

export const capacityOf = (device: BlockDevice): number => Math.floor(device.sizeBytes / BLOCK_BYTES);

/** What of the data are blocks that came whole. */
export const wholeBlocks = (data: Buffer): Buffer =>
  data.length % BLOCK_BYTES === 0 ? data : data.subarray(0, data.length - (data.length % BLOCK_BYTES));

/** Writes that end with the same promise. */
interface WriteGroup {
  readonly completion: Promise<void>;
  readonly result: Promise<ScsiResult>;
  readonly extents: NotedExtent[];
}

const GOOD: ScsiResult = { status: STATUS.good, dataInBytes: 0 };

export class Medium {
  readonly locks = new ExtentLocks();
  readonly #fail: (sense: Sense) => ScsiResult;
  #group: WriteGroup | undefined;

  constructor(fail: (sense: Sense) => ScsiResult) {
    this.#fail = fail;
  }

  /** Reads into `target`. `good` is the result when all is well. */
  read(
    device: BlockDevice,
    offset: number,
    target: Buffer,
    call: DeviceCall,
    good: ScsiResult,
  ): ScsiResult | Promise<ScsiResult> {
    const end = offset + target.length;
    if (!this.locks.isFree)
      return this.exclude(offset, end, 'shared', 'read', async () => {
        checkEnd(device, end);
        await device.read(offset, target, call);
        return good;
      });
    let completion: Completion;
    try {
      checkEnd(device, end);
      completion = device.read(offset, target, call);
    } catch (error) {
      return this.#failure(error, 'read');
    }
    if (completion === undefined) return good;
    const result = completion.then(
      () => {
        this.locks.forget(noted);
        return good;
      },
      (error: unknown) => {
        this.locks.forget(noted);
        return this.#failure(error, 'read');
      },
    );
    const noted = this.locks.note(offset, end, result);
    return result;
  }

  write(device: BlockDevice, offset: number, data: Buffer, call: WriteCall): ScsiResult | Promise<ScsiResult> {
    const end = offset + data.length;
    if (!this.locks.isFree)
      return this.exclude(offset, end, 'shared', 'write', async () => {
        checkEnd(device, end);
        await device.write(offset, data, call);
        return undefined;
      });
    let completion: Completion;
    try {
      checkEnd(device, end);
      completion = device.write(offset, data, call);
    } catch (error) {
      return this.#failure(error, 'write');
    }
    return completion === undefined ? GOOD : this.#follow(completion, offset, end);
  }

  #follow(completion: Promise<void>, start: number, end: number): Promise<ScsiResult> {
    const group = this.#group?.completion === completion ? this.#group : this.#newGroup(completion);
    group.extents.push(this.locks.note(start, end, group.result));
    return group.result;
  }

  #newGroup(completion: Promise<void>): WriteGroup {
    const extents: NotedExtent[] = [];
    const settle = (): void => {
      for (const extent of extents) this.locks.forget(extent);
      if (this.#group?.completion === completion) this.#group = undefined;
    };
    const result = completion.then(
      () => {
        settle();
        return GOOD;
      },
      (error: unknown) => {
        settle();
        return this.#failure(error, 'write');
      },
    );
    this.#group = { completion, result, extents };
    return this.#group;
  }

  /** Runs what takes several steps, when its turn has come. What it throws becomes sense data, and undefined GOOD. */
  async exclude(
    start: number,
    end: number,
    mode: 'shared' | 'exclusive',
    during: 'read' | 'write',
    work: () => Promise<ScsiResult | Sense | undefined>,
  ): Promise<ScsiResult> {
    try {
      const outcome = await this.locks.run(start, end, mode, work);
      if (outcome === undefined) return GOOD;
      return 'key' in outcome ? this.#fail(outcome) : outcome;
    } catch (error) {
      return this.#failure(error, during);
    }
  }

  #failure(error: unknown, during: 'read' | 'write'): ScsiResult {
    return this.#fail(error instanceof OutOfRange ? error.sense : senseOf(error, during));
  }
}

/** The device became shorter after the command was decoded. */
class OutOfRange extends Error {
  readonly sense = illegalRequest(ASC.lbaOutOfRange);
}

export function checkEnd(device: BlockDevice, end: number): void {
  if (end > device.sizeBytes) throw new OutOfRange();
}
