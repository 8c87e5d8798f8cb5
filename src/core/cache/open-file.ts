/**
 * Opens and closes the cache's file together with its saved index. An index is believed once, right behind a clean close, and
 * only for the very file that it was saved with: before anything changes it is removed, durably, and the file gets another id.
 */
import type { Random } from '../kit/index.ts';
import type { CacheDisk, CacheFile } from './disk.ts';
import { FileTier } from './file-tier.ts';
import type { RestoredFrame } from './frame-table.ts';
import { decodeIndex, encodeIndex, FRAMES_ID_BYTES, type SavedIndex } from './saved-index.ts';
import type { SegmentNumbers } from './segment-numbers.ts';

const UNIT_BYTES = 4096;
const MAGIC = Buffer.from('sgwcfrm1');

export interface FileParts {
  readonly disk: CacheDisk;
  readonly random: Random;
  readonly segments: SegmentNumbers;
  /** A write failed. */
  readonly onFailure: (error: unknown) => void;
}

export interface OpenedFile {
  readonly tier: FileTier;
  readonly framesId: Buffer;
}

/**
 * Opens the file, made when it is missing, with what its index says is in it.
 * @throws what the system says
 */
export async function openFile(unitCount: number, parts: FileParts): Promise<OpenedFile> {
  const { disk, random, segments, onFailure } = parts;
  const file = await disk.openFrames();
  try {
    const saved = await believedIndex(disk, file);
    await disk.removeIndex();
    const framesId = random.bytes(FRAMES_ID_BYTES);
    const header = Buffer.alloc(UNIT_BYTES);
    MAGIC.copy(header);
    framesId.copy(header, MAGIC.length);
    // What nobody knows of any more gives its room on the disk back.
    if (saved === undefined) await file.truncate(0);
    await file.write([header], 0);
    await file.truncate(unitCount * UNIT_BYTES);
    const tier = new FileTier(file, unitCount, segments, onFailure);
    if (saved !== undefined) tier.adopt(restored(saved, tier, segments));
    return { tier, framesId };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The saved index if it is whole and belongs to this file. */
async function believedIndex(disk: CacheDisk, file: CacheFile): Promise<SavedIndex | undefined> {
  const bytes = await disk.readIndex().catch(() => undefined);
  const saved = bytes === undefined ? undefined : decodeIndex(bytes);
  if (saved === undefined || (await file.sizeBytes()) !== saved.unitCount * UNIT_BYTES) return undefined;
  const header = Buffer.alloc(MAGIC.length + FRAMES_ID_BYTES);
  if (file.readSync(header, 0, header.length, 0) !== header.length) return undefined;
  return header.equals(Buffer.concat([MAGIC, saved.framesId])) ? saved : undefined;
}

function* restored(saved: SavedIndex, tier: FileTier, segments: SegmentNumbers): Generator<RestoredFrame> {
  // Numbered when their first frame comes: a segment without frames may be forgotten.
  const places = new Map<number, number>();
  for (const { segment, frame, units, crcs, uses, isMain } of saved.frames()) {
    let place = places.get(segment);
    if (place === undefined) {
      place = segments.placeOf(segments.numberOfWords(...saved.segmentId(segment)));
      places.set(segment, place);
    }
    if (place === 0) continue;
    for (const [page, unit] of units.entries()) if (unit < tier.crcs.length) tier.crcs[unit] = crcs[page] ?? 0;
    yield { place, frame, units, uses, isMain };
  }
}

/**
 * Waits for writes under way, saves the index, and closes the file.
 * @throws what the system says; the file is closed then as well, and its frames are lost
 */
export async function closeFile({ tier, framesId }: OpenedFile, { disk, segments }: FileParts): Promise<void> {
  try {
    await tier.quiesce();
    // The index must not be on the disk before what it tells of.
    await tier.file.sync();
    await disk.writeIndex(encodeIndex(tier, framesId, segments));
  } finally {
    await tier.close();
  }
}
