/**
 * Checks one object whole: every stored byte against hashes and checksums, every frame against the hashes of its pages,
 * and that it is the object which its key says. What is wrong is returned, not thrown.
 */
import type { SgwError } from '../../kit/index.ts';
import type { ObjectBody } from '../../objectstore/index.ts';
import { damaged, isCorrupt, missing } from '../damage.ts';
import { readDocument } from '../documents.ts';
import type { FramePool } from '../frame-pool.ts';
import type { FrameJob } from '../frame-tasks.ts';
import { PAGE_HASH_BYTES } from '../geometry.ts';
import { parseMapObject } from '../map-object.ts';
import { withSignal, type DataReading } from '../options.ts';
import { parseWholeSegment } from '../segment-parse.ts';
import { popcount16, type SegmentIndex } from '../segment-index.ts';
import { readSegmentIndex, segmentDataKey, SegmentReader } from '../segment-reader.ts';
import { HeldObject } from './held-object.ts';
import { objectName, type ObjectName } from './object-name.ts';
import type { SegmentFinding } from './segment-book.ts';

export interface ObjectVerdict {
  /** Bytes that were read; 0 when the object had gone meanwhile. */
  readonly bytes: number;
  /** Names the object, or the one that is to blame, as the key of its volume. */
  readonly error?: SgwError;
  readonly segment?: SegmentFinding;
}

type SegmentName = Extract<ObjectName, { kind: 'segment' | 'upload' }>;
type MapName = Extract<ObjectName, { kind: 'map' }>;

/** @throws what the store throws; denied `key-needed`; unsupported for what a newer sgw wrote */
export async function checkObject(
  reading: DataReading,
  pool: FramePool,
  key: string,
  signal?: AbortSignal,
): Promise<ObjectVerdict> {
  const name = objectName(key);
  if (name.kind === 'unknown') return { bytes: 0 };
  try {
    return await readAndCheck(reading, pool, key, name, signal);
  } catch (error) {
    // The store itself refuses to give it, such as a file that was cut short.
    if (!isCorrupt(error)) throw error;
    const segment: SegmentFinding = { segmentId: undefined, frameCount: 0, fault: { error, frames: 'all' } };
    return name.kind === 'segment' || name.kind === 'upload' ? { bytes: 0, error, segment } : { bytes: 0, error };
  }
}

async function readAndCheck(
  reading: DataReading,
  pool: FramePool,
  key: string,
  name: Exclude<ObjectName, { kind: 'unknown' }>,
  signal?: AbortSignal,
): Promise<ObjectVerdict> {
  if (name.kind === 'document') return await checkDocument(reading, key, signal);
  const object = await reading.objects.get(key, withSignal(signal));
  if (object === undefined) return { bytes: 0 };
  if (name.kind === 'map') return checkMap(key, name, object.bytes);
  return await checkSegment(reading, pool, name, object, signal);
}

async function checkDocument(reading: DataReading, key: string, signal?: AbortSignal): Promise<ObjectVerdict> {
  const info = await reading.objects.head(key, withSignal(signal));
  if (info === undefined) return { bytes: 0 };
  try {
    await readDocument(reading, key, signal);
    return { bytes: info.sizeBytes };
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return { bytes: info.sizeBytes, error };
  }
}

function checkMap(key: string, name: MapName, body: Buffer): ObjectVerdict {
  try {
    const footer = parseMapObject(key, body);
    const isOwn = footer.owner === name.owner && (name.seq === undefined || footer.seq === name.seq);
    if (!isOwn) throw damaged(key, `it is map ${String(footer.seq)} of ${footer.owner}`);
    return { bytes: body.length };
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return { bytes: body.length, error };
  }
}

async function checkSegment(
  reading: DataReading,
  pool: FramePool,
  name: SegmentName,
  object: ObjectBody,
  signal?: AbortSignal,
): Promise<ObjectVerdict> {
  const { key } = object;
  const bytes = object.bytes.length;
  try {
    const index = parseWholeSegment(key, object.bytes, await segmentDataKey(reading, key, signal));
    checkPlace(key, name, index);
    const { segmentId } = index.footer;
    const hashes = await hashesOf(reading, object, index, signal);
    const frames = Array.from({ length: index.frameCount }, (_, i) => jobOf(index, i, hashes));
    // Takes the bytes along to the worker.
    if (frames.length > 0)
      await pool.decode({ spans: [{ bytes: object.bytes, baseOffset: 0 }], frames }, withSignal(signal));
    return { bytes, segment: { segmentId, frameCount: index.frameCount } };
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    const again = await reading.objects.get(key, withSignal(signal));
    if (again === undefined) return { bytes: 0 };
    // Replaced while it was read, as gc does.
    if (again.etag !== object.etag) return await checkSegment(reading, pool, name, again, signal);
    return { bytes, error, segment: await locate(reading, pool, again, error, signal) };
  }
}

/** @throws corrupt `object-damaged` unless the segment is the one that its key says */
function checkPlace(key: string, name: SegmentName, { footer }: SegmentIndex): void {
  const { volumeId, seq, upload } = footer;
  const isOwn =
    name.kind === 'segment'
      ? volumeId === name.volumeId && seq === name.seq && upload === undefined
      : upload?.snapshotId === name.snapshotId && upload.block === name.block;
  if (isOwn) return;
  const block = upload === undefined ? '' : `, block ${String(upload.block)} of ${upload.snapshotId}`;
  throw damaged(key, `it is segment ${String(seq)} of ${volumeId}${block}`);
}

/** Which frames of a damaged segment readers can't have. */
async function locate(
  reading: DataReading,
  pool: FramePool,
  object: ObjectBody,
  error: SgwError,
  signal?: AbortSignal,
): Promise<SegmentFinding> {
  const hurt = new Set<number>();
  let segmentId: string | undefined;
  let frameCount = 0;
  try {
    const index = await readSegmentIndex(holding(reading, object), object.key, signal);
    if (index === undefined) throw missing(object.key);
    ({ frameCount } = index);
    ({ segmentId } = index.footer);
    const hashes = await hashesOf(reading, object, index, signal);
    for (let i = 0; i < frameCount; i++)
      if (!(await decodes(pool, object.bytes, jobOf(index, i, hashes), signal))) hurt.add(i);
    return { segmentId, frameCount, fault: { error, frames: hurt } };
  } catch (failure) {
    if (!isCorrupt(failure)) throw failure;
    return { segmentId, frameCount, fault: { error, frames: 'all' } };
  }
}

const holding = (reading: DataReading, object: ObjectBody): DataReading => ({
  ...reading,
  objects: new HeldObject(reading.objects, object),
});

/** The hashes of all pages of a segment that is held. */
async function hashesOf(
  reading: DataReading,
  object: ObjectBody,
  index: SegmentIndex,
  signal?: AbortSignal,
): Promise<Buffer> {
  const segments = new SegmentReader(holding(reading, object));
  return await segments.pageHashes({ key: object.key, segmentId: index.footer.segmentId, creators: [] }, signal);
}

function jobOf(index: SegmentIndex, frame: number, hashes: Buffer): FrameJob {
  const entry = index.frame(frame);
  const from = entry.hashIndex * PAGE_HASH_BYTES;
  const to = from + popcount16(entry.mask) * PAGE_HASH_BYTES;
  // A copy of its own: a view would take the whole table along to the worker.
  const pageHashes = new Uint8Array(hashes.subarray(from, to));
  const opening = index.opening(frame);
  return {
    span: 0,
    entry,
    segmentKey: index.key,
    ...(opening === undefined ? {} : { opening }),
    pageHashes,
    slots: [],
  };
}

async function decodes(pool: FramePool, body: Buffer, job: FrameJob, signal?: AbortSignal): Promise<boolean> {
  const { offset, storedLength } = job.entry;
  const bytes = Buffer.from(body.subarray(offset, offset + storedLength));
  try {
    await pool.decode({ spans: [{ bytes, baseOffset: offset }], frames: [job] }, withSignal(signal));
    return true;
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return false;
  }
}
