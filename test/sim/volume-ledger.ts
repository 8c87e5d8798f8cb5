/**
 * What one volume may read as: the states that its commits make, in order. What was acknowledged is certain; what was
 * not is decided at the next opening, which takes some prefix of it.
 */
import type { VolumeId } from '../../src/core/kit/index.ts';
import { contentName, describeState, type DiskState } from './disk-state.ts';

/** A rule is broken. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

export function hold(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Violation(message());
}

/** One opening for writing. */
export interface Tenure {
  readonly ledger: VolumeLedger;
  readonly epoch: number;
  /** Index of the last state that its commits made, acknowledged or not. */
  last: number;
  /** Once another opening settled this one: the index of the last state that counts. */
  fencedAt: number | null;
  /** What its holder believes the volume to be. */
  view: DiskState;
  /** False where it was fenced before its opening ended: what it found then is gone. */
  readonly viewKnown: boolean;
}

/** A commit that was asked for. */
export interface Issued {
  readonly tenure: Tenure;
  /** The index of the state that it makes; null when its tenure was over before. */
  readonly index: number | null;
}

export class VolumeLedger {
  readonly volumeId: VolumeId;
  /** What the volume was, is and may be; only the end of it is not certain. */
  readonly states: DiskState[];
  /** Of the last state that was acknowledged, or settled by an opening. */
  certain = 0;
  tenure: Tenure | undefined;
  /** Highest epoch of an opening that succeeded. */
  epoch = 0;
  /** Whether its creation was acknowledged: only then is anything promised. */
  acknowledged = false;
  deletion: 'none' | 'asked' | 'deleted' = 'none';
  /** When its deletion was last asked for or confirmed. */
  deletedAtMs = 0;

  constructor(volumeId: VolumeId, first: DiskState) {
    this.volumeId = volumeId;
    this.states = [first];
  }

  /** The last state that is certain. */
  get now(): DiskState {
    return this.#state(this.certain);
  }

  #state(index: number): DiskState {
    const state = this.states[index];
    hold(state !== undefined, () => `${this.volumeId} has no state ${String(index)}`);
    return state;
  }

  /** The index of the last certain state that was consistent. */
  get certainConsistent(): number {
    return this.states.findLastIndex((state, i) => i <= this.certain && state.consistent);
  }

  /** An opening succeeded: what it found must be what was acknowledged, and a prefix of what was not. */
  opened(epoch: number, found: DiskState): Tenure {
    if (epoch < this.epoch) return { ledger: this, epoch, last: -1, fencedAt: -1, view: found, viewKnown: false };
    hold(epoch > this.epoch, () => `${this.volumeId}: epoch ${String(epoch)} was opened twice`);
    const index = this.indexOf(found, this.certain, true);
    hold(
      index >= 0,
      () =>
        `C1 C5 ${this.volumeId}: epoch ${String(epoch)} opened with ${describeState(found)} (consistent ${String(found.consistent)}), ` +
        `which is no state from ${describeState(this.now)} on: ${this.states
          .slice(this.certain)
          .map((s) => `[${describeState(s)} (consistent ${String(s.consistent)})]`)
          .join(', ')}`,
    );
    this.states.length = index + 1;
    this.certain = index;
    this.epoch = epoch;
    if (this.tenure !== undefined) this.tenure.fencedAt = index;
    this.tenure = { ledger: this, epoch, last: index, fencedAt: null, view: this.#state(index), viewKnown: true };
    return this.tenure;
  }

  /** The index of the first state that reads like `found`, from `from` on; -1 when there is none. */
  indexOf(found: DiskState, from: number, withFlag: boolean): number {
    const name = contentName(found);
    return this.states.findIndex(
      (state, i) => i >= from && (!withFlag || state.consistent === found.consistent) && contentName(state) === name,
    );
  }

  /** A commit was asked for. */
  issue(tenure: Tenure, after: DiskState): Issued {
    tenure.view = after;
    if (tenure.fencedAt !== null) return { tenure, index: null };
    this.states.push(after);
    tenure.last = this.states.length - 1;
    return { tenure, index: tenure.last };
  }

  /** A commit was acknowledged. */
  acknowledge({ tenure, index }: Issued): 'certain' | 'adopted' {
    const counts = index !== null && (tenure.fencedAt === null || index <= tenure.fencedAt);
    hold(
      counts,
      () => `C1 C2 ${this.volumeId}: a commit of epoch ${String(tenure.epoch)} was acknowledged after it was fenced`,
    );
    if (tenure.fencedAt !== null) return 'adopted';
    this.certain = Math.max(this.certain, index);
    return 'certain';
  }
}
