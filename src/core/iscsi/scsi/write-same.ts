/** WRITE SAME (SBC-3, 5.41 and 5.42). */
import { throwIfAborted } from '../../kit/index.ts';
import { checkExtent, LAYOUT_10, LAYOUT_16, type Layout } from './block-fields.ts';
import { Action, usageOf, type CommandRow, type Initiator, type Prepare, type Work } from './command.ts';
import { LIMITS } from './limits.ts';
import { BLOCK_BYTES, checkEnd } from './medium.ts';
import { ASC, illegalRequest, invalidField } from './sense.ts';

/** UNMAP, and NDOB of the 16 byte command. */
const FLAG = { unmap: 0x08, noData: 0x01 } as const;

/** So much of a pattern is written at once. */
const PATTERN_BYTES = 1 << 20;

/** One block again and again. Zeroes take no space where the initiator allows that (UNMAP). */
const prepareWriteSame =
  ({ lba, blocks, blocksAt }: Layout): Prepare =>
  (cdb, initiator, { dataOutBytes }) => {
    const { unit, nexus } = initiator;
    const flags = cdb[1] ?? 0;
    const mayTrim = (flags & FLAG.unmap) !== 0;
    if (mayTrim && !unit.identity.isThin) return invalidField(1, 3);
    const first = lba(cdb);
    const count = blocks(cdb);
    const bad = checkExtent(nexus.device, first, count);
    if (bad !== undefined) return bad;
    // WSNZ: no count, which would mean up to the end, is refused.
    if (count === 0 || count > LIMITS.sameBlocksMax) return invalidField(blocksAt, 7);
    const dataBytes = (flags & FLAG.noData) === 0 ? BLOCK_BYTES : 0;
    if (dataBytes !== 0 && (dataOutBytes ?? dataBytes) !== dataBytes) return illegalRequest(ASC.infoUnitInvalid);
    const start = first * BLOCK_BYTES;
    const length = count * BLOCK_BYTES;
    const same: Work = (block, signal) => {
      if (block.length < dataBytes) return illegalRequest(ASC.infoUnitInvalid);
      return unit.medium.exclude(start, start + length, 'shared', 'write', async () => {
        await writeSame(initiator, start, length, block, { signal, mayTrim });
        return undefined;
      });
    };
    return new Action(unit, dataBytes, same, Math.min(PATTERN_BYTES, length));
  };

async function writeSame(
  { unit, nexus: { device } }: Initiator,
  start: number,
  length: number,
  block: Buffer,
  { signal, mayTrim }: { readonly signal: AbortSignal; readonly mayTrim: boolean },
): Promise<void> {
  checkEnd(device, start + length);
  const fua = !unit.modes.writeCacheEnabled;
  if (block.every((byte) => byte === 0)) {
    await device.writeZeroes(start, length, { signal, fua, mayTrim });
    return;
  }
  const pattern = Buffer.alloc(Math.min(PATTERN_BYTES, length), block);
  for (let at = 0; at < length; at += pattern.length) {
    throwIfAborted(signal);
    await device.write(start + at, pattern.subarray(0, Math.min(pattern.length, length - at)), { signal, fua });
  }
}

export const WRITE_SAME_COMMANDS: readonly CommandRow[] = [
  {
    name: 'WRITE SAME(10)',
    usage: usageOf('41 08 ffffffff 1f ffff 00'),
    access: 'write',
    writes: true,
    prepare: prepareWriteSame(LAYOUT_10),
  },
  {
    name: 'WRITE SAME(16)',
    usage: usageOf('93 09 ffffffffffffffff ffffffff 1f 00'),
    access: 'write',
    writes: true,
    prepare: prepareWriteSame(LAYOUT_16),
  },
];
