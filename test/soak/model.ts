/** What the soak knows of its gateway: volumes and snapshots, and the states that each may have after what was killed. */
import { stateName, type DiskState } from './disk-state.ts';

/** States that something may have, by name. */
export type States = Map<string, DiskState>;

export interface ModelVolume {
  readonly name: string;
  readonly image: string;
  /** What the image file holds; undefined while there is no file. */
  imageState: DiskState | undefined;
  /** States that its last consistent commit may have. */
  possible: States;
  status: 'available' | 'importing' | 'deleted';
}

export interface ModelSnapshot {
  readonly name: string;
  readonly volume: string;
  /** States that it may have: one, once it was looked at. */
  states: States;
}

export class Model {
  readonly volumes = new Map<string, ModelVolume>();
  /** Completed ones, and those that this round makes. */
  readonly snapshots = new Map<string, ModelSnapshot>();
  /** Made by commands that were killed, and not completed when last looked at: what they sent may still take effect. */
  readonly undecided = new Map<string, ModelSnapshot>();
  #named = 0;
  #generation = 0;

  nextName(prefix: string): string {
    this.#named += 1;
    return `${prefix}${this.#named}`;
  }

  nextGeneration(): number {
    this.#generation += 1;
    return this.#generation;
  }

  volumesIn(...statuses: ModelVolume['status'][]): ModelVolume[] {
    return [...this.volumes.values()].filter((volume) => statuses.includes(volume.status));
  }
}

export const oneState = (state: DiskState): States => new Map([[stateName(state), state]]);

/** @throws Error unless there is exactly one */
export function theState(states: States): DiskState {
  const [state, other] = states.values();
  if (state === undefined || other !== undefined) throw new Error(`${states.size} states where one is expected`);
  return state;
}
