/** INQUIRY: standard data and vital product data pages (SPC-4, 6.6, 7.8; SBC-3, 6.6). */
import type { BlockDevice } from '../../blockdevice/index.ts';
import { atomicBlocks, transferBlocksMax } from './block-fields.ts';
import { Reply, usageOf, type CommandRow, type Initiator, type Prepare } from './command.ts';
import { portName, unitDesignators, VENDOR } from './designators.ts';
import { LIMITS } from './limits.ts';
import { BLOCK_BYTES } from './medium.ts';
import { invalidField } from './sense.ts';
import { thirdPartyCopyPage } from './third-party-copy/copy-results.ts';

const PRODUCT = 'VOLUME          ';
/** Qualifier 3 and type 1Fh: no device can be there. */
const NO_DEVICE = 0x7f;

/** SAM-5, SPC-4, SBC-3, iSCSI. */
const VERSION_DESCRIPTORS = [0x00a0, 0x0460, 0x04c0, 0x0960];
const STANDARD_BYTES = 96;

function standardData({ unit, nexus }: Initiator, isUnit: boolean): Buffer {
  const bytes = Buffer.alloc(STANDARD_BYTES);
  bytes[0] = isUnit ? 0 : NO_DEVICE;
  // SPC-4
  bytes[2] = 0x06;
  // HISUP, response data format 2
  bytes[3] = 0x12;
  bytes[4] = STANDARD_BYTES - 5;
  // TPGS: implicit asymmetric access; 3PC: copies
  bytes[5] = 0x18;
  // MULTIP
  bytes[6] = unit.portGroups(nexus).length > 1 ? 0x10 : 0;
  // CMDQUE
  bytes[7] = 0x02;
  bytes.write(VENDOR, 8, 'latin1');
  bytes.write(PRODUCT, 16, 'latin1');
  bytes.write(unit.identity.revision.padEnd(4).slice(0, 4), 32, 'latin1');
  VERSION_DESCRIPTORS.forEach((version, i) => bytes.writeUInt16BE(version, 58 + i * 2));
  return bytes;
}

/** How many logical blocks make what the device likes to write: a power of two. */
const blocksPreferred = ({ limits }: BlockDevice): number => Math.max(1, limits.blockBytesPreferred / BLOCK_BYTES);

/** SPC-4, 7.8.7 */
function extendedInquiry(): Buffer {
  const body = Buffer.alloc(60);
  // SIMPSUP
  body[1] = 0x01;
  // V_SUP: there is a volatile cache
  body[2] = 0x01;
  return body;
}

/** SPC-4, 7.8.14: one port, and its name. */
function scsiPorts({ nexus }: Initiator): Buffer {
  const name = portName(nexus);
  const head = Buffer.alloc(12);
  head.writeUInt16BE(nexus.relativePort, 2);
  head.writeUInt16BE(name.length, 10);
  return Buffer.concat([head, name]);
}

/** SBC-3, 6.6.4 */
function blockLimits(initiator: Initiator): Buffer {
  const { nexus, unit } = initiator;
  const { device } = nexus;
  const blocksMax = transferBlocksMax(device);
  const granularity = blocksPreferred(device);
  const { isThin } = unit.identity;
  const body = Buffer.alloc(60);
  // WSNZ: WRITE SAME with no count is refused
  body[0] = 0x01;
  body[1] = LIMITS.compareBlocksMax;
  body.writeUInt16BE(granularity, 2);
  body.writeUInt32BE(blocksMax, 4);
  body.writeUInt32BE(Math.min(blocksMax, LIMITS.transferBytesOptimal / BLOCK_BYTES), 8);
  body.writeUInt32BE(blocksMax, 12);
  body.writeUInt32BE(isThin ? LIMITS.unmapBlocksMax : 0, 16);
  body.writeUInt32BE(isThin ? LIMITS.unmapDescriptorsMax : 0, 20);
  body.writeUInt32BE(isThin ? granularity : 0, 24);
  // UGAVALID, and no offset
  body.writeUInt32BE(isThin ? 0x8000_0000 : 0, 28);
  body.writeBigUInt64BE(BigInt(LIMITS.sameBlocksMax), 32);
  const { blocksMax: atomicBlocksMax, unitBlocks } = atomicBlocks(device);
  // Atomic writes: the longest, where they begin, how long they are; no boundaries
  body.writeUInt32BE(atomicBlocksMax, 40);
  body.writeUInt32BE(unitBlocks, 44);
  body.writeUInt32BE(unitBlocks, 48);
  return body;
}

/** SBC-3, 6.6.3: solid state, and no form factor. */
function blockCharacteristics(): Buffer {
  const body = Buffer.alloc(60);
  body.writeUInt16BE(1, 0);
  return body;
}

/** SBC-3, 6.6.6 */
function provisioning({ unit }: Initiator): Buffer {
  // LBPU, LBPWS, LBPWS10, LBPRZ
  return unit.identity.isThin ? Buffer.from([0, 0xe4, 0x02, 0]) : Buffer.from([0, 0, 0, 0]);
}

function deviceIdentification({ unit, nexus }: Initiator): Buffer {
  const groups = unit.portGroups(nexus);
  const own = groups.find(({ ports }) => ports.includes(nexus.relativePort));
  return unitDesignators(unit.identity, nexus, own?.id ?? 1);
}

type VpdPage = (initiator: Initiator) => Buffer;

/** In the order of their codes. */
const VPD_PAGES: ReadonlyMap<number, VpdPage> = new Map<number, VpdPage>([
  [0x00, () => Buffer.from([...VPD_PAGES.keys()])],
  [0x80, ({ unit }) => Buffer.from(unit.identity.serial, 'latin1')],
  [0x83, deviceIdentification],
  [0x86, extendedInquiry],
  // Mode page policy: all pages are shared.
  [0x87, () => Buffer.from([0x3f, 0xff, 0, 0])],
  [0x88, scsiPorts],
  [0x8f, thirdPartyCopyPage],
  [0xb0, blockLimits],
  [0xb1, blockCharacteristics],
  [0xb2, provisioning],
]);

const prepareInquiry: Prepare = (cdb, initiator, { isUnit }) => {
  const code = cdb[2] ?? 0;
  const allocationLength = cdb.readUInt16BE(3);
  const isVpd = ((cdb[1] ?? 0) & 0x01) !== 0;
  if (!isVpd) return code === 0 ? new Reply(standardData(initiator, isUnit), allocationLength) : invalidField(2, 7);
  const page = isUnit || code === 0 ? VPD_PAGES.get(code) : undefined;
  if (page === undefined) return invalidField(2, 7);
  const body = isUnit ? page(initiator) : Buffer.from([0]);
  const head = Buffer.from([isUnit ? 0 : NO_DEVICE, code, body.length >> 8, body.length & 0xff]);
  return new Reply(Buffer.concat([head, body]), allocationLength);
};

export const INQUIRY: CommandRow = {
  name: 'INQUIRY',
  usage: usageOf('12 01 ff ffff 00'),
  access: 'free',
  isForAnyUnit: true,
  prepare: prepareInquiry,
};
