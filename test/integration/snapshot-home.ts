/** A home with a snapshot `v1` of an image in its store, and the path of an image that it is to be restored to. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MIB, seededRandom } from '../../src/core/kit/index.ts';
import { LiveHome, type LiveProcess } from './live-home.ts';

export const SIZE = 16 * MIB + 1024;
/** As a rate: a block or two, and then a long time nothing. */
export const SLOW = 1024;

export class SnapshotHome implements AsyncDisposable {
  /** Folder of the store. */
  readonly stores: string;
  readonly live: LiveHome;
  /** What the image holds that is restored: the snapshot, and what was written with `write` since. */
  readonly source: Buffer;
  readonly image: string;
  readonly snapshotId: string;

  private constructor(stores: string, live: LiveHome, source: Buffer, snapshotId: string) {
    this.stores = stores;
    this.live = live;
    this.source = source;
    this.image = join(live.directory, 'restored.img');
    this.snapshotId = snapshotId;
  }

  static async start(seed: number): Promise<SnapshotHome> {
    const stores = mkdtempSync(join(tmpdir(), 'sgw-store-'));
    const live = await LiveHome.start(join(stores, 'store'));
    const source = seededRandom(seed).bytes(SIZE);
    source.fill(0, 5 * MIB, 9 * MIB);
    const file = join(live.directory, 'golden.img');
    writeFileSync(file, source);
    await live.alone('volume.import', { file, name: 'golden' });
    const { snapshotId } = await live.alone('snapshot.create', { volume: 'golden', name: 'v1' });
    return new SnapshotHome(stores, live, source, snapshotId);
  }

  /** To an export, and so to `source`. */
  async write(process: LiveProcess, exportName: string, at: number, data: Buffer): Promise<void> {
    const opened = await process.serving.open(exportName);
    await opened.device.write(at, data);
    data.copy(this.source, at);
    await opened.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.live[Symbol.asyncDispose]();
    rmSync(this.stores, { recursive: true });
  }
}

/** All that an export shows. */
export async function readAll(process: LiveProcess, exportName: string): Promise<Buffer> {
  const opened = await process.serving.open(exportName);
  const target = Buffer.alloc(SIZE);
  await opened.device.read(0, target);
  await opened.release();
  return target;
}
