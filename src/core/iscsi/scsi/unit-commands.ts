/** Commands about the unit as a whole: is it there, how large is it, what was wrong (SPC-4, 6; SBC-3, 5). */
import { Action, Reply, usageOf, type CommandRow, type Prepare } from './command.ts';
import { attempt } from './failures.ts';
import { BLOCK_BYTES, capacityOf } from './medium.ts';
import { ASC, descriptorSense, fixedSense, illegalRequest, invalidField, SENSE_KEY } from './sense.ts';

/** LUN 0 is all there is; no well known ones (SPC-4, 6.33). */
const prepareReportLuns: Prepare = (cdb) => {
  const which = cdb[2] ?? 0;
  if (which > 2) return invalidField(2, 7);
  const bytes = Buffer.alloc(which === 1 ? 8 : 16);
  bytes.writeUInt32BE(bytes.length - 8, 0);
  return new Reply(bytes, cdb.readUInt32BE(6));
};

/** SPC-4, 6.39: what waits for this nexus is told as data. */
const prepareRequestSense: Prepare = (cdb, { attentions }, { isUnit }) => {
  const sense = isUnit
    ? (attentions.take() ?? { key: SENSE_KEY.noSense, code: ASC.none })
    : illegalRequest(ASC.lunNotSupported);
  const isDescriptor = ((cdb[1] ?? 0) & 0x01) !== 0;
  return new Reply(isDescriptor ? descriptorSense(sense) : fixedSense(sense), cdb[4] ?? 0);
};

/** SBC-3, 5.15: with too many blocks for four bytes, the other command is to be asked. */
const prepareReadCapacity10: Prepare = (_cdb, { nexus }) => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(Math.min(lastLba(capacityOf(nexus.device)), 0xffff_ffff), 0);
  bytes.writeUInt32BE(BLOCK_BYTES, 4);
  return new Reply(bytes, bytes.length);
};

const lastLba = (capacity: number): number => Math.max(capacity - 1, 0);

/** SBC-3, 5.16 */
const prepareReadCapacity16: Prepare = (cdb, initiator) => {
  const { unit, nexus } = initiator;
  const bytes = Buffer.alloc(32);
  bytes.writeBigUInt64BE(BigInt(lastLba(capacityOf(nexus.device))), 0);
  bytes.writeUInt32BE(BLOCK_BYTES, 8);
  // Physical blocks are the logical ones, as any initiator takes it; what is fast is in the block limits (VPD page B0h).
  // LBPME, LBPRZ; block 0 is aligned
  bytes[14] = unit.identity.isThin ? 0xc0 : 0;
  return new Reply(bytes, cdb.readUInt32BE(10));
};

/** SBC-3, 5.25: there is nothing to stop. What is asked to stop flushes, unless told not to, and stays ready. */
const prepareStartStop: Prepare = (cdb, { unit, nexus }) => {
  const isStart = ((cdb[4] ?? 0) & 0x01) !== 0;
  const isNoFlush = ((cdb[4] ?? 0) & 0x04) !== 0;
  if (isStart || isNoFlush) return new Action(unit, 0, () => undefined);
  return new Action(unit, 0, (_list, signal) => attempt('write', async () => nexus.device.flush({ signal })));
};

/** Defects are not known to a volume: an empty list (SBC-3, 5.17 and 5.18). */
const prepareDefectData10: Prepare = (cdb) => new Reply(Buffer.from([0, cdb[2] ?? 0, 0, 0]), cdb.readUInt16BE(7));
const prepareDefectData12: Prepare = (cdb) =>
  new Reply(Buffer.from([0, cdb[1] ?? 0, 0, 0, 0, 0, 0, 0]), cdb.readUInt32BE(6));

const prepareNothing: Prepare = (_cdb, { unit }) => new Action(unit, 0, () => undefined);

export const UNIT_COMMANDS: readonly CommandRow[] = [
  { name: 'TEST UNIT READY', usage: usageOf('00 00000000 00'), access: 'status', prepare: prepareNothing },
  {
    name: 'REQUEST SENSE',
    usage: usageOf('03 01 0000 ff 00'),
    access: 'free',
    isForAnyUnit: true,
    prepare: prepareRequestSense,
  },
  {
    name: 'REPORT LUNS',
    usage: usageOf('a0 00 ff 000000 ffffffff 00 00'),
    access: 'free',
    isForAnyUnit: true,
    prepare: prepareReportLuns,
  },
  {
    name: 'READ CAPACITY(10)',
    usage: usageOf('25 00 00000000 0000 00 00'),
    access: 'status',
    prepare: prepareReadCapacity10,
  },
  {
    name: 'READ CAPACITY(16)',
    usage: usageOf('9e 10 0000000000000000 ffffffff 00 00'),
    serviceAction: 0x10,
    access: 'status',
    prepare: prepareReadCapacity16,
  },
  {
    name: 'START STOP UNIT',
    usage: usageOf('1b 01 00 00 05 00'),
    // Starting is for everybody (SBC-3, table 13).
    access: (cdb) => (((cdb[4] ?? 0) & 0x01) === 0 ? 'write' : 'status'),
    prepare: prepareStartStop,
  },
  {
    // The medium can't be removed.
    name: 'PREVENT ALLOW MEDIUM REMOVAL',
    usage: usageOf('1e 000000 03 00'),
    access: (cdb) => (((cdb[4] ?? 0) & 0x03) === 0 ? 'free' : 'write'),
    prepare: prepareNothing,
  },
  {
    name: 'READ DEFECT DATA(10)',
    usage: usageOf('37 00 1f 00000000 ffff 00'),
    access: 'read',
    prepare: prepareDefectData10,
  },
  {
    name: 'READ DEFECT DATA(12)',
    usage: usageOf('b7 1f 00000000 ffffffff 00 00'),
    access: 'read',
    prepare: prepareDefectData12,
  },
];
