/** A volume over a memory store, images in a temporary directory, and one pool of workers, for tests of room `transfer`. */
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Catalog,
  createSnapshot,
  createStore,
  FramePool,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type VolumeView,
} from '../../../src/core/blockstore/index.ts';
import { createSparseOutput, openRawImage } from '../../../src/core/image/index.ts';
import { seededRandom, systemClock, systemRandom, type VolumeId } from '../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import { exportView, importImage, type ExportReport, type ImportReport } from '../../../src/core/transfer/index.ts';

const HOLDER = { gatewayId: 'sgw-00000001', name: 'test' };

async function beginPlain(blocks: BlockStoreOptions): Promise<BlockStoreOptions> {
  await createStore(blocks);
  return blocks;
}

export class Rig implements AsyncDisposable {
  readonly directory: string;
  readonly blocks: BlockStoreOptions;
  readonly catalog: Catalog;
  readonly pool = new FramePool({ threads: 2 });

  private constructor(directory: string, blocks: BlockStoreOptions) {
    this.directory = directory;
    this.blocks = blocks;
    this.catalog = new Catalog(blocks);
  }

  /** `begin` makes the store; one without a key when it is absent. */
  static async start(objects: ObjectStore = memoryStore(), begin = beginPlain): Promise<Rig> {
    const blocks = await begin({ objects, clock: systemClock, random: systemRandom });
    return new Rig(await mkdtemp(join(tmpdir(), 'sgw-transfer-')), blocks);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async newVolume(sizeBytes: number): Promise<VolumeId> {
    const unfinishedImport = { source: 'test', startedAt: new Date().toISOString() };
    return (await this.catalog.createVolume({ name: 'v', sizeBytes, accountId: '000000000001', unfinishedImport }))
      .volumeId;
  }

  /** Imports the image at `path`; `signal` stops it half-way, which closes the volume. */
  async import(
    volumeId: VolumeId,
    path: string,
    options: { diff?: boolean; resume?: boolean; signal?: AbortSignal; onProgress?: () => void } = {},
  ): Promise<ImportReport> {
    await using image = await openRawImage(path);
    const writer = await openVolumeWriter(this.blocks, volumeId, { holder: HOLDER, accountId: '000000000001' });
    try {
      const report = await importImage({
        pool: this.pool,
        writer,
        image,
        diff: options.diff ?? false,
        alwaysCommit: options.resume ?? options.diff !== true,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
        ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
      });
      await writer.close();
      return report;
    } finally {
      await writer.abandon();
    }
  }

  async view(volumeId: VolumeId): Promise<VolumeView> {
    return await openVolumeView(this.blocks, volumeId);
  }

  async snapshotView(volumeId: VolumeId): Promise<VolumeView> {
    const volume = await this.catalog.getVolume(volumeId);
    return openSnapshotView(
      this.blocks,
      await createSnapshot(this.blocks, { volume, name: 's', accountId: '000000000001' }),
    );
  }

  /** Exports a view to `path` and finishes the file. */
  async export(
    view: VolumeView,
    path: string,
    options: { signal?: AbortSignal; onProgress?: () => void } = {},
  ): Promise<ExportReport & { resumedFrom: number }> {
    await using output = await createSparseOutput(path, { sizeBytes: view.sizeBytes, resumeKey: 'test', force: true });
    await using pool = new FramePool({ threads: 2 });
    const report = await exportView({ pool, view, output, checkpointBytes: 4 * 1024 * 1024, ...options });
    await output.finish();
    return { ...report, resumedFrom: output.resumedFrom };
  }

  /** True when exporting the volume gives the bytes of the file at `path`. */
  async readsAs(volumeId: VolumeId, path: string): Promise<boolean> {
    const out = this.path(`out-${systemRandom.bytes(4).toString('hex')}`);
    await this.export(await this.view(volumeId), out);
    return (await readFile(out)).equals(await readFile(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Writes a sparse image: `data` bytes of the generator at each offset. */
export async function writeSparse(
  path: string,
  sizeBytes: number,
  pieces: readonly { offset: number; length: number }[],
  seed = 1,
): Promise<void> {
  const random = seededRandom(seed);
  await writeFile(path, '');
  const handle = await open(path, 'r+');
  try {
    await handle.truncate(sizeBytes);
    for (const { offset, length } of pieces) await handle.write(random.bytes(length), 0, length, offset);
  } finally {
    await handle.close();
  }
}
