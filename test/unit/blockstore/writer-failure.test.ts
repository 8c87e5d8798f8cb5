/** What a failure of the store, at the wrong moment, must not cost. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  Catalog,
  createStore,
  openConsistentView,
  openVolumeWriter,
  type BlockStoreOptions,
  type VolumeEntry,
  type VolumeWriter,
} from '../../../src/core/blockstore/index.ts';
import { MIB, SgwError, TIB } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import type { PutBody, PutOptions, PutResult } from '../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../src/core/objectstore/layer.ts';
import { HookedStore } from './gc-rig.ts';
import { ACCOUNT, encodeBlocks, holder, otherHolder, optionsOver, readAll, stamp } from './volume-model.ts';

class FailingMaps extends StoreLayer {
  failures = 0;

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    if (key.includes('/map/') && this.failures > 0) {
      this.failures -= 1;
      throw new SgwError('unavailable', 'store-error', 'the store is away');
    }
    return super.put(key, body, options);
  }
}

let objects: FailingMaps;
let options: BlockStoreOptions;
let volume: VolumeEntry;
let writer: VolumeWriter;
let image: Buffer;

const commitStamp = (value: number, consistent: boolean): Promise<void> => {
  stamp(value).copy(image);
  return writer.commit({ encoded: [encodeBlocks(image, [0])], consistent });
};

beforeEach(async () => {
  objects = new FailingMaps(memoryStore());
  options = optionsOver(objects);
  await createStore(options);
  volume = await new Catalog(options).createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT });
  writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
  image = Buffer.alloc(MIB);
});

describe('a run of inconsistent commits whose first checkpoint fails', () => {
  it('does not go on, so that the last consistent state is still what readers get', async () => {
    await commitStamp(1, true);
    const consistent = Buffer.from(image);
    objects.failures = 1;
    const run = [commitStamp(2, false), commitStamp(3, false)];
    for (const commit of run) await expect(commit).rejects.toMatchObject({ code: 'store-error' });
    await expect(commitStamp(4, false)).rejects.toMatchObject({ code: 'store-error' });
    await expect(writer.checkpoint()).rejects.toMatchObject({ code: 'store-error' });
    await writer.abandon();
    const view = await openConsistentView(options, volume.volumeId);
    expect((await readAll(view)).equals(consistent)).toBe(true);
  });

  it('goes on under the next opening', async () => {
    await commitStamp(1, true);
    objects.failures = 1;
    await expect(commitStamp(2, false)).rejects.toMatchObject({ code: 'store-error' });
    await writer.abandon();
    writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
    await commitStamp(3, false);
    await commitStamp(4, true);
    await writer.close();
    expect((await readAll(await openConsistentView(options, volume.volumeId))).equals(image)).toBe(true);
  });
});

describe('an opening that fails', () => {
  const failing = async (): Promise<void> => {
    const below = new HookedStore(objects, ({ operation, key }) => {
      if (operation === 'get' && key.includes('/log/')) throw new SgwError('unavailable', 'store-error', 'away');
    });
    const opening = openVolumeWriter(optionsOver(below, 7), volume.volumeId, {
      holder: otherHolder,
      accountId: ACCOUNT,
      takeOver: true,
    });
    await expect(opening).rejects.toMatchObject({ code: 'store-error' });
  };
  const heldBy = async (): Promise<string | undefined> =>
    (await new Catalog(options).headOf(volume.volumeId)).holder?.gatewayId;

  it('gives back a volume that it found closed', async () => {
    await commitStamp(1, true);
    await writer.close();
    await failing();
    expect(await heldBy()).toBeUndefined();
    writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
    await commitStamp(2, true);
  });

  it('C1 keeps a volume that it found held, so that the next one puts the fences', async () => {
    await commitStamp(1, true);
    await failing();
    expect(await heldBy()).toBe(otherHolder.gatewayId);
    const next = await openVolumeWriter(options, volume.volumeId, { holder: otherHolder, accountId: ACCOUNT });
    expect(next.seq).toBe(5);
    await expect(commitStamp(2, true)).rejects.toMatchObject({ kind: 'fenced' });
  });
});

describe('a commit', () => {
  it('can not make a volume larger than volumes may be', async () => {
    const commit = writer.commit({ encoded: [], sizeBytes: 65 * TIB, consistent: true });
    await expect(commit).rejects.toMatchObject({ kind: 'invalid', code: 'bad-volume-size' });
    await commitStamp(1, true);
    await writer.close();
    expect(writer.sizeBytes).toBe(MIB);
  });
});
