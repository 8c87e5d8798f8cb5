/** RECEIVE COPY RESULTS(LID1): status, failures, and what copies may be (SPC-4, 6.26 to 6.28); VPD page 8Fh (7.8.17). */
import { Reply, usageOf, type CommandRow, type Initiator, type Prepare } from '../command.ts';
import { STATUS } from '../contract.ts';
import { LIMITS } from '../limits.ts';
import { invalidField } from '../sense.ts';
import { DESCRIPTOR, DESCRIPTOR_LIST_BYTES_MAX, EXTENDED_COPY } from './extended-copy.ts';

/** Number of blocks of a segment descriptor, in bytes. */
const SEGMENT_BYTES_MAX = 0xffff * 512;
const CONCURRENT_COPIES_MAX = 255;
/** Copies are in whole blocks: the exponent of their bytes. */
const GRANULARITY = 9;

const COPY_STATE = { running: 0, done: 1, failed: 2 } as const;

/** The list identifier of a CDB, and what is known of it. */
const progressOf = (cdb: Buffer, { copies }: Initiator): ReturnType<typeof copies.find> => copies.find(cdb[2] ?? 0);

const prepareStatus: Prepare = (cdb, initiator) => {
  const progress = progressOf(cdb, initiator);
  if (progress === undefined) return invalidField(2, 7);
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32BE(8, 0);
  bytes[4] = COPY_STATE[progress.state];
  bytes.writeUInt16BE(progress.segments, 5);
  // In KiB, rounded up: bytes of one command may not fit.
  bytes[7] = 1;
  bytes.writeUInt32BE(Math.ceil(progress.bytes / 1024), 8);
  return new Reply(bytes, cdb.readUInt32BE(10));
};

/** Sense data of a copy that failed; nothing of one that did not. */
const prepareFailure: Prepare = (cdb, initiator) => {
  const progress = progressOf(cdb, initiator);
  if (progress === undefined || progress.state === 'running') return invalidField(2, 7);
  const sense = progress.sense ?? Buffer.alloc(0);
  const bytes = Buffer.alloc(progress.state === 'failed' ? 60 + sense.length : 4);
  bytes.writeUInt32BE(bytes.length - 4, 0);
  if (progress.state === 'failed') {
    bytes[56] = STATUS.checkCondition;
    bytes.writeUInt16BE(sense.length, 58);
    sense.copy(bytes, 60);
  }
  return new Reply(bytes, cdb.readUInt32BE(10));
};

function operatingParameters(): Buffer {
  const codes = [DESCRIPTOR.segment, DESCRIPTOR.cscd];
  const bytes = Buffer.alloc(44 + codes.length);
  bytes.writeUInt32BE(bytes.length - 4, 0);
  // SNLID: a list without identifier is taken.
  bytes[4] = 0x01;
  bytes.writeUInt16BE(LIMITS.copyCscdsMax, 8);
  bytes.writeUInt16BE(LIMITS.copySegmentsMax, 10);
  bytes.writeUInt32BE(DESCRIPTOR_LIST_BYTES_MAX, 12);
  bytes.writeUInt32BE(SEGMENT_BYTES_MAX, 16);
  bytes.writeUInt16BE(CONCURRENT_COPIES_MAX, 34);
  bytes[36] = CONCURRENT_COPIES_MAX;
  bytes[37] = GRANULARITY;
  bytes[43] = codes.length;
  bytes.set(codes, 44);
  return bytes;
}

const prepareParameters: Prepare = (cdb) => new Reply(operatingParameters(), cdb.readUInt32BE(10));

/** What a descriptor of the page has, padded to a multiple of four. */
function descriptor(type: number, data: Buffer): Buffer {
  const bytes = Buffer.alloc((4 + data.length + 3) & ~3);
  bytes.writeUInt16BE(type, 0);
  bytes.writeUInt16BE(bytes.length - 4, 2);
  data.copy(bytes, 4);
  return bytes;
}

/** Body of VPD page 8Fh. */
export function thirdPartyCopyPage(): Buffer {
  const actions = RECEIVE_RESULTS.map(({ serviceAction = 0 }) => serviceAction);
  const commands = [EXTENDED_COPY.usage.readUInt8(0), 1, 0, RECEIVE_OPCODE, actions.length, ...actions];
  const parameters = Buffer.alloc(28);
  parameters.writeUInt16BE(LIMITS.copyCscdsMax, 4);
  parameters.writeUInt16BE(LIMITS.copySegmentsMax, 6);
  parameters.writeUInt32BE(DESCRIPTOR_LIST_BYTES_MAX, 8);
  const general = Buffer.alloc(32);
  general.writeUInt32BE(CONCURRENT_COPIES_MAX, 0);
  general.writeUInt32BE(CONCURRENT_COPIES_MAX, 4);
  general.writeUInt32BE(SEGMENT_BYTES_MAX, 8);
  return Buffer.concat([
    // Supported commands; parameter data; supported descriptors; supported CSCD descriptor ids; general copy operations
    descriptor(0x0001, Buffer.from([commands.length, ...commands])),
    descriptor(0x0004, parameters),
    descriptor(0x0008, Buffer.from([2, DESCRIPTOR.segment, DESCRIPTOR.cscd])),
    descriptor(0x000c, Buffer.alloc(2)),
    descriptor(0x8001, general),
  ]);
}

const RECEIVE_OPCODE = 0x84;

const row = (serviceAction: number, name: string, usage: string, prepare: Prepare): CommandRow => ({
  name,
  usage: usageOf(usage),
  serviceAction,
  access: 'write',
  prepare,
});

export const RECEIVE_RESULTS: readonly CommandRow[] = [
  row(0x00, 'RECEIVE COPY STATUS(LID1)', '84 00 ff 00000000000000 ffffffff 00 00', prepareStatus),
  row(0x03, 'RECEIVE COPY OPERATING PARAMETERS', '84 00 ff 00000000000000 ffffffff 00 00', prepareParameters),
  row(0x04, 'RECEIVE COPY FAILURE DETAILS(LID1)', '84 00 ff 00000000000000 ffffffff 00 00', prepareFailure),
];
