/** COMPARE AND WRITE, and ORWRITE (SBC-3, 5.2 and 5.6): they read and then write, with nobody in between. */
import { checkExtent, LAYOUT_16, LAYOUT_COMPARE, prepareTransfer } from './block-fields.ts';
import { Action, GOOD, usageOf, type CommandRow, type Initiator, type Prepare, type Work } from './command.ts';
import { attempt } from './failures.ts';
import { LIMITS } from './limits.ts';
import { BLOCK_BYTES, checkEnd, wholeBlocks } from './medium.ts';
import { ASC, illegalRequest, invalidField, type Sense } from './sense.ts';
import { MISCOMPARE } from './verify.ts';

type Modify = (present: Buffer) => Buffer | Sense;

/** Reads, and writes what `modify` makes of it. */
function modifyExtent(
  { unit, nexus }: Initiator,
  start: number,
  length: number,
  call: { readonly signal: AbortSignal; readonly fua: boolean },
  modify: Modify,
): ReturnType<typeof unit.medium.exclude> {
  const { device } = nexus;
  return unit.medium.exclude(start, start + length, 'exclusive', 'write', async () => {
    checkEnd(device, start + length);
    const present = Buffer.allocUnsafe(length);
    const failed = await attempt('read', async () => device.read(start, present, { signal: call.signal }));
    if (failed !== undefined) return failed;
    const outcome = modify(present);
    if ('key' in outcome) return outcome;
    await device.write(start, outcome, call);
    return undefined;
  });
}

/** The data is what is compared, and then what is written: as many blocks of each. */
const prepareCompareAndWrite: Prepare = (cdb, initiator, { dataOutBytes }) => {
  const { lba, blocks, blocksAt, isFua } = LAYOUT_COMPARE;
  const { unit, nexus } = initiator;
  const first = lba(cdb);
  const count = blocks(cdb);
  const bad = checkExtent(nexus.device, first, count);
  if (bad !== undefined) return bad;
  const length = count * BLOCK_BYTES;
  const listBytes = 2 * length;
  if (count > LIMITS.compareBlocksMax || (dataOutBytes ?? listBytes) !== listBytes) return invalidField(blocksAt, 7);
  const fua = isFua(cdb) || !unit.modes.writeCacheEnabled;
  const compareAndWrite: Work = (data, signal) => {
    if (length === 0) return GOOD;
    if (data.length < listBytes) return illegalRequest(ASC.infoUnitInvalid);
    const expected = data.subarray(0, length);
    return modifyExtent(initiator, first * BLOCK_BYTES, length, { signal, fua }, (present) =>
      present.equals(expected)
        ? data.subarray(length)
        : { ...MISCOMPARE, information: firstDifference(present, expected) },
    );
  };
  return new Action(unit, listBytes, compareAndWrite, length);
};

function firstDifference(a: Buffer, b: Buffer): number {
  return a.findIndex((byte, at) => byte !== b[at]);
}

const prepareOrWrite = prepareTransfer(LAYOUT_16, (initiator, offset, length, cdb) => {
  const { unit } = initiator;
  const fua = LAYOUT_16.isFua(cdb) || !unit.modes.writeCacheEnabled;
  const orWrite: Work = (list, signal) => {
    const data = wholeBlocks(list);
    if (data.length === 0) return GOOD;
    return modifyExtent(initiator, offset, data.length, { signal, fua }, (present) => {
      for (let at = 0; at < data.length; at++) present[at] = (present[at] ?? 0) | (data[at] ?? 0);
      return present;
    });
  };
  return new Action(unit, length, orWrite, length);
});

export const READ_MODIFY_WRITE_COMMANDS: readonly CommandRow[] = [
  {
    name: 'COMPARE AND WRITE',
    usage: usageOf('89 18 ffffffffffffffff 000000 ff 1f 00'),
    access: 'write',
    writes: true,
    prepare: prepareCompareAndWrite,
  },
  {
    name: 'ORWRITE(16)',
    usage: usageOf('8b 18 ffffffffffffffff ffffffff 1f 00'),
    access: 'write',
    writes: true,
    prepare: prepareOrWrite,
  },
];
