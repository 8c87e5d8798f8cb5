/** gc stopped, and told nothing, at every call of the store. */
import { describe, expect, it } from 'vitest';
import { collectGarbage } from '../../../src/core/blockstore/gc/index.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { withFaults } from '../../../src/core/objectstore/index.ts';
import { Crowd } from './gc-crowd.ts';
import { HookedStore } from './gc-rig.ts';

/** Calls of the store that a gc of the crowd makes. */
async function callsOfGc(): Promise<number> {
  const crowd = await Crowd.gather();
  let calls = 0;
  const counted = new HookedStore(crowd.rig.below, () => {
    calls += 1;
  });
  await crowd.rig.gc(0, crowd.rig.over(counted));
  return calls;
}

async function expectCollected(crowd: Crowd, at: number): Promise<void> {
  expect(await crowd.broken(), `after a failure at call ${String(at)}`).toEqual([]);
  await crowd.rig.gc();
  expect(await crowd.broken(), `after the gc that follows a failure at call ${String(at)}`).toEqual([]);
  expect(await crowd.rig.garbage(), `what is left after a failure at call ${String(at)}`).toEqual([]);
}

describe('gc of a store with one of everything', () => {
  it('leaves what is live, and nothing else', async () => {
    const crowd = await Crowd.gather();
    const report = await crowd.rig.gc();
    expect(report.purgedVolumes).toHaveLength(1);
    expect(report.roots).toMatchObject({ volumes: 2, deletedVolumes: 1, snapshots: 1 });
    expect(await crowd.broken()).toEqual([]);
    expect(await crowd.rig.garbage()).toEqual([]);
    expect(await crowd.rig.keys('volumes/')).toHaveLength(
      (await crowd.rig.keys('volumes/')).filter((key) =>
        crowd.volumes.some(({ entry }) => key.includes(entry.volumeId)),
      ).length,
    );
  });

  it(
    'may be killed at any call: every root reads as before, and the next gc finishes',
    { timeout: 120_000 },
    async () => {
      const calls = await callsOfGc();
      expect(calls).toBeGreaterThan(100);
      for (let last = 0; last < calls; last++) {
        const crowd = await Crowd.gather();
        let made = 0;
        const dies = new HookedStore(crowd.rig.below, () => {
          made += 1;
          if (made > last) throw new Error('killed');
        });
        await expect(crowd.rig.gc(0, crowd.rig.over(dies))).rejects.toThrow('killed');
        await expectCollected(crowd, last);
      }
    },
  );

  it.each(['lostReply', 'precondition412', 'error500'] as const)(
    'may meet %s at any call that changes something: every root reads as before, and the next gc finishes',
    { timeout: 120_000 },
    async (fault) => {
      for (const operation of ['put', 'delete'] as const) {
        for (let skip = 0; ; skip++) {
          const crowd = await Crowd.gather();
          const faulty = withFaults(crowd.rig.below, {
            rules: [{ fault, operation, skip, times: 1 }],
            random: seededRandom(1),
          });
          const options = crowd.rig.over(faulty.store);
          await collectGarbage(options, { graceMs: 0 }).catch(() => undefined);
          if (faulty.injected.length === 0) break;
          await expectCollected(crowd, skip);
        }
      }
    },
  );
});
