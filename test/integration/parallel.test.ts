import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeSparse } from '../unit/transfer/rig.ts';
import { TestHome } from './home.ts';

const MIB = 1024 * 1024;
const CLONES = 50;

let home: TestHome;
beforeAll(async () => {
  home = await TestHome.start();
});
afterAll(async () => {
  await home[Symbol.asyncDispose]();
});

test('fifty clones made in parallel by as many processes while an import runs all succeed', async () => {
  await writeSparse(home.path('golden'), 4 * MIB, [{ offset: 0, length: MIB }]);
  await home.call('snapshot.import', { file: home.path('golden'), name: 'golden' });
  await writeSparse(home.path('large'), 150 * MIB, [{ offset: 0, length: 150 * MIB }]);
  const importing = home.spawn('volume.import', { file: home.path('large'), name: 'large' });
  const clones = Array.from({ length: CLONES }, (_, i) =>
    home.spawn('volume.create', { name: `clone-${String(i)}`, fromSnapshot: 'golden' }),
  );
  const outcomes = await Promise.all([importing, ...clones].map((child) => child.ended));
  expect(outcomes.filter((outcome) => outcome.exitCode !== 0)).toEqual([]);
  const { volumes } = await home.call('volume.list', {});
  expect(volumes).toHaveLength(CLONES + 2);
  expect(new Set(volumes.map((volume) => volume.name)).size).toBe(CLONES + 2);
}, 180_000);

test('of creations of one name in parallel one succeeds, and the rest learn why', async () => {
  const tries = await Promise.allSettled(
    Array.from({ length: 8 }, () => home.call('volume.create', { name: 'only', sizeBytes: MIB })),
  );
  expect(tries.filter((entry) => entry.status === 'fulfilled')).toHaveLength(1);
  for (const entry of tries)
    if (entry.status === 'rejected') expect(entry.reason).toMatchObject({ code: 'volume-exists' });
});
