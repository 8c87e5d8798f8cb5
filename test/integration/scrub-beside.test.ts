/** A scrub takes no lock: writers, snapshots, deletions and gc beside it make it find nothing where there is nothing. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  BLOCK_BYTES,
  Catalog,
  createSnapshot,
  createStore,
  FramePool,
  openVolumeWriter,
  type BlockStoreOptions,
} from '../../src/core/blockstore/index.ts';
import { collectGarbage } from '../../src/core/blockstore/gc/index.ts';
import { MIB, seededRandom } from '../../src/core/kit/index.ts';
import { scrubStore } from '../../src/core/transfer/index.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver } from '../unit/blockstore/volume-model.ts';
import { MemoryWitness } from './damaged-store.ts';

const SEED = Number(process.env['SGW_SEED'] ?? 3);
const ROUNDS = 120;

let pool: FramePool;
beforeAll(() => {
  pool = new FramePool({ threads: 1 });
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
});

/** Overwrites the same few blocks again and again, so that nearly everything becomes garbage. */
async function write(options: BlockStoreOptions, random: () => number): Promise<void> {
  const catalog = new Catalog(options);
  const volume = await catalog.createVolume({ name: 'busy', sizeBytes: MIB, accountId: ACCOUNT });
  let writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
  for (let round = 0; round < ROUNDS; round++) {
    const block = Math.floor(random() * 4);
    const image = Buffer.alloc(MIB);
    image.fill(`<${String(round)}>`, block * BLOCK_BYTES, block * BLOCK_BYTES + 9000);
    await writer.commit({ encoded: [encodeBlocks(image, [block])], consistent: true });
    const dice = random();
    if (dice < 0.3) await writer.checkpoint();
    else if (dice < 0.4) {
      await writer.close();
      writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
    } else if (dice < 0.6) await createSnapshot(options, { volume, name: 's', accountId: ACCOUNT });
    else if (dice < 0.8) {
      const [oldest] = await catalog.listSnapshots();
      if (oldest !== undefined)
        await catalog.updateSnapshot(oldest.snapshotId, (now) => ({ ...now, state: 'deleted' }));
    }
  }
  await writer.close();
}

it('finds no damage beside writers, snapshots that come and go, and gc without a grace period', async () => {
  const random = seededRandom(SEED);
  const witness = new MemoryWitness();
  const options: BlockStoreOptions = { ...optionsOver(undefined, SEED), witness };
  await createStore(options);
  let isOver = false;
  let removed = 0;
  let scrubs = 0;
  const found: string[] = [];
  const collecting = async (): Promise<void> => {
    while (!isOver) removed += (await collectGarbage(options, { graceMs: 0 })).removed.objects;
  };
  const scrubbing = async (): Promise<void> => {
    while (!isOver || scrubs < 3) {
      const { damage } = await scrubStore(options, { pool });
      found.push(...damage.map(({ message }) => message));
      scrubs += 1;
    }
  };
  const writing = write(options, () => random.float()).finally(() => (isOver = true));
  await Promise.all([writing, collecting(), scrubbing()]);
  expect(found, `seed ${String(SEED)}`).toEqual([]);
  expect(removed).toBeGreaterThan(50);
  expect(scrubs).toBeGreaterThanOrEqual(3);
}, 120_000);
