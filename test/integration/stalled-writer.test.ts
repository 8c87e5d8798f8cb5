/** Two processes that import into one volume: one wins, the other is told who, and the data is the winner's. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { stallWriter } from '../soak/stalled.ts';
import { writeSparse } from '../unit/transfer/rig.ts';
import { TestHome, type ChildOutcome } from './home.ts';

const MIB = 1024 * 1024;
const SIZE = 40 * MIB;
const SEED = Number(process.env['SGW_SEED'] ?? 3);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sgw-two-writers-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('a writer that is stopped in the middle of its import', () => {
  it.each([{ at: 'opened' as const }, { at: { segments: 2 } }])(
    'C1, C3 is taken over by another gateway, ends with exit 4 naming it when it goes on, and changes nothing ($at)',
    async ({ at }) => {
      await stallWriter({ folder, random: seededRandom(SEED), at, stallMs: 2000 });
    },
    120_000,
  );
});

/** Two images of the same size, and a volume of that. */
async function prepare(home: TestHome): Promise<readonly [string, string]> {
  const images = [join(folder, 'a.img'), join(folder, 'b.img')] as const;
  for (const [seed, image] of images.entries()) {
    await writeSparse(image, SIZE, [{ offset: 0, length: 30 * MIB }], seed + 1);
  }
  await home.call('volume.create', { name: 'v', sizeBytes: SIZE });
  return images;
}

/** Which of the images the volume holds, byte for byte. */
async function winner(home: TestHome, images: readonly string[]): Promise<string[]> {
  await home.call('snapshot.create', { volume: 'v', name: 'end' });
  const same: string[] = [];
  for (const image of images) if (await home.exportsAs('end', image)) same.push(image);
  return same;
}

const errorOf = (outcome: ChildOutcome): { code: string; message: string } =>
  (outcome.document?.['error'] ?? {}) as { code: string; message: string };

describe('two processes that import into one volume', () => {
  it('C15 of one home: the second waits for the first, and where it may not wait is told its pid', async () => {
    await using home = await TestHome.start();
    const [a, b] = await prepare(home);
    const first = home.spawn('volume.import', { file: a, into: 'v' });
    let isStopped = false;
    first.process.stdout?.on('data', () => {
      isStopped ||= first.process.kill('SIGSTOP');
    });
    await expect.poll(() => isStopped, { timeout: 30_000 }).toBe(true);
    const denied = home.call('volume.import', { file: b, into: 'v' }, { lockTimeoutMs: 300 });
    await expect(denied).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'locked',
      message: expect.stringContaining(String(first.process.pid)) as string,
    });
    const second = home.spawn('volume.import', { file: b, into: 'v' });
    first.process.kill('SIGCONT');
    expect((await first.ended).exitCode).toBe(0);
    expect((await second.ended).exitCode).toBe(0);
    expect(await winner(home, [a, b])).toEqual([b]);
  }, 120_000);

  it('C6 of two homes, both taking over: whoever is told loses, and the data is that of one that succeeded', async () => {
    await using one = await TestHome.start('one', join(folder, 'store'));
    await using other = await TestHome.start('other', join(folder, 'store'));
    const [a, b] = await prepare(one);
    const runs = [
      one.spawn('volume.import', { file: a, into: 'v', takeOver: true }),
      other.spawn('volume.import', { file: b, into: 'v', takeOver: true }),
    ];
    const outcomes = await Promise.all(runs.map(async ({ ended }) => ended));
    const won = [a, b].filter((_, i) => outcomes[i]?.exitCode === 0);
    expect(won.length).toBeGreaterThan(0);
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.exitCode === 0) continue;
      expect(outcome.exitCode).toBe(4);
      expect(errorOf(outcome).code).toBe('fenced');
      expect(errorOf(outcome).message).toContain(i === 0 ? 'gateway other' : 'gateway one');
    }
    const [held] = await winner(one, [a, b]);
    expect(won).toContain(held);
    expect(await one.call('volume.show', { volume: 'v' })).toMatchObject({ holder: null, unfinishedImport: null });
  }, 120_000);
});
