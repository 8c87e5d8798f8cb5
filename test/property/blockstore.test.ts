/** Any sequence of operations on volumes, against plain byte arrays. SGW_SEED=N replays a run. */
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { PAGE_BYTES } from '../../src/core/blockstore/index.ts';
import { VolumeMachine, type Step } from './volume-machine.ts';
import { FILLING_COUNT, type Change } from './volume-state.ts';

const seed = Number(process.env['SGW_SEED'] ?? 20261122);

/** Around the start of the volume and around the border between two leaves of the map. */
const page = fc.oneof(
  { weight: 3, arbitrary: fc.nat(40) },
  { weight: 1, arbitrary: fc.integer({ min: 1015, max: 1040 }) },
);
const unaligned = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: PAGE_BYTES - 1 }));
const sizeBytes = fc
  .tuple(fc.oneof(page, page, fc.constant(1041)), unaligned)
  .map(([pages, rest]) => pages * PAGE_BYTES + rest);
const volume = fc.nat(3);
const change: fc.Arbitrary<Change> = fc.record({
  writes: fc.array(fc.record({ page, filling: fc.nat(FILLING_COUNT - 1) }), { maxLength: 6 }),
  unmap: fc.array(
    fc.record({ firstPage: page, pageCount: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constant(1100)) }),
    { maxLength: 1 },
  ),
  creators: fc.nat(2),
});
const changes = fc.array(change, { minLength: 1, maxLength: 9 });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('commit'), volume, change, consistent: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('pipeline'),
      volume,
      changes,
      then: fc.constantFrom('wait', 'close', 'checkpoint'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pipelineThenResize'), volume, changes, sizeBytes }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('resize'), volume, sizeBytes }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom('checkpoint', 'close', 'reopen', 'crash', 'takeOver', 'snapshot'),
      volume,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('crashInFlight'),
      volume,
      changes,
      turns: fc.nat(60),
      takeOver: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('deleteVolume', 'rewrite'), volume }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: 'undelete' }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('deleteSnapshot'), snapshot: fc.nat(7) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('gc'), purge: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('clone'), snapshot: fc.nat(7), growBytes: unaligned }) },
);

describe(`volumes against byte arrays (SGW_SEED=${String(seed)})`, () => {
  it.each([
    ['in a store without a key', false],
    ['C16 in a sealed store', true],
  ])(
    'read back what a byte array says, whatever was done to them, %s',
    { timeout: 120_000 },
    async (_store, sealed) => {
      const steps = fc.array(step, { minLength: 1, maxLength: 30, size: 'max' });
      await fc.assert(
        fc.asyncProperty(sizeBytes, steps, async (size, list) => {
          const machine = await VolumeMachine.start(size, sealed);
          for (const next of list) await machine.run(next);
          await machine.finish();
        }),
        { seed, numRuns: Number(process.env['SGW_RUNS'] ?? 30), interruptAfterTimeLimit: 90_000 },
      );
    },
  );
});
