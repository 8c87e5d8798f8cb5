/** Snapshots as blocks of 512 KiB, against plain arrays: what is written, what differs, what each holds. SGW_SEED=N replays a run. */
import { describe, expect, it } from 'vitest';
import { BlockReader } from '../../src/core/blockstore/blocks/index.ts';
import { collectGarbage, rewriteVolume } from '../../src/core/blockstore/gc/index.ts';
import {
  Catalog,
  createSnapshot,
  createStore,
  openVolumeWriter,
  type SnapshotEntry,
} from '../../src/core/blockstore/index.ts';
import { MIB, seededRandom } from '../../src/core/kit/index.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver } from '../unit/blockstore/volume-model.ts';

const SEED = Number(process.env['SGW_SEED'] ?? 7);
const API_BLOCK = 512 * 1024;
const FRAME_BLOCK = 64 * 1024;
const SIZE = 24 * MIB;

const padded = (image: Buffer, block: number): Buffer => {
  const bytes = Buffer.alloc(API_BLOCK);
  image.copy(bytes, 0, block * API_BLOCK, (block + 1) * API_BLOCK);
  return bytes;
};

describe('a block reader', () => {
  for (let seed = SEED; seed < SEED + 8; seed++) {
    it(`tells of snapshots of a volume what plain images tell (SGW_SEED=${String(seed)})`, async () => {
      const random = seededRandom(seed);
      const options = optionsOver(undefined, seed);
      await createStore(options);
      const catalog = new Catalog(options);
      const entry = await catalog.createVolume({ name: 'disk', sizeBytes: SIZE, accountId: ACCOUNT });
      let image = Buffer.alloc(SIZE);
      const taken: { snapshot: SnapshotEntry; image: Buffer }[] = [];
      for (let round = 0; round < 5; round++) {
        const writer = await openVolumeWriter(options, entry.volumeId, { holder, accountId: ACCOUNT });
        image = Buffer.from(image);
        const blocks = new Set<number>();
        for (let i = 0; i < 1 + Math.floor(random.float() * 6); i++) {
          const block = Math.floor(random.float() * (SIZE / FRAME_BLOCK));
          blocks.add(block);
          const page = Math.floor(random.float() * 16);
          image.write(`<${String(round)} ${String(i)}>`, block * FRAME_BLOCK + page * 4096);
        }
        await writer.commit({ encoded: [encodeBlocks(image, [...blocks])], consistent: true });
        await writer.close();
        const snapshot = await createSnapshot(options, {
          volume: entry,
          name: `v${String(round)}`,
          accountId: ACCOUNT,
        });
        taken.push({ snapshot, image });
      }
      const reader = new BlockReader(options);
      for (const { snapshot, image: wanted } of taken) {
        const written = await Array.fromAsync(reader.written(snapshot.root, 0));
        const inUse = [...Array(SIZE / API_BLOCK).keys()].filter(
          (block) => !padded(wanted, block).equals(Buffer.alloc(API_BLOCK)),
        );
        expect(written).toEqual(inUse);
        for (let block = 0; block < SIZE / API_BLOCK; block++)
          expect((await reader.read(snapshot.root, block)).bytes.equals(padded(wanted, block))).toBe(true);
      }
      for (const a of taken)
        for (const b of taken) {
          const fromBlock = Math.floor(random.float() * 4);
          const how = { fromBlock, newer: taken.indexOf(a) > taken.indexOf(b) ? ('a' as const) : ('b' as const) };
          const found = (await Array.fromAsync(reader.changed(a.snapshot.root, b.snapshot.root, how))).map(
            ({ block }) => block,
          );
          const differing = [...Array(SIZE / API_BLOCK).keys()].filter(
            (block) => block >= fromBlock && !padded(a.image, block).equals(padded(b.image, block)),
          );
          // A page that was written anew as it was counts as changed; nothing that differs is left out.
          expect(found.filter((block) => differing.includes(block))).toEqual(differing);
          expect(found).toEqual(found.toSorted((x, y) => x - y));
          if (a === b) expect(found).toEqual([]);
        }
    });
  }

  it('does not take pages for changed that gc has moved', async () => {
    const options = optionsOver();
    await createStore(options);
    const catalog = new Catalog(options);
    const entry = await catalog.createVolume({ name: 'disk', sizeBytes: 4 * MIB, accountId: ACCOUNT });
    const image = seededRandom(1).bytes(4 * MIB);
    const write = async (blocks: readonly number[]): Promise<void> => {
      const writer = await openVolumeWriter(options, entry.volumeId, { holder, accountId: ACCOUNT });
      await writer.commit({ encoded: [encodeBlocks(image, blocks)], consistent: true });
      await writer.close();
    };
    await write([...Array(64).keys()]);
    // Most of the first segment is overwritten, so that gc writes the rest of it anew.
    image.fill(7, 0, 3 * MIB);
    await write([...Array(48).keys()]);
    const before = await catalog.headOf(entry.volumeId);
    const report = await collectGarbage(options, { graceMs: 0 });
    const candidates = report.ownSegments.get(entry.volumeId) ?? [];
    const { snapshotIds } = report;
    await rewriteVolume(options, entry.volumeId, { holder, accountId: ACCOUNT, candidates, snapshotIds });
    const after = await catalog.headOf(entry.volumeId);
    const reader = new BlockReader(options);
    const how = { fromBlock: 0, newer: 'b' as const };
    const changed = await Array.fromAsync(reader.changed(before.checkpoint.root, after.checkpoint.root, how));
    expect(after.checkpoint.seq).toBeGreaterThan(before.checkpoint.seq);
    expect(JSON.stringify(after.checkpoint.root)).not.toBe(JSON.stringify(before.checkpoint.root));
    expect(changed).toEqual([]);
  });
});
