/** The fields that block commands share: where, how much, and with what care (SBC-3, 4.5 and 5). */
import type { BlockDevice } from '../../blockdevice/index.ts';
import { LIMITS } from './limits.ts';
import type { Initiator, Prepare } from './command.ts';
import type { ScsiCommand } from './contract.ts';
import { BLOCK_BYTES, capacityOf } from './medium.ts';
import { ASC, illegalRequest, invalidField, type Sense } from './sense.ts';

/** Where a command keeps its logical block address and its number of blocks. */
export interface Layout {
  readonly lba: (cdb: Buffer) => number;
  readonly blocks: (cdb: Buffer) => number;
  /** Of the field with the number of blocks. */
  readonly blocksAt: number;
  /** Force unit access. */
  readonly isFua: (cdb: Buffer) => boolean;
}

const TWO_32 = 0x1_0000_0000;

const isFua = (cdb: Buffer): boolean => ((cdb[1] ?? 0) & 0x08) !== 0;

export const LAYOUT_6: Layout = {
  lba: (cdb) => cdb.readUIntBE(1, 3) & 0x1f_ffff,
  // Zero stands for 256.
  blocks: (cdb) => cdb.readUInt8(4) || 256,
  blocksAt: 4,
  isFua: () => false,
};

export const LAYOUT_10: Layout = {
  lba: (cdb) => cdb.readUInt32BE(2),
  blocks: (cdb) => cdb.readUInt16BE(7),
  blocksAt: 7,
  isFua,
};

export const LAYOUT_12: Layout = {
  lba: (cdb) => cdb.readUInt32BE(2),
  blocks: (cdb) => cdb.readUInt32BE(6),
  blocksAt: 6,
  isFua,
};

/** Addresses beyond 2^53 lose their last bits and stay beyond every device. */
const lba16 = (cdb: Buffer): number => cdb.readUInt32BE(2) * TWO_32 + cdb.readUInt32BE(6);

export const LAYOUT_16: Layout = { lba: lba16, blocks: (cdb) => cdb.readUInt32BE(10), blocksAt: 10, isFua };

/** COMPARE AND WRITE has one byte for it. */
export const LAYOUT_COMPARE: Layout = { lba: lba16, blocks: (cdb) => cdb.readUInt8(13), blocksAt: 13, isFua };

export const LAYOUT_ATOMIC: Layout = { lba: lba16, blocks: (cdb) => cdb.readUInt16BE(12), blocksAt: 12, isFua };

/** Longest transfer of one command, in blocks: VPD page B0h. */
export function transferBlocksMax(device: BlockDevice): number {
  return Math.floor(Math.min(device.limits.payloadBytesMax, LIMITS.transferBytesMax) / BLOCK_BYTES);
}

/** What WRITE ATOMIC may write: whole units, at multiples of them. Zeroes where the device promises nothing of the kind. */
export function atomicBlocks({ limits }: BlockDevice): { readonly blocksMax: number; readonly unitBlocks: number } {
  const { atomic } = limits;
  if (atomic === undefined) return { blocksMax: 0, unitBlocks: 0 };
  const unitBytes = Math.max(atomic.unitBytes, BLOCK_BYTES);
  const bytesMax = Math.min(atomic.bytesMax, LIMITS.transferBytesMax, limits.payloadBytesMax);
  return {
    blocksMax: Math.floor(bytesMax / unitBytes) * (unitBytes / BLOCK_BYTES),
    unitBlocks: unitBytes / BLOCK_BYTES,
  };
}

/** Why an extent is refused; undefined when it is good. */
export function checkExtent(device: BlockDevice, lba: number, blocks: number): Sense | undefined {
  return lba + blocks > capacityOf(device) ? illegalRequest(ASC.lbaOutOfRange) : undefined;
}

/** As `checkExtent`, for commands that transfer what they name. */
export function checkTransfer(device: BlockDevice, lba: number, blocks: number, blocksAt: number): Sense | undefined {
  const bad = checkExtent(device, lba, blocks);
  if (bad !== undefined) return bad;
  return blocks > transferBlocksMax(device) ? invalidField(blocksAt, 7) : undefined;
}

/** Of commands that transfer what they name: `make` gets its extent, in bytes, once that is checked. */
export const prepareTransfer =
  (
    { lba, blocks, blocksAt }: Layout,
    make: (initiator: Initiator, offset: number, length: number, cdb: Buffer) => ScsiCommand,
  ): Prepare =>
  (cdb, initiator) => {
    const first = lba(cdb);
    const count = blocks(cdb);
    const bad = checkTransfer(initiator.nexus.device, first, count, blocksAt);
    return bad ?? make(initiator, first * BLOCK_BYTES, count * BLOCK_BYTES, cdb);
  };
