/**
 * Room `replication` (level 5): a volume's records in the logs of other members of its group, and who takes over
 * (docs/adr/0025-groups.md). What the room is given, and what it gives.
 */
import type { BlockStoreOptions, HeadCondition, InSyncWriter } from '../blockstore/index.ts';
import type { Clock, Logger, Random, SgwError, VolumeId } from '../kit/index.ts';
import type { GroupDocument, GroupVolume } from '../protocol/index.ts';
import type { AckClass, FoundPosition, RecordSink, ReplicaLog } from '../writelog/index.ts';
import type { PeerNetwork } from './messages.ts';

export type { HeadCondition, InSyncWriter } from '../blockstore/index.ts';

/** Times of groups, milliseconds. */
export interface GroupTimes {
  /** How long a promise lasts. */
  readonly termMs: number;
  /** From one renewal to the next. */
  readonly renewMs: number;
  /** What a candidate waits beyond the term. */
  readonly marginMs: number;
}

/** Milliseconds of a clock that never goes back and also runs while the machine is suspended. */
export type LeaseClock = () => number;

/** How the room reads and changes what the service has of groups. */
export interface GroupBook {
  /** The group that this gateway is in; undefined when it is in none. @throws unavailable */
  mine(signal: AbortSignal): Promise<GroupDocument | undefined>;
  /** Writes where this member is reached into its group. */
  announce(
    address: { readonly peer: string; readonly nbd: readonly string[] } | null,
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Asks the service for the permission to take a volume over. Resolves when it is given, and when the service can't be asked.
   * @throws conflict `holder-alive` when the holder serves and is connected
   */
  permit(request: TakeOverRequest, signal: AbortSignal): Promise<void>;
}

export interface TakeOverRequest {
  readonly volumeId: VolumeId;
  /** The epoch that is to end. */
  readonly epoch: number;
  readonly reason: string;
}

/** Who held a volume that is taken over, by its head; null: nobody. */
export interface FormerReign {
  readonly holder: string | null;
  readonly inSync: readonly string[];
}

/** What the gateway does with its volumes at the word of the room. */
export interface VolumeHost {
  /**
   * Serves the volume, whose replica log is in the volume's own folder by now, taking it over (`condition` is asked of the head
   * in the compare-and-set that does it). When it resolves, clients can use it. `from`: of the head that it is taken over from.
   */
  promote(volume: GroupVolume, condition: HeadCondition, from: FormerReign, signal: AbortSignal): Promise<void>;
  /** Stops serving without uploading; the log is synced and stays. Clients are let go without an answer to what waits. */
  demote(volumeId: VolumeId, reason: SgwError): Promise<void>;
  /**
   * Lets no request in any more: they wait. Resolves when all that were let in are answered, with the function that opens the gate
   * again.
   */
  gate(volumeId: VolumeId, signal: AbortSignal): Promise<() => void>;
  /** Why the volume that is served here acknowledges nothing any more; undefined while all is well. */
  failure(volumeId: VolumeId): SgwError | undefined;
  /** Uploads what can be while it serves: before a planned take-over. */
  drain(volumeId: VolumeId, signal: AbortSignal): Promise<void>;
  /** How the volume that is held here is served, for its replicas to go on with; undefined while it is not served. */
  exportedAs(volumeId: VolumeId): string | undefined;
  /** Keeps what the holder has told of that. Durable when it resolves. */
  keepExport(volumeId: VolumeId, holder: string, exportedAs: string): Promise<void>;
  /** Keeps the newest epoch of those who have asked for the records to be taken. Durable when it resolves. */
  keepEpoch(volumeId: VolumeId, epoch: number): Promise<void>;
  /** The newest that was kept; 0 when there is none. */
  keptEpoch(volumeId: VolumeId): Promise<number>;
  /** Folder operations on logs, under the volume's lock. */
  readonly logs: ReplicaLogs;
}

/** What logs of a volume a gateway has in its home. One counts: the own one, when there are both. */
export interface ReplicaLogs {
  /** Where the volume's own log ends, while that is not open; what it has is durable then. Null when there is none. */
  own(volumeId: VolumeId): Promise<FoundPosition | null>;
  /** Opens the replica log, and makes an empty one where there is none. */
  open(volumeId: VolumeId, capacityBytes: number): Promise<ReplicaLog>;
  /** Makes the replica log, closed by now, the volume's own, by one rename; an own one that is there is set aside first, and named. */
  adopt(volumeId: VolumeId): Promise<{ readonly setAside: string | null }>;
  /** The other way round: the volume's own log, closed by now, becomes its replica log. Nothing when there is none. */
  release(volumeId: VolumeId): Promise<void>;
}

export interface ReplicationParts {
  readonly self: {
    readonly gatewayId: string;
    readonly name: string;
  };
  readonly clock: Clock;
  readonly leaseClock: LeaseClock;
  readonly random: Random;
  readonly log: Logger;
  readonly times: GroupTimes;
  readonly blocks: BlockStoreOptions;
  readonly book: GroupBook;
  readonly host: VolumeHost;
  /** The connections to the other members, not started. */
  readonly network: PeerNetwork;
  /** Where clients find this member's exports: `unix:PATH`, `HOST:PORT`. */
  readonly exportsAt: () => readonly string[];
}

/** How a replica of a volume does. */
export interface ReplicaReport {
  readonly gatewayId: string;
  readonly name: string;
  readonly state: 'in-sync' | 'catching-up' | 'disconnected';
  readonly lagBytes: number;
  readonly lagMs: number;
  readonly receivedSequence: number | null;
}

/** How a volume of the group does, as this member knows it. */
export interface GroupVolumeReport {
  readonly volume: GroupVolume;
  readonly holder: string | null;
  readonly epoch: number;
  readonly inSync: readonly string[];
  /** Of the holder alone: how each replica does. */
  readonly replicas: readonly ReplicaReport[];
  /** Who would take over now; null when nobody could. */
  readonly successor: string | null;
  /** Fewer in sync than there should be, or nothing is acknowledged: why. */
  readonly reason: string | null;
}

/** What the room gives: one for a daemon whose gateway is in a group. */
export interface Replication {
  start(): Promise<void>;
  /** With which sink a volume of the group is opened; undefined for volumes of no group. */
  sinkOf(volumeId: VolumeId, ack: AckClass): RecordSink | undefined;
  /** The in-sync set can be changed by whoever writes: called when the volume is open, and when it was opened anew. */
  opened(volumeId: VolumeId, writer: InSyncWriter): void;
  closed(volumeId: VolumeId): void;
  /**
   * Resolves when every member that may take over the volume held here has noted durably how it is served now; at once for others.
   * @throws timeout `replicas-not-told`
   */
  exportTold(volumeId: VolumeId, signal: AbortSignal): Promise<void>;
  /** The group as it was read last. */
  group(): GroupDocument | undefined;
  report(): Promise<readonly GroupVolumeReport[]>;
  /** Ids of the members that this one has a connection to now. */
  linked(): readonly string[];
  /** Whether this member serves the volume under a lease that is valid now: what the service asks before a take-over. */
  holds(volumeId: VolumeId): boolean;
  /** A planned take-over, asked on any member. @throws unavailable, conflict */
  failOver(volumeId: VolumeId, to: string | undefined, acceptLoss: boolean, signal: AbortSignal): Promise<void>;
  /** The group's document changed: read it again. */
  reload(): Promise<void>;
  stop(): Promise<void>;
}
