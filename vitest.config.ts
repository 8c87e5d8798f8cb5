/** How the tests run: see docs/TESTING.md. Tests start real processes and share few cores, so time limits are wide. */
import os from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What tests take from the environment. The rest is for the gateway of whoever runs them, which no test may come upon. */
const OF_TESTS = /^SGW_(?:SEED|KILLS|(?:\w+_)?RUNS|REQUIRE_TOOLS|BOOT_KERNEL|TEST_\w+)$/;
for (const name of Object.keys(process.env))
  if (name.startsWith('SGW_') && !OF_TESTS.test(name)) Reflect.deleteProperty(process.env, name);

/** What goes by the machine's time: one file after the other, when all others are done. */
const ALONE = ['test/cli/gateway.test.ts', 'test/unit/nbd/limits.test.ts', 'test/integration/put-counts.test.ts'];
/** Two where there are two cores: files wait for processes, disks and timers as much as they compute. */
const WORKERS = Math.max(2, os.availableParallelism() - 1);
/** Folders whose files take long begin first, so that no worker is left with one of them at the end. */
const LONG = ['/test/integration/', '/test/fault/', '/test/sim/'];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean => LONG.some((folder) => moduleId.includes(folder));
    const sorted = await super.sort(files);
    return [...sorted.filter((file) => isLong(file)), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 120_000,
    unstubEnvs: true,
    restoreMocks: true,
    sequence: { sequencer: LongFirst },
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: ['test/**/*.test.ts'],
          exclude: ALONE,
          globalSetup: ['test/support/shared-radosgw.ts'],
          maxWorkers: WORKERS,
          sequence: { groupOrder: 0 },
        },
      },
      { extends: true, test: { name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
});
