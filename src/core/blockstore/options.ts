import type { Clock, Random } from '../kit/index.ts';
import type { ObjectStore } from '../objectstore/index.ts';
import type { RecoveryPolicy } from './recovery-policy.ts';
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

/** Asked of the head that a take-over changes (rule 7 of docs/adr/0025-groups.md). */
export interface HeadCondition {
  /** Has to be a member of the in-sync set, unless loss is accepted. */
  readonly member: string;
  readonly acceptLoss: boolean;
}

/** The in-sync set in the head of a volume that is open for writing. */
export interface InSyncWriter {
  readonly epoch: number;
  /** Members' gateway ids; empty outside a group. */
  readonly inSync: readonly string[];
  /**
   * Durable when it resolves. Empty: the volume leaves its group.
   * @throws fenced; others, such as unavailable: not known whether it was changed, until a later call succeeds
   */
  setInSync(members: readonly string[], signal?: AbortSignal): Promise<void>;
}

export interface Cancellable {
  readonly signal?: AbortSignal;
}

export interface WriterOptions extends Cancellable {
  readonly holder: Holder;
  /** The account whose data is written (C17). */
  readonly accountId: string;
  /** Not for a volume that is in a group: for that there is `condition`. */
  readonly takeOver?: boolean;
  /** Takes the volume over from whoever holds it, if its head allows that. */
  readonly condition?: HeadCondition;
  /** How long the writer trusts that its epoch is the newest, below the time for which a deleted volume can come back. */
  readonly trustMs?: number;
  /** Makes each checkpoint of a consistent state a recovery point, thinned by this; without it none is added. */
  readonly recovery?: RecoveryPolicy;
}

/** Passes `signal` on only when there is one (exactOptionalPropertyTypes). */
export const withSignal = (signal: AbortSignal | undefined): Cancellable => (signal === undefined ? {} : { signal });
