/** VERIFY, and WRITE AND VERIFY (SBC-3, 5.28 to 5.30 and 5.35 to 5.37). */
import type { DeviceCall } from '../../blockdevice/index.ts';
import { throwIfAborted } from '../../kit/index.ts';
import {
  checkExtent,
  checkTransfer,
  LAYOUT_10,
  LAYOUT_12,
  LAYOUT_16,
  prepareTransfer,
  type Layout,
} from './block-fields.ts';
import { GOOD, usageOf, type CommandRow, type Initiator, type Prepare } from './command.ts';
import type { ScsiCommand, ScsiResult } from './contract.ts';
import { attempt } from './failures.ts';
import { BLOCK_BYTES, checkEnd, wholeBlocks } from './medium.ts';
import { ASC, invalidField, SENSE_KEY, type Sense } from './sense.ts';

/** BYTCHK: read only; compare with as much data; compare each block with one. */
const BYTE_CHECK = { none: 0, all: 1, one: 3 } as const;

const byteCheckOf = (cdb: Buffer): number => ((cdb[1] ?? 0) >> 1) & 0x03;

/** So much is read at once. */
const CHUNK_BYTES = 256 << 10;

export const MISCOMPARE: Sense = { key: SENSE_KEY.miscompare, code: ASC.miscompareDuringVerify };

/** Reads what is there, in chunks, and compares it with data, or with data again and again, where there is some. */
async function verifyExtent(
  { nexus: { device } }: Initiator,
  start: number,
  end: number,
  call: DeviceCall,
  data?: Buffer,
): Promise<Sense | undefined> {
  checkEnd(device, end);
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - start));
  const repeated = data?.length === BLOCK_BYTES ? Buffer.alloc(chunk.length, data) : undefined;
  for (let at = start; at < end; at += chunk.length) {
    throwIfAborted(call.signal);
    const target = chunk.subarray(0, Math.min(chunk.length, end - at));
    await device.read(at, target, call);
    const expected = repeated?.subarray(0, target.length) ?? data?.subarray(at - start, at - start + target.length);
    if (expected !== undefined && !expected.equals(target)) return MISCOMPARE;
  }
  return undefined;
}

class Verify implements ScsiCommand {
  readonly dataInBytes = 0;
  readonly dataOutBytes: number;
  readonly workBytes = CHUNK_BYTES;
  readonly #initiator: Initiator;
  readonly #start: number;
  readonly #end: number;
  readonly #byteCheck: number;

  constructor(initiator: Initiator, offset: number, length: number, byteCheck: number) {
    this.#initiator = initiator;
    this.#start = offset;
    this.#end = offset + length;
    this.#byteCheck = byteCheck;
    const dataBytes = byteCheck === BYTE_CHECK.all ? length : BLOCK_BYTES;
    this.dataOutBytes = byteCheck === BYTE_CHECK.none ? 0 : Math.min(dataBytes, length);
  }

  run(dataOut: Buffer, _dataIn: Buffer, signal: AbortSignal): ScsiResult | Promise<ScsiResult> {
    if (this.#byteCheck === BYTE_CHECK.none) return this.#read(signal);
    const data = wholeBlocks(dataOut);
    if (data.length === 0) return GOOD;
    const end = this.#byteCheck === BYTE_CHECK.all ? this.#start + data.length : this.#end;
    return this.#initiator.unit.medium.exclude(this.#start, end, 'shared', 'read', () =>
      verifyExtent(this.#initiator, this.#start, end, { signal }, data),
    );
  }

  /** Nothing is compared, so others are not kept out meanwhile. */
  async #read(signal: AbortSignal): Promise<ScsiResult> {
    if (this.#end === this.#start) return GOOD;
    const failed = await attempt('read', async () => {
      await verifyExtent(this.#initiator, this.#start, this.#end, { signal });
    });
    return failed === undefined ? GOOD : this.#initiator.unit.fail(failed);
  }
}

/** Others are kept out, so that what is compared is what was written. */
class WriteAndVerify implements ScsiCommand {
  readonly dataInBytes = 0;
  readonly dataOutBytes: number;
  readonly workBytes = CHUNK_BYTES;
  readonly #initiator: Initiator;
  readonly #start: number;
  readonly #isCompared: boolean;

  constructor(initiator: Initiator, offset: number, length: number, isCompared: boolean) {
    this.#initiator = initiator;
    this.#start = offset;
    this.dataOutBytes = length;
    this.#isCompared = isCompared;
  }

  run(dataOut: Buffer, _dataIn: Buffer, signal: AbortSignal): ScsiResult | Promise<ScsiResult> {
    const data = wholeBlocks(dataOut);
    if (data.length === 0) return GOOD;
    const { unit, nexus } = this.#initiator;
    const start = this.#start;
    const end = start + data.length;
    return unit.medium.exclude(start, end, 'exclusive', 'read', async () => {
      checkEnd(nexus.device, end);
      const failed = await attempt('write', async () => nexus.device.write(start, data, { signal, fua: true }));
      return (
        failed ?? (await verifyExtent(this.#initiator, start, end, { signal }, this.#isCompared ? data : undefined))
      );
    });
  }
}

const prepareVerify =
  ({ lba, blocks, blocksAt }: Layout): Prepare =>
  (cdb, initiator) => {
    const byteCheck = byteCheckOf(cdb);
    if (byteCheck === 2) return invalidField(1, 2);
    const { device } = initiator.nexus;
    const first = lba(cdb);
    const count = blocks(cdb);
    const bad =
      byteCheck === BYTE_CHECK.none ? checkExtent(device, first, count) : checkTransfer(device, first, count, blocksAt);
    return bad ?? new Verify(initiator, first * BLOCK_BYTES, count * BLOCK_BYTES, byteCheck);
  };

const prepareWriteAndVerify = (layout: Layout): Prepare =>
  prepareTransfer(
    layout,
    (initiator, offset, length, cdb) =>
      new WriteAndVerify(initiator, offset, length, byteCheckOf(cdb) === BYTE_CHECK.all),
  );

const verify = (name: string, usage: string, layout: Layout): CommandRow => ({
  name,
  usage: usageOf(usage),
  access: 'read',
  prepare: prepareVerify(layout),
});

const writeAndVerify = (name: string, usage: string, layout: Layout): CommandRow => ({
  name,
  usage: usageOf(usage),
  access: 'write',
  writes: true,
  prepare: prepareWriteAndVerify(layout),
});

export const VERIFY_COMMANDS: readonly CommandRow[] = [
  verify('VERIFY(10)', '2f 16 ffffffff 1f ffff 00', LAYOUT_10),
  verify('VERIFY(12)', 'af 16 ffffffff ffffffff 1f 00', LAYOUT_12),
  verify('VERIFY(16)', '8f 16 ffffffffffffffff ffffffff 1f 00', LAYOUT_16),
  writeAndVerify('WRITE AND VERIFY(10)', '2e 12 ffffffff 1f ffff 00', LAYOUT_10),
  writeAndVerify('WRITE AND VERIFY(12)', 'ae 12 ffffffff ffffffff 1f 00', LAYOUT_12),
  writeAndVerify('WRITE AND VERIFY(16)', '8e 12 ffffffffffffffff ffffffff 1f 00', LAYOUT_16),
];
