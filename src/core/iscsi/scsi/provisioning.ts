/** Space that is given back, and which is taken: UNMAP and GET LBA STATUS (SBC-3, 4.7, 5.4 and 5.24). */
import type { DeviceExtent } from '../../blockdevice/index.ts';
import { throwIfAborted } from '../../kit/index.ts';
import { checkExtent, LAYOUT_16 } from './block-fields.ts';
import { Action, usageOf, type CommandRow, type Initiator, type Prepare } from './command.ts';
import { STATUS, type ScsiCommand, type ScsiResult } from './contract.ts';
import { LIMITS } from './limits.ts';
import { BLOCK_BYTES, capacityOf, checkEnd } from './medium.ts';
import { ASC, illegalRequest, invalidParameter, type Sense } from './sense.ts';
import { senseOf } from './failures.ts';

interface BlockExtent {
  readonly lba: number;
  readonly blocks: number;
}

const UNMAP_HEADER_BYTES = 8;
const DESCRIPTOR_BYTES = 16;

const prepareUnmap: Prepare = (cdb, initiator) => {
  const listBytes = cdb.readUInt16BE(7);
  return new Action(initiator.unit, listBytes, (list, signal) => {
    if (listBytes === 0) return undefined;
    const extents = list.length < listBytes ? illegalRequest(ASC.parameterListLength) : parseUnmap(initiator, list);
    return 'key' in extents ? extents : unmap(initiator, extents, signal);
  });
};

/** The extents of an UNMAP parameter list (SBC-3, 5.24.2); nothing is done when one of them is not good. */
function parseUnmap({ nexus: { device } }: Initiator, list: Buffer): BlockExtent[] | Sense {
  if (list.length < UNMAP_HEADER_BYTES) return illegalRequest(ASC.parameterListLength);
  const descriptorBytes = list.readUInt16BE(2);
  if (UNMAP_HEADER_BYTES + descriptorBytes > list.length) return illegalRequest(ASC.parameterListLength);
  const count = Math.floor(descriptorBytes / DESCRIPTOR_BYTES);
  if (count > LIMITS.unmapDescriptorsMax) return invalidParameter(2, 7);
  const extents: BlockExtent[] = [];
  let blocksLeft: number = LIMITS.unmapBlocksMax;
  for (let i = 0; i < count; i++) {
    const at = UNMAP_HEADER_BYTES + i * DESCRIPTOR_BYTES;
    const lba = list.readUInt32BE(at) * 0x1_0000_0000 + list.readUInt32BE(at + 4);
    const blocks = list.readUInt32BE(at + 8);
    const bad = checkExtent(device, lba, blocks);
    if (bad !== undefined) return bad;
    blocksLeft -= blocks;
    if (blocksLeft < 0) return invalidParameter(at + 8, 7);
    const last = extents.at(-1);
    if (last !== undefined && last.lba + last.blocks === lba)
      extents[extents.length - 1] = { lba: last.lba, blocks: last.blocks + blocks };
    else if (blocks > 0) extents.push({ lba, blocks });
  }
  return extents;
}

async function unmap(
  { unit, nexus: { device } }: Initiator,
  extents: readonly BlockExtent[],
  signal: AbortSignal,
): Promise<ScsiResult | undefined> {
  const call = { signal, fua: !unit.modes.writeCacheEnabled };
  for (const { lba, blocks } of extents) {
    const start = lba * BLOCK_BYTES;
    const length = blocks * BLOCK_BYTES;
    const result = await unit.medium.exclude(start, start + length, 'shared', 'write', async () => {
      throwIfAborted(signal);
      checkEnd(device, start + length);
      await device.trim(start, length, call);
      return undefined;
    });
    if (result.status !== STATUS.good) return result;
  }
  return undefined;
}

/** PROVISIONING STATUS of GET LBA STATUS. */
const PROVISIONING = { mapped: 0, deallocated: 1 } as const;

const STATUS_HEADER_BYTES = 8;
const STATUS_DESCRIPTORS_MAX = 256;
/** So much is looked at for one command. */
const STATUS_SPAN_BYTES = 1 << 30;

class GetLbaStatus implements ScsiCommand {
  readonly dataOutBytes = 0;
  readonly dataInBytes: number;
  readonly #initiator: Initiator;
  readonly #lba: number;
  readonly #descriptorsMax: number;

  constructor(initiator: Initiator, lba: number, allocationLength: number) {
    const wanted = Math.floor((allocationLength - STATUS_HEADER_BYTES) / DESCRIPTOR_BYTES);
    this.#descriptorsMax = Math.min(Math.max(wanted, 1), STATUS_DESCRIPTORS_MAX);
    this.#initiator = initiator;
    this.#lba = lba;
    this.dataInBytes = Math.min(allocationLength, STATUS_HEADER_BYTES + this.#descriptorsMax * DESCRIPTOR_BYTES);
  }

  async run(_dataOut: Buffer, dataIn: Buffer, signal: AbortSignal): Promise<ScsiResult> {
    const { unit, nexus } = this.#initiator;
    const start = this.#lba * BLOCK_BYTES;
    try {
      const end = Math.min(capacityOf(nexus.device) * BLOCK_BYTES, start + STATUS_SPAN_BYTES);
      checkEnd(nexus.device, start + BLOCK_BYTES);
      const extents = await nexus.device.extents(start, end - start, this.#descriptorsMax, { signal });
      const bytes = statusData(this.#lba, blockRuns(extents));
      const dataInBytes = Math.min(bytes.length, this.dataInBytes);
      bytes.copy(dataIn, 0, 0, dataInBytes);
      return { status: STATUS.good, dataInBytes };
    } catch (error) {
      return unit.fail(senseOf(error, 'read'));
    }
  }
}

interface Run {
  blocks: number;
  readonly isHole: boolean;
}

/** Blocks that are holes as a whole are deallocated; the others are mapped. */
function blockRuns(extents: readonly DeviceExtent[]): Run[] {
  const runs: Run[] = [];
  const add = (blocks: number, isHole: boolean): void => {
    if (blocks <= 0) return;
    const last = runs.at(-1);
    if (last?.isHole === isHole) last.blocks += blocks;
    else runs.push({ blocks, isHole });
  };
  let offset = 0;
  let block = 0;
  for (const { length, isHole } of mergeHoles(extents)) {
    const end = Math.floor((offset + length) / BLOCK_BYTES);
    const holeStart = isHole ? Math.min(Math.ceil(offset / BLOCK_BYTES), end) : end;
    add(holeStart - block, false);
    add(end - holeStart, true);
    block = end;
    offset += length;
  }
  // Less than a block was looked at.
  if (runs.length === 0) add(1, false);
  return runs;
}

function mergeHoles(extents: readonly DeviceExtent[]): { length: number; readonly isHole: boolean }[] {
  const merged: { length: number; readonly isHole: boolean }[] = [];
  for (const { length, isHole } of extents) {
    const last = merged.at(-1);
    if (last?.isHole === isHole) last.length += length;
    else merged.push({ length, isHole });
  }
  return merged;
}

function statusData(lba: number, runs: readonly Run[]): Buffer {
  const bytes = Buffer.alloc(STATUS_HEADER_BYTES + runs.length * DESCRIPTOR_BYTES);
  bytes.writeUInt32BE(bytes.length - 4, 0);
  let first = lba;
  runs.forEach(({ blocks, isHole }, i) => {
    const at = STATUS_HEADER_BYTES + i * DESCRIPTOR_BYTES;
    bytes.writeBigUInt64BE(BigInt(first), at);
    bytes.writeUInt32BE(blocks, at + 8);
    bytes[at + 12] = isHole ? PROVISIONING.deallocated : PROVISIONING.mapped;
    first += blocks;
  });
  return bytes;
}

const prepareLbaStatus: Prepare = (cdb, initiator) => {
  const lba = LAYOUT_16.lba(cdb);
  return checkExtent(initiator.nexus.device, lba, 1) ?? new GetLbaStatus(initiator, lba, cdb.readUInt32BE(10));
};

const isThin = ({ unit }: Initiator): boolean => unit.identity.isThin;

export const PROVISIONING_COMMANDS: readonly CommandRow[] = [
  {
    name: 'UNMAP',
    usage: usageOf('42 00 00000000 1f ffff 00'),
    access: 'write',
    writes: true,
    isSupported: isThin,
    prepare: prepareUnmap,
  },
  {
    name: 'GET LBA STATUS',
    usage: usageOf('9e 12 ffffffffffffffff ffffffff 00 00'),
    serviceAction: 0x12,
    access: 'read',
    prepare: prepareLbaStatus,
  },
];
