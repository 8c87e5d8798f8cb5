/** What a running gateway serves, as the verbs on volumes and snapshots see it. */
import type { SgwError } from '../../kit/index.ts';
import type { AttachmentDocument } from '../../localapi/index.ts';
import type { AttachmentState, GatewayState } from '../../state/index.ts';
import type { ServedState, ServedVolume, VolumeStats } from '../../volume/index.ts';

/** A client that uses an export. */
export interface ConnectedClient {
  readonly protocol: 'nbd' | 'iscsi';
  /** Where it comes from: address and port of each connection, or `unix`. */
  readonly remotes: readonly string[];
  /** Its iSCSI name; null over NBD. */
  readonly initiator: string | null;
  /** Who it proved to be, by CHAP or TLS; null when it did not. */
  readonly user: string | null;
  /** By the clock's `nowMs`. */
  readonly sinceMs: number;
  readonly requests: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

export type AttachmentPhase = 'opening' | 'waiting' | 'serving' | 'detaching' | 'ended';

/** How the restore of an image that is served does. */
export interface RestoreReport {
  readonly restoreId: string;
  readonly path: string;
  readonly state: 'restoring' | 'completed';
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly leftMs: number | null;
  readonly demandReads: number;
  readonly demandReadMs: number;
  /** Why it does not go on, or waits. */
  readonly failure: SgwError | undefined;
}

/** How an export does now. */
export interface AttachmentReport {
  readonly record: AttachmentState;
  readonly phase: AttachmentPhase;
  /** Of a served volume; a snapshot that is served is `available`; null while nothing is open. */
  readonly state: ServedState | null;
  /** Why it does not serve, or not as it should; null when all is well. */
  readonly reason: string | null;
  readonly hint: string | null;
  /** When it is tried again, by the clock's `nowMs`; null when it is not. */
  readonly retryAtMs: number | null;
  /** Of the volume or snapshot; null until it was open once. */
  readonly name: string | null;
  readonly sizeBytes: number | null;
  readonly clients: number;
  /** Those of them that the servers know by now. */
  readonly connected: readonly ConnectedClient[];
  /** Requests over iSCSI since it was attached here, or the gateway was started. */
  readonly iscsiRequests: number;
  readonly stats: VolumeStats | null;
  /** Of an image that is restored; null of anything else, and while nothing is open. */
  readonly restore: RestoreReport | null;
}

/** One export. */
export interface Attached {
  /** Its name. */
  readonly name: string;
  readonly phase: AttachmentPhase;
  readonly report: AttachmentReport;
  readonly failure: SgwError | undefined;
  /** While it is open; never for a snapshot or recovery point that is served as it is. */
  readonly volume: ServedVolume | undefined;
  /** An extent of the volume changes in another way than through its device. */
  noteChange(offset: number, length: number): void;
}

/** Where clients find the exports. */
export interface Listening {
  /** Path of the socket; null: none. */
  readonly unix: string | null;
  /** `HOST:PORT`. */
  readonly tcp: readonly string[];
  readonly tls: GatewayState['serving']['tls'];
  /** `HOST:PORT` of the portals for iSCSI. */
  readonly iscsi: readonly string[];
  /** Where they are to be, and are not yet. */
  readonly waiting: readonly WaitingListener[];
}

/** An address that could not be had yet; it is tried again. */
export interface WaitingListener {
  readonly protocol: 'nbd' | 'iscsi';
  /** `HOST:PORT`. */
  readonly place: string;
  readonly failure: SgwError;
}

export interface ServedExports {
  /** Told by the servers once they listen; until then, what the settings say. */
  readonly listening: Listening | undefined;
  /** Every export, in the order of attaching. */
  show(): AttachmentReport[];
  /** Every export as a document. */
  documents(): AttachmentDocument[];
  /** The export through which this volume is written; undefined when it is not attached. */
  ofVolume(volumeId: string): Attached | undefined;
  /** Exports of a snapshot, or of a throw-away clone of it. */
  ofSnapshot(snapshotId: string): readonly Attached[];
  /** Reads the settings again and gives them to what is open. Returns sentences: what is different now. */
  reload(): Promise<string[]>;
}

export interface DetachOptions {
  /** Bring everything acknowledged to the store first. */
  readonly drain: boolean;
  /** Also while clients use it. */
  readonly force: boolean;
}

export interface DetachReport {
  /** As it was just before it ended. */
  readonly report: AttachmentReport;
  /** Whether all that was acknowledged is in the store. */
  readonly drained: boolean;
  /** What stays in the write log of the home. */
  readonly dirtyBytes: number;
}

export type OnProgress = (doneBytes: number, totalBytes: number) => void;

export interface StopOptions {
  readonly drain: boolean;
  /** Ends the draining. */
  readonly signal: AbortSignal;
  readonly onProgress?: OnProgress;
}

export interface StopReport {
  /** Whether all that was acknowledged is in the store. */
  readonly drained: boolean;
  /** What stays in the write logs of the home. */
  readonly dirtyBytes: number;
}
