/** What `store check` says of a dialect: its own probes, over the simulated server, with that one's faults. */
import { probeStore } from '../../../src/core/gateway/store-probe.ts';
import type { StoreCheckDocument } from '../../../src/core/localapi/index.ts';
import { withRetry } from '../../../src/core/objectstore/index.ts';
import { FaultPlan } from '../fault-plan.ts';
import { Choices } from '../random.ts';
import { Tally } from '../tally.ts';
import { World } from '../world.ts';
import { bucketStores } from './bucket-stores.ts';
import type { Dialect } from './servers.ts';

const STEPS_MAX = 5000;

export async function probeDialect(dialect: Dialect, seed: number): Promise<StoreCheckDocument> {
  // Whoever tries a store is there until the end.
  const rates = { ...dialect.rates, crash: 0, stall: 0 };
  const plan = new FaultPlan({ rates, delayMaxMs: 60_000 });
  const world = new World({ choices: Choices.named(seed, 'world'), plan, tally: new Tally() });
  const stores = bucketStores(dialect)({ world, seed, observe: () => undefined, listPage: 1000 });
  const process = world.newProcess('probe');
  const clock = world.clockOf(process);
  const objects = withRetry(stores.of(process), { clock, random: Choices.named(seed, 'retry').random });
  const { signal } = new AbortController();
  let check: StoreCheckDocument | undefined;
  let failure: Error | undefined;
  probeStore({ objects, clock, random: Choices.named(seed, 'probe').random, signal }).then(
    (document) => {
      check = document;
    },
    (error: unknown) => {
      failure = error instanceof Error ? error : new Error(String(error));
    },
  );
  for (let steps = 0; check === undefined; steps++) {
    if (failure !== undefined) throw failure;
    if (steps > STEPS_MAX) throw new Error(`the probes do not come to an end over ${dialect.name}`);
    if (world.busy) await world.step();
    else await new Promise(setImmediate);
  }
  return check;
}
