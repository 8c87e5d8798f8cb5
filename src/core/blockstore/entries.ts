/** The catalog's documents: `volume.json` and `snapshot.json` (docs/formats/documents.md). */
import type { SnapshotId, VolumeId } from '../kit/index.ts';
import type { NodePointer } from './node-codec.ts';

export interface VolumeEntry {
  readonly volumeId: VolumeId;
  readonly name: string;
  /** `deleted` can be undone; `purging` can't: gc removes what nothing else needs, and the entry last. */
  readonly state: 'available' | 'importing' | 'deleted' | 'purging';
  /** What it is again once it is undeleted; absent unless it is deleted. */
  readonly stateBefore?: 'available' | 'importing';
  /** A hint: the log has the truth (C9). */
  readonly sizeBytes: number;
  readonly accountId: string;
  /** RFC 3339, UTC. */
  readonly createdAt: string;
  readonly deletedAt: string | null;
  readonly parentSnapshotId: SnapshotId | null;
  /** The volume at the root of the clones; volumes of one lineage can be compared. */
  readonly lineage: VolumeId;
  readonly tags: Readonly<Record<string, string>>;
  readonly clientToken: string | null;
  /** Set while an import, the first or one into an existing volume, is not finished. */
  readonly unfinishedImport: { readonly source: string; readonly startedAt: string } | null;
  /** Absolute path of the image that the last finished import read; absent when there was none. */
  readonly importedFrom?: string;
}

/** `by` lets `accountId` use the blocks that `by` wrote; the owner's grant also lets it see the snapshot. */
export interface Grant {
  readonly accountId: string;
  readonly by: string;
  /** RFC 3339, UTC. */
  readonly grantedAt: string;
}

export interface SnapshotEntry {
  readonly snapshotId: SnapshotId;
  readonly name: string;
  readonly state: 'pending' | 'completed' | 'failed' | 'deleted';
  /** Why it failed. */
  readonly reason: string | null;
  readonly volumeId: VolumeId;
  readonly volumeName: string;
  readonly lineage: VolumeId;
  /** The commit that it shows; 0 while pending. */
  readonly seq: number;
  readonly sizeBytes: number;
  readonly mappedPages: number;
  readonly accountId: string;
  /** Accounts that wrote at least one of its frames (C17). */
  readonly creators: readonly string[];
  /** Absent while it was never shared. */
  readonly grants?: readonly Grant[];
  readonly createdAt: string;
  readonly completedAt: string | null;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly clientToken: string | null;
  readonly root: NodePointer | null;
  /** The gateway that makes it, or made it. */
  readonly maker?: string;
  /** Of a snapshot of a volume that was being served: the record of its write log that ends the snapshot's state (C8). */
  readonly barrier?: { readonly incarnation: string; readonly sequence: number };
  /** Absent unless deleted. */
  readonly deletedAt?: string;
  /** Of a snapshot that a schedule made and may delete again. */
  readonly schedule?: ScheduleMark;
  /** What came of verifying it last; absent while it never was. */
  readonly verified?: Verified;
  /** Of a snapshot that is written, or was written, block by block through the API (C29). */
  readonly upload?: UploadRecord;
}

/**
 * How far writing a snapshot through the API is (C29). `open` -> `sealing` -> `sealed`, each by one compare-and-set of the
 * entry: blocks are taken while it is open; while it is sealing the map is made; it is sealed in a snapshot that is completed.
 */
export interface UploadRecord {
  readonly state: 'open' | 'sealing' | 'sealed';
  /** How long it stays open when no block comes. */
  readonly timeoutMs: number;
  /** When it is given up, RFC 3339, UTC: moved on while blocks come, and once more by sealing. */
  readonly deadline: string;
  /** What the snapshot reads as where no block was written; null: zeroes. Kept from gc while the snapshot is pending. */
  readonly parent: { readonly snapshotId: SnapshotId; readonly root: NodePointer | null } | null;
  /** SHA-256 of what was asked for, hex: tells a repeated request from another one with the same client token. */
  readonly request: string;
  /** From sealing on: how many blocks were written, and the SHA-256 over their SHA-256s in the order of blocks, hex; null where the client named none, or no count. */
  readonly sealed?: { readonly at: string; readonly blocks: number | null; readonly checksum: string | null };
  /** Of a session of a volume of the block API: its number, from 0. */
  readonly session?: number;
}

/** A snapshot was read back, and perhaps looked at by a command. */
export interface Verified {
  /** RFC 3339, UTC. */
  readonly at: string;
  readonly ok: boolean;
  readonly checkedBytes: number;
  /** Of what it maps, the part that was read: 1 is all. */
  readonly share: number;
  /** Of the command; null where none ran to its end. */
  readonly exitCode: number | null;
  /** Why it is not ok; null when it is. */
  readonly message: string | null;
}

/** Which run of which schedule made a snapshot. */
export interface ScheduleMark {
  readonly scheduleId: string;
  /** Counted from 1. */
  readonly run: number;
  /** When the run was due, RFC 3339, UTC. */
  readonly dueAt: string;
}
