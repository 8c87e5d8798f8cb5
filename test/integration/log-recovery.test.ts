/** What a gateway acknowledged before another one took the volume over, and how it is had again. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { changeDocument, type Head } from '../../src/core/blockstore/index.ts';
import { seededRandom, systemClock, systemRandom } from '../../src/core/kit/index.ts';
import { openObjectStore } from '../../src/core/objectstore/index.ts';
import { LiveHome, PAGE, type LiveProcess } from './live-home.ts';

const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const SIZE = 4 << 20;

/** Writes, writes to parts of pages, zeroes and trims at random, into the volume and into `model`. */
async function change(process: LiveProcess, model: Buffer, seed: number, count: number): Promise<void> {
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random.float() * limit);
  const { device, release } = await process.serving.open('db');
  for (let i = 0; i < count; i++) {
    const unit = [1, 512, PAGE][below(3)] ?? PAGE;
    const offset = below((model.length - 64 * 1024) / unit) * unit;
    const length = (1 + below(random.float() < 0.8 ? 8 : 65_536 / unit)) * unit;
    if (random.float() < 0.7) {
      const data = random.bytes(Math.min(length, 65_536));
      await device.write(offset, data);
      data.copy(model, offset);
    } else {
      await (random.float() < 0.5 ? device.trim(offset, length) : device.writeZeroes(offset, length));
      model.fill(0, offset, offset + length);
    }
  }
  await release();
}

async function contents(process: LiveProcess, exportName: string, sizeBytes: number): Promise<Buffer> {
  const { device, release } = await process.serving.open(exportName);
  const all = Buffer.alloc(sizeBytes, 0xee);
  for (let at = 0; at < sizeBytes; at += 1 << 20)
    await device.read(at, all.subarray(at, Math.min(sizeBytes, at + (1 << 20))));
  await release();
  return all;
}

it(`C4 C6 what was acknowledged before a take-over is recovered exactly, whatever was uploaded and resized before, and however much was committed since (seed ${SEED})`, async () => {
  await using first = await LiveHome.start();
  const model = Buffer.alloc(SIZE);
  await using a = await first.process();
  await a.serve();
  await a.call('volume.attach', { volume: 'db' });
  await change(a, model, SEED, 60);
  await a.call('snapshot.create', { volume: 'db', name: 'some' });
  await change(a, model, SEED + 1, 40);
  await a.call('volume.resize', { volume: 'db', sizeBytes: SIZE + 12_288 });
  const grown = Buffer.concat([model, Buffer.alloc(12_288)]);
  await change(a, grown, SEED + 2, 60);

  await using second = await LiveHome.start(join(first.home, 'store'));
  await using b = await second.process();
  await b.serve();
  await b.call('volume.attach', { volume: 'db', takeOver: true });
  await b.call('volume.configure', { volume: 'db', sealIntervalMs: 3_600_000 });
  // Many commits: the newest checkpoint is far behind the take-over.
  for (let i = 0; i < 80; i++) {
    await b.write('db', i, 0xbb);
    await b.serving.ofVolume((await b.call('volume.show', { volume: 'db' })).volumeId)?.volume?.drain();
  }

  // The first gateway learns of it, and acknowledges nothing more.
  const { device } = await a.serving.open('db');
  await expect(
    a.serving.ofVolume((await a.call('volume.show', { volume: 'db' })).volumeId)?.volume?.drain(),
  ).rejects.toThrow(/taken over|fenced/);
  expect(() => device.write(0, Buffer.alloc(PAGE))).toThrow(/taken over/);
  const told = await a.call('doctor', {});
  expect(told.ok).toBe(false);
  expect(told.checks.find(({ name }) => name.startsWith('log of'))).toMatchObject({ state: 'failed', kind: 'fenced' });
  expect(told.checks.find(({ name }) => name.startsWith('log of'))?.hint).toContain(
    'sgw doctor --recover-log db --into NAME',
  );

  const recovered = await a.call('volume.recover-log', { volume: 'db', into: 'saved' });
  expect(recovered).toMatchObject({ name: 'saved', sizeBytes: grown.length, damage: null });
  await a.call('volume.attach', { volume: 'saved', readOnly: true });
  expect((await contents(a, 'saved', grown.length)).equals(grown)).toBe(true);
  expect((await a.call('snapshot.list', {})).snapshots.map(({ name }) => name)).toEqual(['some']);

  // Once the other one has let go, the log is set aside, and still gives the same.
  await b.call('volume.detach', { volume: 'db' });
  await a.call('volume.detach', { volume: 'db', force: true, drain: false });
  await a.call('volume.attach', { volume: 'db' });
  const folder = join(first.home, 'volumes', recovered.fromVolumeId, 'log-overtaken-1');
  const later = await a.call('doctor', {});
  const check = later.checks.find(({ name, state }) => name.startsWith('log of') && state === 'failed');
  expect(check?.message).toContain(folder);
  expect(check?.hint).toContain(`rm -r ${folder}`);
  const again = await a.call('volume.recover-log', { volume: 'db', into: 'again' });
  expect(again).toMatchObject({ log: folder, records: recovered.records });
  await a.call('volume.attach', { volume: 'again', readOnly: true });
  expect((await contents(a, 'again', grown.length)).equals(grown)).toBe(true);
  expect(existsSync(folder)).toBe(true);
  expect(await a.read('db', 79)).toBe(0xbb);
}, 240_000);

it('a log of which nothing is missing in the store, none at all, and one in use are told apart; a taken name stays what it is', async () => {
  await using home = await LiveHome.start();
  await using process = await home.process();
  await process.serve();
  await expect(process.call('volume.recover-log', { volume: 'db', into: 'saved' })).rejects.toMatchObject({
    kind: 'notFound',
    code: 'no-write-log',
  });
  await process.call('volume.attach', { volume: 'db' });
  await process.write('db', 1, 0x11);
  await expect(process.call('volume.recover-log', { volume: 'db', into: 'saved', log: 'log' })).rejects.toMatchObject({
    code: 'log-in-use',
  });
  await process.stopUndrained();
  await using later = await home.process();
  await later.call('volume.create', { name: 'taken', sizeBytes: 1 << 20 });
  await expect(later.call('volume.recover-log', { volume: 'db', into: 'saved' })).rejects.toMatchObject({
    kind: 'conflict',
    code: 'log-not-overtaken',
  });
  expect((await later.call('volume.list', {})).volumes.map(({ name }) => name).sort()).toEqual(['db', 'taken']);
}, 60_000);

it('a state that is not in the store any more is told plainly, and the log stays; a name that is taken too', async () => {
  await using first = await LiveHome.start();
  await using a = await first.process();
  await a.serve();
  await a.call('volume.attach', { volume: 'db' });
  await a.write('db', 1, 0x11);
  await a.stopUndrained();
  await using second = await LiveHome.start(join(first.home, 'store'));
  await using b = await second.process();
  await b.serve();
  await b.call('volume.attach', { volume: 'db', takeOver: true });
  await b.write('db', 2, 0x22);
  await b.call('volume.detach', { volume: 'db' });

  await using later = await first.process();
  await later.call('volume.create', { name: 'taken', sizeBytes: 1 << 20 });
  await expect(later.call('volume.recover-log', { volume: 'db', into: 'taken' })).rejects.toMatchObject({
    code: 'volume-exists',
  });
  const { volumeId } = await later.call('volume.show', { volume: 'db' });
  const objects = await openObjectStore(join(first.home, 'store'));
  await changeDocument<Head>(
    { objects, clock: systemClock, random: systemRandom },
    `volumes/${volumeId}/head.json`,
    (head) => ({
      ...head,
      ...(head.recovery === undefined ? {} : { recovery: { ...head.recovery, points: [] } }),
    }),
  );
  await objects.close();
  await expect(later.call('volume.recover-log', { volume: 'db', into: 'saved' })).rejects.toMatchObject({
    kind: 'notFound',
    code: 'log-base-gone',
    hint: expect.stringContaining('sgw recovery-point list db') as string,
  });
  expect(readdirSync(join(first.home, 'volumes', volumeId, 'log')).length).toBeGreaterThan(0);
  expect((await later.call('volume.list', {})).volumes.map(({ name }) => name).sort()).toEqual(['db', 'taken']);
}, 60_000);
