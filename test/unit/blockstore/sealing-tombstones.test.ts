/** What one without the key can make of tombstones, which are never sealed: nothing but what a missing object would be. */
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  Catalog,
  PAGE_BYTES,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type Witness,
} from '../../../src/core/blockstore/index.ts';
import { MIB, seededRandom, type VolumeId } from '../../../src/core/kit/index.ts';
import { buildSegment, type SegmentPlan } from '../../reader/independent-builder.ts';
import { forgeSegment } from './forging.ts';
import { sealedStore } from './sealed-store.ts';
import { ACCOUNT, encodeBlocks, holder, readAll } from './volume-model.ts';

const page = (seed: number): Buffer => seededRandom(seed).bytes(PAGE_BYTES);
const logKey = (volumeId: VolumeId, seq: number): string => `volumes/${volumeId}/log/${String(seq).padStart(16, '0')}`;

/** What a home remembers, in memory. */
function memoryWitness(): Witness {
  const seen = new Map<string, number>();
  return {
    newest: (key) => seen.get(key),
    saw: (key, version) => seen.set(key, Math.max(version, seen.get(key) ?? 0)),
    forget: (key) => seen.delete(key),
    known: () => [...seen.keys()],
  };
}

let options: BlockStoreOptions;
let volumeId: VolumeId;

/** Commits two states of the first page as segments 1 and 2; `end` says what becomes of the writer. */
async function commitTwo(end: 'close' | 'abandon'): Promise<void> {
  const writer = await openVolumeWriter(options, volumeId, { holder, accountId: ACCOUNT });
  for (const seed of [1, 2]) {
    const image = Buffer.alloc(MIB);
    page(seed).copy(image);
    await writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
  }
  await writer[end]();
}

/** Puts a tombstone in the place of a segment, with its segment id, and what else `plan` says. */
async function forgeTombstone(seq: number, plan: Partial<SegmentPlan>): Promise<void> {
  const key = logKey(volumeId, seq);
  const stored = await options.objects.get(key);
  if (stored === undefined) throw new Error(`${key} is missing`);
  let segmentId: unknown;
  forgeSegment(Buffer.from(stored.bytes), ({ footer }) => {
    segmentId = footer['segmentId'];
  });
  const built = buildSegment({ volumeId, seq, kind: 'tombstone', sizeBytes: 0, creators: [], ...plan });
  const forged = forgeSegment(built.body, ({ footer }) => {
    footer['segmentId'] = segmentId;
  });
  await options.objects.put(key, forged);
}

/** The first page as it is read; a digest, since a failure would print a whole image. */
async function read(): Promise<string> {
  const image = await readAll(await openVolumeView(options, volumeId));
  return digestOf(image.subarray(0, PAGE_BYTES));
}

const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

beforeEach(async () => {
  options = { ...(await sealedStore()).options, witness: memoryWitness() };
  ({ volumeId } = await new Catalog(options).createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT }));
});

describe('C16 a forged tombstone', () => {
  it('brings no contents into a sealed store, though it has the id of the segment that the map names', async () => {
    await commitTwo('close');
    expect(await read()).toBe(digestOf(page(2)));
    await forgeTombstone(2, { frames: [{ block: 0, pages: { 0: page(9) } }], creators: [[ACCOUNT]] });
    const key = logKey(volumeId, 2);
    await expect(read()).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged', details: { key } });
  });

  it('that holds nothing is damage where the map needs the segment', async () => {
    await commitTwo('close');
    await forgeTombstone(2, {});
    const key = logKey(volumeId, 2);
    await expect(read()).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged', details: { key } });
  });

  it.each([0, 1])('of epoch %i at the end of the log does not cut off what was committed there', async (epoch) => {
    await commitTwo('abandon');
    expect(await read()).toBe(digestOf(page(2)));
    await forgeTombstone(2, { epoch });
    const key = logKey(volumeId, 2);
    const damage = { kind: 'corrupt', code: 'object-damaged', details: { key } };
    await expect(read()).rejects.toMatchObject(damage);
    await expect(openVolumeWriter(options, volumeId, { holder, accountId: ACCOUNT })).rejects.toMatchObject(damage);
  });
});
