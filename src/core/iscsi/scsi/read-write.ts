/** READ and WRITE, SYNCHRONIZE CACHE and PRE-FETCH (SBC-3, 5.6 to 5.9, 5.26, 5.27, 5.31 to 5.34). */
import type { WriteCall } from '../../blockdevice/index.ts';
import {
  atomicBlocks,
  checkExtent,
  LAYOUT_10,
  LAYOUT_12,
  LAYOUT_16,
  LAYOUT_6,
  LAYOUT_ATOMIC,
  prepareTransfer,
  transferBlocksMax,
  type Layout,
} from './block-fields.ts';
import { Action, GOOD, usageOf, type CommandRow, type Initiator, type Prepare } from './command.ts';
import { STATUS, type ScsiCommand, type ScsiResult } from './contract.ts';
import { attempt } from './failures.ts';
import { BLOCK_BYTES, capacityOf, checkEnd, wholeBlocks } from './medium.ts';
import { ASC, illegalRequest, invalidField } from './sense.ts';

class Read implements ScsiCommand {
  readonly dataOutBytes = 0;
  readonly dataInBytes: number;
  readonly #initiator: Initiator;
  readonly #offset: number;
  readonly #isFua: boolean;

  constructor(initiator: Initiator, offset: number, length: number, isFua: boolean) {
    this.#initiator = initiator;
    this.#offset = offset;
    this.dataInBytes = length;
    this.#isFua = isFua;
  }

  run(_dataOut: Buffer, dataIn: Buffer, signal: AbortSignal): ScsiResult | Promise<ScsiResult> {
    const { unit, nexus } = this.#initiator;
    const { device } = nexus;
    const good: ScsiResult = { status: STATUS.good, dataInBytes: this.dataInBytes };
    if (dataIn.length === 0) return good;
    const isPartial = dataIn.length % BLOCK_BYTES !== 0;
    if (this.#isFua || isPartial) return this.#readInSteps(dataIn, isPartial, signal, good);
    return unit.medium.read(device, this.#offset, dataIn, { signal }, good);
  }

  /** What is asked for has to be durable before it is answered (FUA), or the initiator takes a part of the last block. */
  #readInSteps(dataIn: Buffer, isPartial: boolean, signal: AbortSignal, good: ScsiResult): Promise<ScsiResult> {
    const { unit, nexus } = this.#initiator;
    const { device } = nexus;
    const start = this.#offset;
    const end = start + Math.ceil(dataIn.length / BLOCK_BYTES) * BLOCK_BYTES;
    return unit.medium.exclude(start, end, 'shared', 'read', async () => {
      if (this.#isFua) await device.flush({ signal });
      checkEnd(device, end);
      const target = isPartial ? Buffer.allocUnsafe(end - start) : dataIn;
      await device.read(start, target, { signal });
      if (isPartial) target.copy(dataIn);
      return good;
    });
  }
}

class Write implements ScsiCommand {
  readonly dataInBytes = 0;
  readonly dataOutBytes: number;
  readonly #initiator: Initiator;
  readonly #offset: number;
  readonly #isFua: boolean;
  readonly #isAtomic: boolean;

  constructor(initiator: Initiator, offset: number, length: number, isFua: boolean, isAtomic: boolean) {
    this.#initiator = initiator;
    this.#offset = offset;
    this.dataOutBytes = length;
    this.#isFua = isFua;
    this.#isAtomic = isAtomic;
  }

  run(dataOut: Buffer, _dataIn: Buffer, signal: AbortSignal): ScsiResult | Promise<ScsiResult> {
    const { unit, nexus } = this.#initiator;
    if (this.#isAtomic && dataOut.length < this.dataOutBytes) return unit.fail(illegalRequest(ASC.infoUnitInvalid));
    const data = wholeBlocks(dataOut);
    if (data.length === 0) return GOOD;
    const fua = this.#isFua || !unit.modes.writeCacheEnabled;
    const call: WriteCall = fua ? { signal, fua } : { signal };
    return unit.medium.write(nexus.device, this.#offset, data, this.#isAtomic ? { ...call, atomic: true } : call);
  }
}

const prepareRead = (layout: Layout): Prepare =>
  prepareTransfer(layout, (initiator, offset, length, cdb) => new Read(initiator, offset, length, layout.isFua(cdb)));

const prepareWrite = (layout: Layout): Prepare =>
  prepareTransfer(
    layout,
    (initiator, offset, length, cdb) => new Write(initiator, offset, length, layout.isFua(cdb), false),
  );

/** WRITE ATOMIC: all of it is there, or nothing, whatever happens (SBC-4, 5.50). */
const prepareWriteAtomic: Prepare = (cdb, initiator) => {
  const { lba, blocks, blocksAt, isFua } = LAYOUT_ATOMIC;
  const { device } = initiator.nexus;
  const first = lba(cdb);
  const count = blocks(cdb);
  const bad = checkExtent(device, first, count);
  if (bad !== undefined) return bad;
  const { blocksMax, unitBlocks } = atomicBlocks(device);
  if (first % unitBlocks !== 0) return invalidField(2, 7);
  if (count % unitBlocks !== 0 || count > blocksMax) return invalidField(blocksAt, 7);
  return new Write(initiator, first * BLOCK_BYTES, count * BLOCK_BYTES, isFua(cdb), true);
};

/** All that was acknowledged becomes durable, wherever it is. IMMED is waited for all the same. */
const prepareSynchronize =
  ({ lba, blocks }: Layout): Prepare =>
  (cdb, { unit, nexus: { device } }) =>
    checkExtent(device, lba(cdb), blocks(cdb)) ??
    new Action(unit, 0, (_list, signal) => attempt('write', async () => device.flush({ signal })));

/** Whether all of it is in a cache then is not known: so GOOD, and not CONDITION MET. */
const preparePrefetch =
  ({ lba, blocks, blocksAt }: Layout): Prepare =>
  (cdb, { unit, nexus: { device } }) => {
    const first = lba(cdb);
    const count = blocks(cdb);
    const blocksMax = transferBlocksMax(device);
    const bad = checkExtent(device, first, count) ?? (count > blocksMax ? invalidField(blocksAt, 7) : undefined);
    if (bad !== undefined) return bad;
    // No count: up to the end. What is too much for advice is left out.
    const wanted = Math.min(count === 0 ? capacityOf(device) - first : count, blocksMax);
    if (wanted === 0) return new Action(unit, 0, () => undefined);
    const isImmediate = ((cdb[1] ?? 0) & 0x02) !== 0;
    return new Action(unit, 0, (_list, signal) => {
      const advice = attempt('read', async () =>
        device.prefetch(first * BLOCK_BYTES, wanted * BLOCK_BYTES, isImmediate ? {} : { signal }),
      );
      return isImmediate ? undefined : advice;
    });
  };

const read = (name: string, usage: string, layout: Layout): CommandRow => ({
  name,
  usage: usageOf(usage),
  access: 'read',
  prepare: prepareRead(layout),
});

const write = (name: string, usage: string, layout: Layout): CommandRow => ({
  name,
  usage: usageOf(usage),
  access: 'write',
  writes: true,
  prepare: prepareWrite(layout),
});

export const READ_WRITE_COMMANDS: readonly CommandRow[] = [
  read('READ(6)', '08 1fffff ff 00', LAYOUT_6),
  read('READ(10)', '28 18 ffffffff 1f ffff 00', LAYOUT_10),
  read('READ(12)', 'a8 18 ffffffff ffffffff 1f 00', LAYOUT_12),
  read('READ(16)', '88 18 ffffffffffffffff ffffffff 1f 00', LAYOUT_16),
  write('WRITE(6)', '0a 1fffff ff 00', LAYOUT_6),
  write('WRITE(10)', '2a 18 ffffffff 1f ffff 00', LAYOUT_10),
  write('WRITE(12)', 'aa 18 ffffffff ffffffff 1f 00', LAYOUT_12),
  write('WRITE(16)', '8a 18 ffffffffffffffff ffffffff 1f 00', LAYOUT_16),
  {
    name: 'WRITE ATOMIC(16)',
    usage: usageOf('9c 18 ffffffffffffffff 0000 ffff 1f 00'),
    access: 'write',
    writes: true,
    isSupported: ({ nexus }) => atomicBlocks(nexus.device).blocksMax > 0,
    prepare: prepareWriteAtomic,
  },
  {
    name: 'SYNCHRONIZE CACHE(10)',
    usage: usageOf('35 06 ffffffff 1f ffff 00'),
    access: 'write',
    prepare: prepareSynchronize(LAYOUT_10),
  },
  {
    name: 'SYNCHRONIZE CACHE(16)',
    usage: usageOf('91 06 ffffffffffffffff ffffffff 1f 00'),
    access: 'write',
    prepare: prepareSynchronize(LAYOUT_16),
  },
  {
    name: 'PRE-FETCH(10)',
    usage: usageOf('34 02 ffffffff 1f ffff 00'),
    access: 'read',
    prepare: preparePrefetch(LAYOUT_10),
  },
  {
    name: 'PRE-FETCH(16)',
    usage: usageOf('90 02 ffffffffffffffff ffffffff 1f 00'),
    access: 'read',
    prepare: preparePrefetch(LAYOUT_16),
  },
];
