/**
 * Tombstones (C2): what stands in the log for a segment that was removed, so that its seq is never free again.
 *
 * `gc/tombstones/<volumeId>.json` remembers which seqs are tombstones, so that gc need not read them again. It says
 * nothing that is not so, since a tombstone stays one; it may say less, and its loss costs only that reading.
 */
import { toSgwError, type VolumeId } from '../../kit/index.ts';
import type { Etag } from '../../objectstore/index.ts';
import { createDocument, readDocument } from '../documents.ts';
import { keys } from '../keys.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { ZERO_HASH, sealSegment } from '../segment-codec.ts';
import { readSegmentIndex } from '../segment-reader.ts';
import { changeIfPresent } from './purge.ts';

/** A tombstone is smaller; what is larger need not be read to know that it is none. */
const TOMBSTONE_BYTES_MAX = 4096;

type Range = readonly [first: number, last: number];

interface TombstonesDocument {
  /** Ascending, without overlap. */
  readonly ranges: readonly Range[];
}

/** Seqs, kept as ranges. */
export class SeqSet {
  readonly ranges: readonly Range[];

  constructor(ranges: readonly Range[]) {
    this.ranges = ranges;
  }

  has(seq: number): boolean {
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const [first, last] = this.ranges[middle] ?? [0, -1];
      if (seq < first) high = middle;
      else if (seq > last) low = middle + 1;
      else return true;
    }
    return false;
  }

  with(seqs: readonly number[]): SeqSet {
    const all = [...this.ranges, ...seqs.map((seq): Range => [seq, seq])].sort((a, b) => a[0] - b[0]);
    const ranges: [number, number][] = [];
    for (const [first, last] of all) {
      const open = ranges.at(-1);
      if (open !== undefined && first <= open[1] + 1) open[1] = Math.max(open[1], last);
      else ranges.push([first, last]);
    }
    return new SeqSet(ranges);
  }
}

export async function readTombstones(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  signal?: AbortSignal,
): Promise<SeqSet> {
  const document = await readDocument<TombstonesDocument>(options, keys.tombstones(volumeId), signal);
  return new SeqSet(document?.value.ranges ?? []);
}

/** Remembers seqs that are tombstones. */
export async function noteTombstones(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  seqs: readonly number[],
  signal?: AbortSignal,
): Promise<void> {
  if (seqs.length === 0) return;
  const key = keys.tombstones(volumeId);
  if (await createDocument(options, key, { ranges: new SeqSet([]).with(seqs).ranges }, signal)) return;
  await changeIfPresent<TombstonesDocument>(
    options,
    key,
    (now) => ({ ...now, ranges: new SeqSet(now.ranges).with(seqs).ranges }),
    signal,
  );
}

export interface Grave {
  readonly key: string;
  readonly etag: Etag;
  readonly sizeBytes: number;
  readonly volumeId: VolumeId;
  readonly seq: number;
  /** Of the head: above that of every writer who may still send something to this seq. */
  readonly epoch: number;
}

/**
 * Puts a tombstone in the place of the object, if that is still the one that was seen. Durable when it resolves.
 * - `placed`. - `present`: there was one already. - `changed`: something else stands there now.
 */
export async function placeTombstone(
  options: BlockStoreOptions,
  grave: Grave,
  signal?: AbortSignal,
): Promise<'placed' | 'present' | 'changed'> {
  const { objects, random } = options;
  const { key, volumeId, seq, epoch } = grave;
  if (grave.sizeBytes <= TOMBSTONE_BYTES_MAX && (await isTombstone(options, key, signal))) return 'present';
  const facts = {
    kind: 'tombstone',
    volumeId,
    seq,
    epoch,
    segmentId: random.bytes(16).toString('hex'),
    commitTimeMs: 0,
    prevHash: ZERO_HASH,
    sizeBytes: 0,
    consistent: false,
    records: null,
    creators: [],
  } as const;
  const { body } = sealSegment(key, facts, [], []);
  const result = await objects.put(key, body, { condition: { ifMatch: grave.etag }, ...withSignal(signal) });
  if (result.outcome === 'stored') return 'placed';
  return (await isTombstone(options, key, signal)) ? 'present' : 'changed';
}

async function isTombstone(options: BlockStoreOptions, key: string, signal?: AbortSignal): Promise<boolean> {
  try {
    return (await readSegmentIndex(options, key, signal))?.footer.kind === 'tombstone';
  } catch (error) {
    // What nobody needs may be damaged.
    if (toSgwError(error).kind !== 'corrupt') throw error;
    return false;
  }
}
