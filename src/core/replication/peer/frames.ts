/**
 * Messages between members as bytes (docs/formats/peer-frames.md). Records, and what is said of them, travel in forms of their own,
 * since they are nearly all that is sent; everything else is JSON. No I/O here. Integers are little-endian; those of 8 bytes are
 * below 2^53.
 */
import { assert, getU64, isVolumeId, KIB, MIB, putU64, viewOf, type VolumeId } from '../../kit/index.ts';
import type { ByteQueue } from '../../sockets/index.ts';
import type { SentRecord } from '../../writelog/index.ts';
import type { PeerMessage } from '../messages.ts';
import { readMessage } from './checks.ts';

/** Of a frame's length field. */
const LENGTH_BYTES = 4;
/** The longest frame behind its length: more ends the connection. Senders of records keep far below it. */
export const FRAME_BYTES_MAX = 16 * MIB;
const JSON_BYTES_MAX = MIB;
const KIND = { json: 1, records: 2, got: 3 } as const;
/** A frame that is longer hardly ever comes in one chunk. */
const LONG_BYTES = 16 * KIB;
const RECORD_HEAD_BYTES = 60;
const INCARNATION_BYTES = 8;
const ID_BYTES_MAX = 64;

type RecordsMessage = Extract<PeerMessage, { kind: 'records' }>;
type GotMessage = Extract<PeerMessage, { kind: 'got' }>;

/** The pieces of a frame, in order; those of records are the record's own buffers. */
export function encodeFrame(message: PeerMessage): Buffer[] {
  if (message.kind === 'records') return encodeRecords(message);
  if (message.kind === 'got') return [encodeGot(message)];
  const json = Buffer.from(JSON.stringify(message), 'utf8');
  assert(json.length <= JSON_BYTES_MAX, 'a message of a member is short');
  const head = Buffer.allocUnsafe(LENGTH_BYTES + 1);
  head.writeUInt32LE(json.length + 1, 0);
  head.writeUInt8(KIND.json, LENGTH_BYTES);
  return [head, json];
}

function encodeRecords({ volumeId, records }: RecordsMessage): Buffer[] {
  const head = headOfVolume(KIND.records, volumeId, 4);
  head.writeUInt32LE(records.length, head.length - 4);
  const pieces: Buffer[] = [head];
  let bytes = head.length - LENGTH_BYTES;
  for (const record of records) {
    pieces.push(headOf(record), record.body);
    if (record.pages.length > 0) pieces.push(record.pages);
    bytes += RECORD_HEAD_BYTES + record.body.length + record.pages.length;
  }
  assert(bytes <= FRAME_BYTES_MAX, 'records are sent in frames that are taken');
  head.writeUInt32LE(bytes, 0);
  return pieces;
}

function encodeGot({ volumeId, received, synced }: GotMessage): Buffer {
  const frame = headOfVolume(KIND.got, volumeId, 16);
  const view = viewOf(frame);
  putU64(view, frame.length - 16, received);
  putU64(view, frame.length - 8, synced);
  frame.writeUInt32LE(frame.length - LENGTH_BYTES, 0);
  return frame;
}

/** The begin of a frame up to the volume's id, its length left out, and room for `restBytes`. */
function headOfVolume(kind: number, volumeId: string, restBytes: number): Buffer {
  const head = Buffer.allocUnsafe(LENGTH_BYTES + 2 + volumeId.length + restBytes);
  head.writeUInt8(kind, LENGTH_BYTES);
  head.writeUInt8(volumeId.length, LENGTH_BYTES + 1);
  head.write(volumeId, LENGTH_BYTES + 2, 'latin1');
  return head;
}

function headOf(record: SentRecord): Buffer {
  const head = Buffer.allocUnsafe(RECORD_HEAD_BYTES);
  const view = viewOf(head);
  putU64(view, 0, record.sequence);
  head.write(record.incarnation, 8, INCARNATION_BYTES, 'hex');
  putU64(view, 16, record.epoch);
  putU64(view, 24, record.appendedMs);
  putU64(view, 32, record.flushedSequence);
  putU64(view, 40, record.uploadedSequence);
  head.writeUInt32LE(record.extentCount, 48);
  head.writeUInt32LE(record.body.length, 52);
  head.writeUInt32LE(record.pages.length, 56);
  return head;
}

/**
 * Takes the next message that is there in whole; undefined when none is yet, `bad` when what is there is none, and the
 * connection is of no use any more. Buffers of records lie in the queue's own memory, or in what `memory` gives for a long frame,
 * where one is put together.
 */
export function takeFrame(queue: ByteQueue, memory?: (bytes: number) => Buffer): PeerMessage | 'bad' | undefined {
  const length = queue.peek(LENGTH_BYTES)?.readUInt32LE(0);
  if (length === undefined) return undefined;
  if (length < 1 || length > FRAME_BYTES_MAX) return 'bad';
  if (queue.length < LENGTH_BYTES + length) return undefined;
  queue.take(LENGTH_BYTES);
  const frame = takeBytes(queue, length, memory);
  const kind = frame.readUInt8(0);
  if (kind === KIND.records) return decodeRecords(frame) ?? 'bad';
  if (kind === KIND.got) return decodeGot(frame) ?? 'bad';
  if (kind !== KIND.json || length > JSON_BYTES_MAX + 1) return 'bad';
  return readMessage(frame.toString('utf8', 1)) ?? 'bad';
}

function takeBytes(queue: ByteQueue, length: number, memory: ((bytes: number) => Buffer) | undefined): Buffer {
  if (memory === undefined || length < LONG_BYTES) return queue.take(length);
  const frame = memory(length);
  queue.takeInto(frame);
  return frame;
}

/** The volume's id, and where it ends; undefined when there is none, or fewer than `restBytes` behind it. */
function volumeIn(frame: Buffer, restBytes: number): { readonly volumeId: VolumeId; readonly end: number } | undefined {
  const idBytes = frame.length > 2 ? frame.readUInt8(1) : 0;
  const end = 2 + idBytes;
  if (idBytes === 0 || idBytes > ID_BYTES_MAX || frame.length < end + restBytes) return undefined;
  const volumeId = frame.toString('latin1', 2, end);
  return isVolumeId(volumeId) ? { volumeId, end } : undefined;
}

function decodeGot(frame: Buffer): GotMessage | undefined {
  const volume = volumeIn(frame, 16);
  if (volume === undefined || frame.length !== volume.end + 16) return undefined;
  const { volumeId, end } = volume;
  const [received, synced] = [getU64(viewOf(frame), end), getU64(viewOf(frame), end + 8)];
  if (!Number.isSafeInteger(received) || !Number.isSafeInteger(synced)) return undefined;
  return { kind: 'got', volumeId, received, synced };
}

/** Undefined unless every byte is as it has to be. */
function decodeRecords(frame: Buffer): RecordsMessage | undefined {
  const volume = volumeIn(frame, 4);
  if (volume === undefined) return undefined;
  const { volumeId } = volume;
  let at = volume.end;
  const count = frame.readUInt32LE(at);
  at += 4;
  const records: SentRecord[] = [];
  for (let i = 0; i < count; i++) {
    const record = recordAt(frame, at);
    if (record === undefined) return undefined;
    records.push(record);
    at += RECORD_HEAD_BYTES + record.body.length + record.pages.length;
  }
  return at === frame.length ? { kind: 'records', volumeId, records } : undefined;
}

function recordAt(frame: Buffer, at: number): SentRecord | undefined {
  const bodyAt = at + RECORD_HEAD_BYTES;
  if (frame.length < bodyAt) return undefined;
  const pagesAt = bodyAt + frame.readUInt32LE(at + 52);
  const end = pagesAt + frame.readUInt32LE(at + 56);
  if (end > frame.length) return undefined;
  const view = viewOf(frame);
  const record: SentRecord = {
    sequence: getU64(view, at),
    incarnation: frame.toString('hex', at + 8, at + 8 + INCARNATION_BYTES),
    epoch: getU64(view, at + 16),
    appendedMs: getU64(view, at + 24),
    flushedSequence: getU64(view, at + 32),
    uploadedSequence: getU64(view, at + 40),
    extentCount: frame.readUInt32LE(at + 48),
    body: frame.subarray(bodyAt, pagesAt),
    pages: frame.subarray(pagesAt, end),
  };
  const { sequence, epoch, appendedMs, flushedSequence, uploadedSequence } = record;
  const isSafe = [sequence, epoch, appendedMs, flushedSequence, uploadedSequence].every(Number.isSafeInteger);
  return isSafe ? record : undefined;
}
