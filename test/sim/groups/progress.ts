/** When nothing more fails, somebody goes on: from a state, one fair course of what the nodes do by themselves. */
import type { Model } from './model.ts';
import type { State } from './model-state.ts';

/** What is done first when several things can be; time goes on when nothing else can happen. */
const ORDER = [
  ...['settle', 'take-over', 'change', 'try again', 'a late', 'deliver', 'restart', 'demote', 'give up', 'sync'],
  ...['connect', 'renew', 'send', 'join', 'begin joining', 'take', 'tick'],
];
const STEPS_MAX = 400;

/** Undefined when somebody goes on in the end; else the last steps. */
export function stuck(model: Model, from: State): string | undefined {
  let state = from;
  const taken: string[] = [];
  for (let i = 0; i < STEPS_MAX; i++) {
    if (model.goesOn(state) || model.needsOperator(state)) return undefined;
    let best: State | undefined;
    let bestRank = ORDER.length;
    let bestName = '';
    model.steps(state, (name, reached, isFault) => {
      if (isFault === true) return;
      const rank = ORDER.findIndex((prefix) => name.startsWith(prefix));
      // Ticks in turn, else none of the others would ever be heard.
      if (rank === -1 || rank >= bestRank) return;
      bestRank = rank;
      best = reached;
      bestName = name;
    });
    if (best === undefined) return `nothing can happen any more after ${taken.slice(-10).join(', ')}`;
    model.atOnce(best);
    state = best;
    taken.push(bestName);
  }
  return `nobody goes on after ${taken.slice(-20).join(', ')}`;
}
