/**
 * The protocol of groups, explored (docs/adr/0025-groups.md, "Checked"): every order of every step within the bounds. `SGW_MODEL_RUNS`
 * adds the wider bounds, which take minutes.
 */
import { describe, expect, it } from 'vitest';
import * as rules from '../../../src/core/replication/rules.ts';
import { explore } from './explore.ts';
import { Model } from './model.ts';
import { Layout, type Bounds } from './model-state.ts';
import { habitsOf, HANDED_ON, MUTATIONS, QUIET, rulesOf } from './mutations.ts';
import { stuck } from './progress.ts';

interface Explored extends Partial<Bounds> {
  readonly name: string;
  /** Steps that are taken before everything is explored. */
  readonly path?: readonly string[];
}

const BOUNDS: readonly Explored[] = [
  { name: 'nothing fails, and messages take their time', writes: 2 },
  { name: 'a process ends', crashes: 1 },
  { name: 'a process ends, a connection ends', crashes: 1, linkCuts: 1 },
  { name: 'a power cut', powerCuts: 1 },
  { name: 'an outcome that is not known', lostReplies: 1, epochs: 2 },
  { name: 'a planned take-over, an opening anew', releases: 1, reopenings: 1 },
  {
    ...{ name: 'a replica is started again, that took over from a holder which does not know', path: HANDED_ON.path },
    ...HANDED_ON.bounds,
  },
];

const WIDE: typeof BOUNDS = [
  { name: 'three nodes', nodes: 3, writes: 0, epochs: 2 },
  { name: 'two records, a process ends', writes: 2, crashes: 1 },
  { name: 'two records, an opening anew, a planned take-over', writes: 2, crashes: 0, reopenings: 1, releases: 1 },
  { name: 'a process ends, a power cut', crashes: 1, powerCuts: 1 },
  { name: 'two power cuts', powerCuts: 2 },
  { name: 'a power cut, a connection ends, an outcome that is not known', powerCuts: 1, linkCuts: 1, lostReplies: 1 },
  { name: 'a process ends, an outcome that is not known', crashes: 1, lostReplies: 1 },
  { name: 'a longer term', termTicks: 2, crashes: 1, linkCuts: 1 },
  { name: 'three nodes, one record', nodes: 3, epochs: 2 },
];

const told = (path: readonly string[]): string => path.map((step) => `\n  ${step}`).join('');

/** Every so many states are asked whether somebody goes on when nothing more fails. */
const ASKED_EACH = 100;

describe('the model of a group', () => {
  const all = process.env['SGW_MODEL_RUNS'] === undefined ? BOUNDS : [...BOUNDS, ...WIDE];
  it.each(all)('C26, C27: $name', { timeout: 1_800_000 }, ({ name, path = [], ...some }) => {
    const bounds: Bounds = { ...QUIET, statesMax: 8_000_000, ...some };
    const calm = new Model(new Layout({ ...bounds, epochs: bounds.epochs + 3 }), rules);
    const { states, steps, isComplete, violation } = explore(bounds, rules, undefined, {
      path,
      visit: (_model, state, index) => (index % ASKED_EACH === 0 ? stuck(calm, state) : undefined),
    });
    expect(violation === undefined ? '' : `${violation.message}${told(violation.path)}`).toBe('');
    expect(isComplete, 'all states were seen').toBe(true);
    console.log(`${name}: ${states} states, ${steps} steps`);
  });

  it.each(MUTATIONS)('is broken when $name', (mutation) => {
    const { path = [] } = mutation;
    const { violation } = explore({ ...QUIET, ...mutation.bounds }, rulesOf(mutation), habitsOf(mutation), { path });
    expect(violation?.path.length ?? 0).toBeGreaterThan(0);
  });
});
