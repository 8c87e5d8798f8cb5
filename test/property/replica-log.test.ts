/** Any sequence of sending, losing and coming back between a holder and a replica log. SGW_SEED=N replays a run. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { ReplicaScene } from './replica-log-scene.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261130);

const STEPS = {
  write: async (scene, count) => scene.write(1 + (count % 6)),
  send: async (scene, count) => scene.send(1 + (count % 8)),
  sync: async (scene) => scene.sync(),
  upload: async (scene, count) => {
    scene.upload(1 + (count % 10));
  },
  tell: async (scene) => {
    scene.tell();
  },
  disconnect: async (scene) => {
    scene.isConnected = false;
  },
  killReplica: async (scene) => scene.killReplica(),
  cutReplica: async (scene) => scene.cutReplica(),
  closeReplica: async (scene) => scene.closeReplica(),
  restartHolder: async (scene) => scene.restartHolder(),
  cutHolder: async (scene) => scene.cutHolder(),
} as const satisfies Record<string, (scene: ReplicaScene, count: number) => Promise<void>>;

const WEIGHTS: Record<keyof typeof STEPS, number> = {
  write: 14,
  send: 18,
  sync: 6,
  upload: 5,
  tell: 3,
  disconnect: 2,
  killReplica: 2,
  cutReplica: 3,
  closeReplica: 2,
  restartHolder: 2,
  cutHolder: 2,
};

const step = fc.oneof(
  ...Object.entries(WEIGHTS).map(([name, weight]) => ({
    weight,
    arbitrary: fc.record({ name: fc.constant(name as keyof typeof STEPS), count: fc.nat(100) }),
  })),
);

describe('a replica log', () => {
  it(
    'C13: holds what was sent, whatever happens to it; and says so when it may not',
    { timeout: 300_000 },
    async () => {
      const sum: Record<string, number> = {};
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 80 }), fc.nat(), async (steps, randomSeed) => {
          const scene = new ReplicaScene(seededRandom(randomSeed));
          await scene.openHolder();
          await scene.openReplica();
          for (const { name, count } of steps) {
            await STEPS[name](scene, count);
            await scene.check();
          }
          for (const [name, count] of Object.entries(scene.counts)) sum[name] = (sum[name] ?? 0) + count;
          await scene.holder.close();
          await scene.replica.close();
        }),
        { seed, numRuns: Number(process.env['SGW_RUNS'] ?? 150) },
      );
      // It has happened.
      for (const [name, count] of Object.entries(sum)) expect(count, name).toBeGreaterThan(0);
    },
  );
});
