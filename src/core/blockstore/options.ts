import type { Clock, Random } from '../kit/index.ts';
import type { ObjectStore } from '../objectstore/index.ts';
import type { KeyRing } from './sealing/key-ring.ts';

/** The components that the block store works with, injected. */
export interface BlockStoreOptions {
  readonly objects: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  /** Remembers the newest version seen of each document; absent where nobody remembers. */
  readonly witness?: Witness;
  /** The unlocked key of the store; absent in a store without one, and where it is not unlocked. */
  readonly keys?: KeyRing;
}

/** What reading a document takes. */
export type DocumentReading = Pick<BlockStoreOptions, 'objects' | 'witness' | 'keys'>;

/** What reading segments and maps takes. */
export type DataReading = DocumentReading;

/**
 * Remembers, outside the store, the newest version that was seen of each document, and the end of each volume's log
 * (under `volumes/<volumeId>/log`), so that an older one which is put in its place is noticed, and one that vanished.
 */
export interface Witness {
  /** The newest version seen of the document; undefined when it was never seen. */
  newest(key: string): number | undefined;
  /** Takes note that the document was read or written at this version. */
  saw(key: string, version: number): void;
  /** The document is gone for good reason. */
  forget(key: string): void;
  /** Everything that was seen and not forgotten. */
  known(): Iterable<string>;
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
