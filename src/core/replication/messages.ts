/**
 * What members of a group say to each other, one message after the other on the one connection of a pair, and the connection as
 * the room sees it (docs/formats/peer-frames.md, docs/adr/0025-groups.md). Both ends may be holders, of different volumes.
 */
import type { SgwError, VolumeId } from '../kit/index.ts';
import type { GroupMember } from '../protocol/index.ts';
import type { Incarnation, ReplicaPosition, SentRecord } from '../writelog/index.ts';

export type { ReplicaPosition } from '../writelog/index.ts';

/** A reign over a volume: who holds it, under which epoch. */
export interface Reign {
  readonly volumeId: VolumeId;
  readonly holder: string;
  readonly epoch: number;
}

export type PeerMessage =
  /** Sent by each at least every quarter of a term: "I am here, and have this version of the group". */
  | { readonly kind: 'beat'; readonly groupVersion: number }
  /** By a holder: asks for promises. `stamp` comes back as it is. */
  | { readonly kind: 'renew'; readonly stamp: number; readonly reigns: readonly Reign[] }
  /** No take-over of these within a term from now. */
  | { readonly kind: 'promise'; readonly stamp: number; readonly reigns: readonly Reign[] }
  /** There is a newer reign than yours. */
  | { readonly kind: 'superseded'; readonly newest: Reign }
  /**
   * By a holder: begins to replicate a volume over this connection; the replica answers with `position`. Its log ends with
   * `lastSequence`: a replica that lost something is whole again (rule 8) when it has received up to there. `stamp` comes back as it
   * is, in what tells a position, once the replica has noted what this tells.
   */
  | {
      readonly kind: 'open';
      readonly reign: Reign;
      readonly lastSequence: number;
      readonly incarnations: readonly Incarnation[];
      readonly uploadedSequence: number;
      readonly capacityBytes: number;
      /** How the holder serves it: the gateway's own words, kept for when the replica is the holder. */
      readonly exportedAs?: string;
      readonly stamp?: number;
    }
  | {
      readonly kind: 'position';
      readonly volumeId: VolumeId;
      readonly position: ReplicaPosition;
      readonly stamp?: number;
    }
  /**
   * By a holder, behind `position`: what follows begins with record `from`. With `anew` the replica sets its log aside where it
   * holds records that the holder's does not continue, and begins another one.
   */
  | {
      readonly kind: 'from';
      readonly volumeId: VolumeId;
      readonly from: number;
      readonly anew: boolean;
      readonly incarnation: Incarnation;
    }
  | { readonly kind: 'records'; readonly volumeId: VolumeId; readonly records: readonly SentRecord[] }
  /** Make everything up to here durable, and say so. */
  | { readonly kind: 'sync'; readonly volumeId: VolumeId; readonly sequence: number }
  | { readonly kind: 'got'; readonly volumeId: VolumeId; readonly received: number; readonly synced: number }
  /** By a holder: everything that was acknowledged so far is in your log, and what will be waits for you (rule 8). */
  | { readonly kind: 'whole'; readonly volumeId: VolumeId; readonly sequence: number }
  /** These are in the store: they need not be kept. */
  | { readonly kind: 'uploaded'; readonly volumeId: VolumeId; readonly sequence: number }
  /** By a candidate to the other members: how far have you got? */
  | { readonly kind: 'ask'; readonly volumeId: VolumeId; readonly epoch: number }
  | {
      readonly kind: 'tell';
      readonly volumeId: VolumeId;
      readonly epoch: number;
      readonly position: ReplicaPosition;
      /** It holds the volume, under a valid lease. */
      readonly isHolder: boolean;
    }
  /** By a holder that has closed its gate: take over now; records end with `last`. */
  | { readonly kind: 'release'; readonly reign: Reign; readonly last: number }
  /** Asks the holder for a planned take-over. */
  | { readonly kind: 'please'; readonly volumeId: VolumeId; readonly to: string }
  | { readonly kind: 'refused'; readonly volumeId: VolumeId; readonly code: string; readonly message: string }
  /** This member holds the volume from now on. */
  | { readonly kind: 'took'; readonly reign: Reign };

/** A connection to another member that has proved who it is. Messages arrive whole, once, in order, until it ends. */
export interface PeerLink {
  readonly gatewayId: string;
  /** Bytes that were sent and the socket has not taken. */
  readonly waitingBytes: number;
  /** Queues a message; after the end it does nothing. Buffers in it are not changed until the socket has taken them. */
  send(message: PeerMessage): void;
  /** Resolves when fewer bytes than `bytes` wait; at once when the link ended. */
  drained(bytes: number): Promise<void>;
  close(reason: SgwError): void;
}

export interface PeerEvents {
  readonly linked: (link: PeerLink) => void;
  /** Called synchronously; buffers in `message` are good until it returns. */
  readonly message: (link: PeerLink, message: PeerMessage) => void;
  readonly unlinked: (link: PeerLink, reason: SgwError) => void;
}

/** The connections to all other members. A pair has one; it is made again when it ends, at jittered distances. */
export interface PeerNetwork {
  /** Listens; resolves with where. */
  start(events: PeerEvents): Promise<{ readonly address: string }>;
  /** Whom to be connected to; links to others are ended. Cheap when nothing changed. */
  setMembers(members: readonly GroupMember[]): void;
  stop(): Promise<void>;
}
