import type { Clock, Random } from '../kit/index.ts';
import type { ObjectStore } from '../objectstore/index.ts';

/** The components that the block store works with, injected. */
export interface BlockStoreOptions {
  readonly objects: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
}

/** A gateway that opens a volume for writing, as `head.json` names it. */
export interface Holder {
  readonly gatewayId: string;
  readonly name: string;
}

export interface Cancellable {
  readonly signal?: AbortSignal;
}

/** Passes `signal` on only when there is one (exactOptionalPropertyTypes). */
export const withSignal = (signal: AbortSignal | undefined): Cancellable => (signal === undefined ? {} : { signal });
