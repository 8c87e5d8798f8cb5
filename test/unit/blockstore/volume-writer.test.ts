import { beforeEach, describe, expect, it } from 'vitest';
import {
  BLOCK_BYTES,
  Catalog,
  PAGE_BYTES,
  createSnapshot,
  createStore,
  diffViews,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type VolumeEntry,
  type VolumeWriter,
} from '../../../src/core/blockstore/index.ts';
import { MIB, TIB } from '../../../src/core/kit/index.ts';
import type { ObjectStore } from '../../../src/core/objectstore/index.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, otherHolder, readAll, stamp } from './volume-model.ts';

let options: BlockStoreOptions;
let catalog: Catalog;
const openAs = (volume: VolumeEntry, who = holder, takeOver = false): Promise<VolumeWriter> =>
  openVolumeWriter(options, volume.volumeId, { holder: who, accountId: ACCOUNT, takeOver });

async function newVolume(sizeBytes: number, name = 'golden'): Promise<VolumeEntry> {
  return catalog.createVolume({ name, sizeBytes, accountId: ACCOUNT });
}

/** Writes pages (page -> stamp) into the image and commits the blocks they are in. */
async function commitPages(
  writer: VolumeWriter,
  image: Buffer,
  pages: Record<number, number>,
  consistent = true,
): Promise<void> {
  for (const [page, value] of Object.entries(pages)) stamp(value).copy(image, Number(page) * PAGE_BYTES);
  const blocks = [...new Set(Object.keys(pages).map((page) => Math.floor(Number(page) / 16)))];
  await writer.commit({ encoded: [encodeBlocks(image, blocks)], consistent });
}

beforeEach(async () => {
  options = optionsOver();
  catalog = new Catalog(options);
  await createStore(options);
});

describe('a volume writer', () => {
  it('commits what a reader then sees, before and after a checkpoint', async () => {
    const volume = await newVolume(2 * MIB);
    const image = Buffer.alloc(2 * MIB);
    const writer = await openAs(volume);
    await commitPages(writer, image, { 0: 1, 17: 2, 511: 3 });
    expect((await readAll(await openVolumeView(options, volume.volumeId))).equals(image)).toBe(true);
    await commitPages(writer, image, { 17: 4, 18: 5 });
    await writer.close();
    const view = await openVolumeView(options, volume.volumeId);
    expect((await readAll(view)).equals(image)).toBe(true);
    expect(view.seq).toBe(2);
    expect(view.map.mappedPages).toBe(4);
  });

  it('unmaps extents, whole subtrees of them without reading them', async () => {
    const volume = await newVolume(64 * MIB);
    const image = Buffer.alloc(64 * MIB);
    const writer = await openAs(volume);
    await commitPages(writer, image, { 0: 1, 5: 2, 1024: 3, 2048: 4, 3000: 5 });
    await writer.checkpoint();
    await writer.commit({ encoded: [], unmap: [{ firstPage: 5, pageCount: 2100 }], consistent: true });
    image.fill(0, 5 * PAGE_BYTES, 2105 * PAGE_BYTES);
    await writer.close();
    const view = await openVolumeView(options, volume.volumeId);
    expect((await readAll(view)).equals(image)).toBe(true);
    expect(view.map.mappedPages).toBe(2);
  });

  it('keeps the order of commits that are under way together', async () => {
    const volume = await newVolume(MIB);
    const image = Buffer.alloc(MIB);
    const writer = await openAs(volume);
    const commits = [];
    for (let i = 1; i <= 20; i++) {
      stamp(i).copy(image, 3 * PAGE_BYTES);
      commits.push(writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true }));
    }
    await Promise.all(commits);
    await writer.close();
    expect((await readAll(await openVolumeView(options, volume.volumeId))).equals(image)).toBe(true);
  });

  it('shrinks with the partial page, so that growing again reads zeroes', async () => {
    const volume = await newVolume(MIB);
    const image = Buffer.alloc(MIB);
    const writer = await openAs(volume);
    await commitPages(writer, image, { 2: 1, 3: 2, 100: 3 });
    const cut = 2 * PAGE_BYTES + 100;
    await writer.resize(cut);
    await writer.resize(MIB);
    await writer.close();
    image.fill(0, cut);
    expect((await readAll(await openVolumeView(options, volume.volumeId))).equals(image)).toBe(true);
  });

  it('opens an empty 16 TiB volume and finds its only pages', async () => {
    const volume = await newVolume(16 * TIB);
    const writer = await openAs(volume);
    const last = (16 * TIB) / BLOCK_BYTES - 1;
    const block = Buffer.concat([stamp(9), Buffer.alloc(BLOCK_BYTES - PAGE_BYTES)]);
    const encoded = encodeBlocks(block, [0]);
    await writer.commit({
      encoded: [{ ...encoded, frames: encoded.frames.map((frame) => ({ ...frame, block: last })) }],
      consistent: true,
    });
    await writer.close();
    const pages: number[] = [];
    for await (const leaf of (await openVolumeView(options, volume.volumeId)).map.leaves())
      pages.push(...leaf.runs.map((run) => run.page));
    expect(pages).toEqual([last * 16]);
  });
});

describe('fencing', () => {
  it('C1 a second gateway is told who holds the volume', async () => {
    const volume = await newVolume(MIB);
    await openAs(volume);
    await expect(openAs(volume, otherHolder)).rejects.toMatchObject({
      kind: 'conflict',
      code: 'volume-held',
      details: { gatewayName: 'lab' },
    });
  });

  it('C1 a fenced writer commits nothing more, and what it committed before stays', async () => {
    const volume = await newVolume(MIB);
    const image = Buffer.alloc(MIB);
    const old = await openAs(volume);
    await commitPages(old, image, { 1: 1 });
    const successor = await openAs(volume, otherHolder, true);
    await expect(commitPages(old, Buffer.from(image), { 2: 2 })).rejects.toMatchObject({ kind: 'fenced' });
    await expect(old.commit({ encoded: [], consistent: true })).rejects.toMatchObject({ kind: 'fenced' });
    await commitPages(successor, image, { 3: 3 });
    await successor.close();
    expect((await readAll(await openVolumeView(options, volume.volumeId))).equals(image)).toBe(true);
  });

  it('C1 a segment that the old writer committed before the fence is adopted', async () => {
    const volume = await newVolume(MIB);
    const image = Buffer.alloc(MIB);
    const old = await openAs(volume);
    const objects = options.objects;
    // The old writer commits between the successor's replay and its fence.
    let raced = false;
    const racing: ObjectStore = {
      ...proxy(objects),
      put: async (key, body, how) => {
        if (key.includes('/log/') && !raced) {
          raced = true;
          await commitPages(old, image, { 4: 4 });
        }
        return objects.put(key, body, how);
      },
    };
    const successor = await openVolumeWriter({ ...options, objects: racing }, volume.volumeId, {
      holder: otherHolder,
      accountId: ACCOUNT,
      takeOver: true,
    });
    await successor.close();
    expect(raced).toBe(true);
    expect((await readAll(await openVolumeView(options, volume.volumeId))).equals(image)).toBe(true);
  });

  it('C1 a late segment of the old writer inside the fenced window is void, whatever stands before it', async () => {
    const volume = await newVolume(MIB);
    const image = Buffer.alloc(MIB);
    const objects = options.objects;
    let hold: (() => void) | undefined;
    const held = new Promise<void>((resolve) => (hold = resolve));
    let firstLogPut = true;
    const slow: ObjectStore = {
      ...proxy(objects),
      put: async (key, body, how) => {
        // The first segment is stuck on its way; the second arrives.
        if (key.includes('/log/') && firstLogPut) {
          firstLogPut = false;
          await held;
        }
        return objects.put(key, body, how);
      },
    };
    const old = await openVolumeWriter({ ...options, objects: slow }, volume.volumeId, { holder, accountId: ACCOUNT });
    const lost = [commitPages(old, Buffer.alloc(MIB), { 1: 11 }), commitPages(old, Buffer.alloc(MIB), { 2: 22 })].map(
      (commit) =>
        commit.then(
          () => 'committed',
          (error: unknown) => (error as { kind: string }).kind,
        ),
    );
    await expect.poll(() => objects.head(`volumes/${volume.volumeId}/log/0000000000000002`)).toBeDefined();
    const successor = await openAs(volume, otherHolder, true);
    hold?.();
    expect(await Promise.all(lost)).toEqual(['fenced', 'fenced']);
    await commitPages(successor, image, { 3: 3 });
    await successor.close();
    expect((await readAll(await openVolumeView(options, volume.volumeId))).equals(image)).toBe(true);
  });

  it('C3 a reply lost after the segment was stored is not a conflict', async () => {
    const volume = await newVolume(MIB);
    const image = Buffer.alloc(MIB);
    const objects = options.objects;
    const forgetful: ObjectStore = {
      ...proxy(objects),
      put: async (key, body, how) => {
        await objects.put(key, body, how);
        return objects.put(key, body, how);
      },
    };
    const writer = await openVolumeWriter({ ...options, objects: forgetful }, volume.volumeId, {
      holder,
      accountId: ACCOUNT,
    });
    await commitPages(writer, image, { 1: 1 });
    await writer.close();
    expect((await readAll(await openVolumeView(options, volume.volumeId))).equals(image)).toBe(true);
  });

  it('C4 the same gateway reopens after a crash and continues the log', async () => {
    const volume = await newVolume(MIB);
    const image = Buffer.alloc(MIB);
    const crashed = await openAs(volume);
    await commitPages(crashed, image, { 1: 1 });
    const writer = await openAs(volume);
    expect(writer.epoch).toBe(crashed.epoch + 1);
    await commitPages(writer, image, { 2: 2 });
    await writer.close();
    expect((await readAll(await openVolumeView(options, volume.volumeId))).equals(image)).toBe(true);
  });
});

describe('snapshots', () => {
  it('C7 C8 show the last consistent commit, without the run that is not finished', async () => {
    const volume = await newVolume(MIB);
    const image = Buffer.alloc(MIB);
    const writer = await openAs(volume);
    await commitPages(writer, image, { 1: 1 });
    const expected = Buffer.from(image);
    await commitPages(writer, image, { 2: 2 }, false);
    await writer.checkpoint();
    const snapshot = await createSnapshot(options, { volume, name: 'v1', accountId: ACCOUNT });
    expect((await readAll(openSnapshotView(options, snapshot))).equals(expected)).toBe(true);
    expect(snapshot).toMatchObject({ state: 'completed', creators: [ACCOUNT], mappedPages: 1, seq: 1 });
  });

  it('C8 refuse a volume whose first import is not finished', async () => {
    const volume = await catalog.createVolume({
      name: 'half',
      sizeBytes: MIB,
      accountId: ACCOUNT,
      unfinishedImport: { source: 'x', startedAt: '2026-01-01T00:00:00Z' },
    });
    const writer = await openAs(volume);
    await commitPages(writer, Buffer.alloc(MIB), { 1: 1 }, false);
    await expect(createSnapshot(options, { volume, name: 'v1', accountId: ACCOUNT })).rejects.toMatchObject({
      code: 'import-unfinished',
    });
    expect(await catalog.listSnapshots({ includeDeleted: true })).toEqual([]);
  });

  it('are not changed by later commits, and a clone of one is a volume of its own', async () => {
    const volume = await newVolume(MIB);
    const image = Buffer.alloc(MIB);
    const writer = await openAs(volume);
    await commitPages(writer, image, { 1: 1, 40: 2 });
    const v1 = await createSnapshot(options, { volume, name: 'v1', accountId: ACCOUNT });
    const expected = Buffer.from(image);
    await commitPages(writer, image, { 1: 7 });
    await writer.close();
    const clone = await catalog.createVolume({ name: 'clone', sizeBytes: MIB, accountId: ACCOUNT, from: v1 });
    const cloneImage = Buffer.from(expected);
    const cloneWriter = await openAs(clone);
    await commitPages(cloneWriter, cloneImage, { 41: 9 });
    await cloneWriter.close();
    expect((await readAll(openSnapshotView(options, v1))).equals(expected)).toBe(true);
    expect((await readAll(await openVolumeView(options, clone.volumeId))).equals(cloneImage)).toBe(true);
    expect((await readAll(await openVolumeView(options, volume.volumeId))).equals(image)).toBe(true);
    expect(clone.lineage).toBe(volume.volumeId);
  });

  it('C12 differ by what changed: rewritten equal pages are no difference', async () => {
    const volume = await newVolume(16 * MIB);
    const image = Buffer.alloc(16 * MIB);
    const writer = await openAs(volume);
    await commitPages(writer, image, { 1: 1, 2: 2, 40: 3, 2000: 4 });
    const v1 = await createSnapshot(options, { volume, name: 'v1', accountId: ACCOUNT });
    await commitPages(writer, image, { 1: 1, 2: 5, 41: 6 });
    await writer.commit({ encoded: [], unmap: [{ firstPage: 2000, pageCount: 1 }], consistent: true });
    const v2 = await createSnapshot(options, { volume, name: 'v2', accountId: ACCOUNT });
    const extents = [];
    for await (const extent of diffViews(openSnapshotView(options, v1), openSnapshotView(options, v2)))
      extents.push(extent);
    expect(extents).toEqual([
      { firstPage: 2, pageCount: 1, state: 'changed' },
      { firstPage: 41, pageCount: 1, state: 'changed' },
      { firstPage: 2000, pageCount: 1, state: 'zeroed' },
    ]);
  });
});

function proxy(objects: ObjectStore): ObjectStore {
  return {
    description: objects.description,
    put: (key, body, how) => objects.put(key, body, how),
    get: (key, how) => objects.get(key, how),
    head: (key, how) => objects.head(key, how),
    list: (prefix, how) => objects.list(prefix, how),
    listFolders: (prefix, how) => objects.listFolders(prefix, how),
    delete: (key, how) => objects.delete(key, how),
    close: () => objects.close(),
  };
}
