/** C25: an image that is restored and shadowed at once, by a clone of the snapshot; restarted, found again, and detached. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AttachmentDocument } from '../../src/core/localapi/index.ts';
import { KIB, MIB, seededRandom } from '../../src/core/kit/index.ts';
import { LiveHome, type LiveProcess } from './live-home.ts';
import { readAll, SLOW, SnapshotHome } from './snapshot-home.ts';

let here: SnapshotHome;
let live: LiveHome;
let source: Buffer;
let image: string;
let snapshotId: string;

beforeEach(async () => {
  here = await SnapshotHome.start(12);
  ({ live, source, image, snapshotId } = here);
  await live.alone('configure', { mode: 'shadowing' });
});

afterEach(async () => {
  await here[Symbol.asyncDispose]();
});

async function begin(process: LiveProcess, more: object = {}): Promise<AttachmentDocument> {
  const wish = { snapshot: 'v1', image, attach: true, exportName: 'disk', rateBytes: SLOW, ...more };
  const { export: served } = await process.call('snapshot.restore', wish);
  if (served === null) throw new Error('nothing is served');
  return served;
}

const write = async (process: LiveProcess, at: number, data: Buffer): Promise<void> =>
  here.write(process, 'disk', at, data);

async function until(process: LiveProcess, isSo: (now: AttachmentDocument) => boolean): Promise<AttachmentDocument> {
  const end = Date.now() + 30_000;
  for (;;) {
    await delay(20);
    const [now] = process.serving.documents();
    if (now !== undefined && isSo(now)) return now;
    if (Date.now() > end) throw new Error(`waited in vain: ${JSON.stringify(now)}`);
  }
}

const isLevel = ({ shadow, dirtyBytes }: AttachmentDocument): boolean => shadow?.phase === 'steady' && dirtyBytes === 0;

/** What a snapshot of the volume holds. */
async function snapshotOf(process: LiveProcess, name: string): Promise<Buffer> {
  const { snapshotId: id } = await process.call('snapshot.create', { volume: 'disk', name });
  const end = Date.now() + 30_000;
  while ((await process.call('snapshot.show', { snapshot: id })).state !== 'completed' && Date.now() < end)
    await delay(20);
  const path = join(live.directory, `${name}.img`);
  await process.call('snapshot.export', { snapshot: id, path });
  return readFileSync(path);
}

describe('a restore that is shadowed', () => {
  it('C25: starts as a clone of the snapshot, is written, snapshotted while it is restored, and ends as any image', async () => {
    await using process = await live.process();
    await process.serve();
    const served = await begin(process);
    expect(served).toMatchObject({ kind: 'volume', name: 'disk', image, restore: { state: 'restoring' } });
    expect(served.shadow?.phase).toBe('steady');
    await write(process, 10 * MIB + 77, seededRandom(1).bytes(100_000));
    await write(process, 12 * MIB, seededRandom(2).bytes(600 * KIB));
    expect((await snapshotOf(process, 'while')).equals(source)).toBe(true);
    expect(process.serving.documents()[0]?.restore?.state).toBe('restoring');
    const { uploadedBytes } = process.serving.ofVolume(served.volumeId ?? '')?.volume?.stats ?? { uploadedBytes: 0 };
    expect(uploadedBytes).toBeGreaterThan(600 * KIB);
    // Nothing of the snapshot was sent.
    expect(uploadedBytes).toBeLessThan(2 * MIB);
    await process.call('volume.detach', { volume: 'disk' });
    await process.call('snapshot.restore', { snapshot: 'v1', image, resume: true, attach: true, exportName: 'disk' });
    await until(process, (now) => now.restore?.state === 'completed' && isLevel(now));
    await write(process, 3 * MIB, seededRandom(3).bytes(9000));
    expect((await snapshotOf(process, 'after')).equals(source)).toBe(true);
    await process.call('volume.detach', { volume: 'disk' });
    expect(readFileSync(image).equals(source)).toBe(true);
    // From now on it is the image of its volume.
    await process.call('volume.attach', { volume: 'disk', image });
    await until(process, isLevel);
    expect((await readAll(process, 'disk')).equals(source)).toBe(true);
  });

  it('C25: goes on after a restart, and compares nothing', async () => {
    {
      await using process = await live.process();
      await process.serve();
      await begin(process);
      await write(process, 10 * MIB, seededRandom(1).bytes(100_000));
      await until(process, isLevel);
    }
    await using again = await live.process();
    await again.serve();
    const [now] = again.serving.documents();
    expect(now).toMatchObject({ kind: 'volume', shadow: { phase: 'steady' }, restore: { state: 'restoring' } });
    expect((await readAll(again, 'disk')).equals(source)).toBe(true);
  });

  it('C24, C25: goes on in another home with the same volume, taken over from the one that is lost', async () => {
    const { store } = (await live.alone('status', {})) as { store: { description: string } };
    let volumeId: string | null;
    {
      await using process = await live.process();
      await process.serve();
      ({ volumeId } = await begin(process));
      await write(process, 10 * MIB, seededRandom(1).bytes(100_000));
      await process.stopUndrained();
    }
    const moved = join(live.directory, 'moved.img');
    copyFileSync(image, moved);
    await live.alone('snapshot.delete', { snapshot: 'v1' });
    await using other = await LiveHome.start(store.description);
    await other.alone('configure', { mode: 'shadowing' });
    await using process = await other.process();
    await process.serve();
    const wish = { snapshot: snapshotId, image: moved, resume: true, attach: true, exportName: 'disk' };
    const { export: served } = await process.call('snapshot.restore', wish);
    expect(served).toMatchObject({ kind: 'volume', volumeId });
    await until(process, (now) => isLevel(now) && now.restore?.state === 'completed');
    expect((await readAll(process, 'disk')).equals(source)).toBe(true);
    await process.call('volume.detach', { volume: 'disk' });
    expect(readFileSync(moved).equals(source)).toBe(true);
  });

  it('a name that is taken is refused before the image is touched', async () => {
    await using process = await live.process();
    await process.serve();
    writeFileSync(image, 'precious');
    await expect(begin(process, { exportName: 'golden', force: true })).rejects.toMatchObject({
      code: 'volume-exists',
    });
    expect(readFileSync(image, 'utf8')).toBe('precious');
  });
});
