/** Where the stores of a run come from: what each process has, and what is there whoever asks. */
import type { ObjectStore } from '../../src/core/objectstore/index.ts';
import type { StoreChange } from './observed-store.ts';
import type { Process, World } from './world.ts';

export interface Stores {
  /** Answers at once and truly: for what happens before the run, and for looking at its end. */
  readonly base: ObjectStore;
  /** What a process of the world asks. */
  of(process: Process): ObjectStore;
}

export interface StoresParts {
  readonly world: World;
  readonly seed: number;
  /** Told of everything that takes effect, at once. */
  readonly observe: (change: StoreChange) => void;
  /** Objects in one reply to a list. */
  readonly listPage: number;
}

export type MakeStores = (parts: StoresParts) => Stores;
