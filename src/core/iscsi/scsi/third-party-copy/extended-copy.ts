/** EXTENDED COPY(LID1), from blocks of this unit to others of it (SPC-4, 5.17 and 6.4). */
import { throwIfAborted } from '../../../kit/index.ts';
import { checkExtent } from '../block-fields.ts';
import {
  Action,
  isSense,
  usageOf,
  type ActionOutcome,
  type CommandRow,
  type Initiator,
  type Prepare,
  type Work,
} from '../command.ts';
import { STATUS, type ScsiResult } from '../contract.ts';
import { LIMITS } from '../limits.ts';
import { BLOCK_BYTES, checkEnd } from '../medium.ts';
import { ASC, illegalRequest, invalidParameter, SENSE_KEY, type Sense } from '../sense.ts';
import type { CopyProgress } from './copies.ts';

const HEADER_BYTES = 16;
const CSCD_BYTES = 32;
const SEGMENT_BYTES = 28;
/** Identification descriptor, and copy from block device to block device. */
export const DESCRIPTOR = { cscd: 0xe4, segment: 0x02 } as const;
export const DESCRIPTOR_LIST_BYTES_MAX = LIMITS.copyCscdsMax * CSCD_BYTES + LIMITS.copySegmentsMax * SEGMENT_BYTES;

/** LIST ID USAGE: results are held; they are not, and there is an identifier; there is none. */
const USAGE = { held: 0, notHeld: 2, none: 3 } as const;

interface Segment {
  /** Copy source or copy destination: whether it is this unit; undefined where its descriptor is not there. */
  readonly isFromHere: boolean | undefined;
  readonly isToHere: boolean | undefined;
  readonly from: number;
  readonly to: number;
  readonly blocks: number;
}

interface CopyList {
  readonly listId: number;
  readonly usage: number;
  readonly segments: readonly Segment[];
}

const prepareExtendedCopy: Prepare = (cdb, initiator) => {
  const listBytes = cdb.readUInt32BE(10);
  if (listBytes > HEADER_BYTES + DESCRIPTOR_LIST_BYTES_MAX) return illegalRequest(ASC.parameterListLength);
  const copy: Work = (list, signal) => {
    if (listBytes === 0) return undefined;
    const parsed = list.length < listBytes ? illegalRequest(ASC.parameterListLength) : parseList(initiator, list);
    return isSense(parsed) ? parsed : copyAll(initiator, parsed, signal);
  };
  return new Action(initiator.unit, listBytes, copy, LIMITS.copyPieceBytes);
};

function parseList(initiator: Initiator, list: Buffer): CopyList | Sense {
  if (list.length < HEADER_BYTES) return illegalRequest(ASC.parameterListLength);
  const listId = list.readUInt8(0);
  const usage = (list.readUInt8(1) >> 3) & 0x03;
  if (usage === 1) return invalidParameter(1, 4);
  if (usage === USAGE.none && listId !== 0) return invalidParameter(0, 7);
  if (usage !== USAGE.none && initiator.copies.find(listId)?.state === 'running')
    return illegalRequest(ASC.operationInProgress);
  const cscdBytes = list.readUInt16BE(2);
  const segmentBytes = list.readUInt32BE(8);
  const inlineBytes = list.readUInt32BE(12);
  if (inlineBytes !== 0) return illegalRequest(ASC.inlineDataLength);
  if (HEADER_BYTES + cscdBytes + segmentBytes > list.length) return illegalRequest(ASC.parameterListLength);
  const segmentsAt = HEADER_BYTES + cscdBytes;
  const cscds = parseCscds(initiator, list.subarray(0, segmentsAt));
  if ('key' in cscds) return cscds;
  const segments = parseSegments(list.subarray(0, segmentsAt + segmentBytes), segmentsAt, cscds);
  return 'key' in segments ? segments : { listId, usage, segments };
}

/** Of each copy source and destination, whether it is this unit (SPC-4, 6.4.5.2). */
function parseCscds({ unit }: Initiator, list: Buffer): boolean[] | Sense {
  const count = (list.length - HEADER_BYTES) / CSCD_BYTES;
  if (!Number.isInteger(count)) return invalidParameter(2, 7);
  if (count > LIMITS.copyCscdsMax) return illegalRequest(ASC.tooManyCscds);
  const cscds: boolean[] = [];
  for (let at = HEADER_BYTES; at < list.length; at += CSCD_BYTES) {
    if (list.readUInt8(at) !== DESCRIPTOR.cscd) return illegalRequest(ASC.unsupportedCscdType);
    const { naa } = unit.identity;
    const codeSet = list.readUInt8(at + 4) & 0x0f;
    // Of the unit, an NAA.
    const type = list.readUInt8(at + 5) & 0x3f;
    const isSame = list.readUInt8(at + 7) === naa.length && list.subarray(at + 8, at + 8 + naa.length).equals(naa);
    const isHere = codeSet === 1 && type === 3 && isSame;
    const blockBytes = list.readUIntBE(at + 29, 3);
    if (isHere && blockBytes !== BLOCK_BYTES) return invalidParameter(at + 29, 7);
    cscds.push(isHere);
  }
  return cscds;
}

function parseSegments(list: Buffer, start: number, cscds: readonly boolean[]): Segment[] | Sense {
  const count = (list.length - start) / SEGMENT_BYTES;
  if (count > LIMITS.copySegmentsMax) return illegalRequest(ASC.tooManySegments);
  const segments: Segment[] = [];
  for (let at = start; at < list.length; at += SEGMENT_BYTES) {
    if (list.readUInt8(at) !== DESCRIPTOR.segment) return illegalRequest(ASC.unsupportedSegmentType);
    if (at + SEGMENT_BYTES > list.length) return illegalRequest(ASC.parameterListLength);
    if (list.readUInt16BE(at + 2) !== SEGMENT_BYTES - 4) return invalidParameter(at + 2, 7);
    segments.push({
      isFromHere: cscds[list.readUInt16BE(at + 4)],
      isToHere: cscds[list.readUInt16BE(at + 6)],
      blocks: list.readUInt16BE(at + 10),
      from: Number(list.readBigUInt64BE(at + 12)),
      to: Number(list.readBigUInt64BE(at + 20)),
    });
  }
  return segments;
}

/** One segment after the other; what fails leaves those before it as they are. */
async function copyAll(
  initiator: Initiator,
  { listId, usage, segments }: CopyList,
  signal: AbortSignal,
): Promise<ActionOutcome> {
  const { copies } = initiator;
  const progress: CopyProgress =
    usage === USAGE.none ? { state: 'running', segments: 0, bytes: 0, sense: undefined } : copies.begin(listId);
  let outcome: ActionOutcome;
  for (const segment of segments) {
    outcome = await copySegment(initiator, segment, progress, signal);
    if (outcome !== undefined) break;
    progress.segments += 1;
  }
  if (usage === USAGE.notHeld) copies.drop(listId);
  if (outcome === undefined) {
    progress.state = 'done';
    return undefined;
  }
  const result = isSense(outcome) ? initiator.unit.fail(outcome) : outcome;
  progress.state = 'failed';
  progress.sense = result.sense;
  return result;
}

const aborted = (code: number): Sense => ({ key: SENSE_KEY.copyAborted, code });

function checkSegment({ nexus: { device } }: Initiator, segment: Segment): Sense | undefined {
  const { isFromHere, isToHere, from, to, blocks } = segment;
  if (isFromHere === undefined || isToHere === undefined) return aborted(ASC.unreachableCopyTarget);
  if (!isFromHere || !isToHere) return aborted(ASC.copyTargetNotReachable);
  const bad = checkExtent(device, from, blocks) ?? checkExtent(device, to, blocks);
  return bad === undefined ? undefined : aborted(ASC.none);
}

async function copySegment(
  initiator: Initiator,
  segment: Segment,
  progress: CopyProgress,
  signal: AbortSignal,
): Promise<ActionOutcome> {
  const bad = checkSegment(initiator, segment);
  if (bad !== undefined) return bad;
  const { from, to, blocks } = segment;
  const piece = Buffer.allocUnsafe(Math.min(LIMITS.copyPieceBytes, blocks * BLOCK_BYTES));
  const pieceBlocks = piece.length / BLOCK_BYTES;
  // Where the destination begins within the source, from the end: nothing is overwritten before it was read.
  const isBackwards = to > from && to < from + blocks;
  for (let done = 0; done < blocks;) {
    const count = Math.min(pieceBlocks, blocks - done);
    const first = isBackwards ? blocks - done - count : done;
    const data = piece.subarray(0, count * BLOCK_BYTES);
    const result = await copyPiece(initiator, from + first, to + first, data, signal);
    if (result.status !== STATUS.good) return result;
    done += count;
    progress.bytes += data.length;
  }
  return undefined;
}

async function copyPiece(
  { unit, nexus: { device } }: Initiator,
  from: number,
  to: number,
  data: Buffer,
  signal: AbortSignal,
): Promise<ScsiResult> {
  const source = from * BLOCK_BYTES;
  const target = to * BLOCK_BYTES;
  const read = await unit.medium.exclude(source, source + data.length, 'shared', 'read', async () => {
    throwIfAborted(signal);
    checkEnd(device, source + data.length);
    await device.read(source, data, { signal });
    return undefined;
  });
  if (read.status !== STATUS.good) return read;
  return unit.medium.exclude(target, target + data.length, 'shared', 'write', async () => {
    checkEnd(device, target + data.length);
    await device.write(target, data, { signal, fua: !unit.modes.writeCacheEnabled });
    return undefined;
  });
}

export const EXTENDED_COPY: CommandRow = {
  name: 'EXTENDED COPY(LID1)',
  usage: usageOf('83 00 0000000000000000 ffffffff 00 00'),
  serviceAction: 0x00,
  access: 'write',
  writes: true,
  prepare: prepareExtendedCopy,
};
