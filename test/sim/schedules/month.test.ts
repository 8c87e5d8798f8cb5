/** A month of schedules, thinning, deletes and gc under a virtual clock: what is kept is exactly what the policy says. */
import { expect, it } from 'vitest';
import { Month } from './month.ts';

const first = Number(process.env['SGW_SEED'] ?? 1);

it(
  `seed ${String(first)}: each day exactly what the policy says is kept, and in the end nothing else is left`,
  { timeout: 300_000 },
  async () => {
    const counts = await new Month({ seed: first, days: 31 }).run();
    for (const [name, count] of Object.entries(counts)) expect(count, name).toBeGreaterThan(0);
  },
);
