/** Explores a model from its first state, breadth first, so that the first counterexample is a shortest one. */
import { GOOD_HABITS, Model, type Habits, type Rules } from './model.ts';
import { Layout, State, type Bounds } from './model-state.ts';

export interface Explored {
  readonly states: number;
  readonly steps: number;
  /** All states within the bounds were seen. */
  readonly isComplete: boolean;
  /** What is broken, and the steps to it. */
  readonly violation: { readonly message: string; readonly path: readonly string[] } | undefined;
}

export interface ExploreOptions {
  /** Asked of every state that is looked at; a text tells what is wrong with it. */
  readonly visit?: (model: Model, state: State, index: number) => string | undefined;
  /** Steps that are taken first, by their names. */
  readonly path?: readonly string[];
}

/** Takes the step of that name. */
function stepTo(model: Model, state: State, name: string): State {
  let found: State | undefined;
  const names: string[] = [];
  model.steps(state, (one, reached) => {
    names.push(one);
    if (one === name) found = reached;
  });
  if (found === undefined) throw new Error(`there is no step "${name}" but ${names.join(', ')}`);
  model.atOnce(found);
  return found;
}

export function explore(
  bounds: Bounds,
  rules: Rules,
  habits: Habits = GOOD_HABITS,
  options: ExploreOptions = {},
): Explored {
  const layout = new Layout(bounds);
  const model = new Model(layout, rules, habits);
  let first = model.initial(
    new State(
      layout,
      Array.from({ length: layout.length }, () => 0),
    ),
  );
  for (const name of options.path ?? []) first = stepTo(model, first, name);
  const seen = new HashSet(bounds.statesMax);
  seen.add(first.hash());
  const parents = [-1];
  const names = ['begin'];
  const interned = new Map<string, string>();
  let frontier: { readonly state: State; readonly index: number }[] = [{ state: first, index: 0 }];
  let steps = 0;
  const pathTo = (index: number, last: string[]): string[] => {
    const path = last;
    for (let at = index; at > 0; at = parents[at] as number) path.unshift(names[at] as string);
    return path;
  };
  const found = (message: string, index: number, last: string[] = []): Explored => ({
    states: seen.size,
    steps,
    isComplete: false,
    violation: { message, path: pathTo(index, last) },
  });
  while (frontier.length > 0) {
    const next: typeof frontier = [];
    for (const { state, index } of frontier) {
      const problem = model.violation(state) ?? options.visit?.(model, state, index);
      if (problem !== undefined) return found(problem, index);
      let last = '';
      try {
        model.steps(state, (name, reached) => {
          steps += 1;
          last = name;
          model.atOnce(reached);
          const hash = reached.hash();
          if (!seen.add(hash)) return;
          let same = interned.get(name);
          if (same === undefined) interned.set(name, (same = name));
          next.push({ state: reached, index: parents.length });
          parents.push(index);
          names.push(same);
        });
      } catch (error) {
        return found((error as Error).message, index, [`(after ${last})`]);
      }
      if (seen.size > bounds.statesMax) return { states: seen.size, steps, isComplete: false, violation: undefined };
    }
    frontier = next;
  }
  return { states: seen.size, steps, isComplete: true, violation: undefined };
}

/** Numbers of 53 bits, by open addressing: a set of the language takes several times as long. */
class HashSet {
  size = 0;
  readonly #slots: Float64Array;

  constructor(countMax: number) {
    this.#slots = new Float64Array(2 ** Math.ceil(Math.log2(countMax * 1.5 + 100_000)));
  }

  /** False when it was there. */
  add(hash: number): boolean {
    const key = hash + 1;
    const mask = this.#slots.length - 1;
    for (let at = (hash % 0x7fffffff) & mask; ; at = (at + 1) & mask) {
      const found = this.#slots[at];
      if (found === key) return false;
      if (found !== 0) continue;
      this.#slots[at] = key;
      this.size += 1;
      return true;
    }
  }
}
