/** Groups of gateways (DESIGN section 10, docs/adr/0025-groups.md), as the service keeps them and members read them. */
import type { VolumeId } from '../kit/index.ts';

/** What goes on when fewer replicas are in sync than the volume is to have. */
export const WHEN_DEGRADED = ['continue', 'stop'] as const;
export type WhenDegraded = (typeof WHEN_DEGRADED)[number];

export const GROUP_ACKS = ['peer', 'log', 'store'] as const;
export type GroupAck = (typeof GROUP_ACKS)[number];

/** Where a member is reached; it writes this itself when its daemon starts, and clears it when that ends in order. */
export interface MemberAddress {
  /** `HOST:PORT` that other members connect to. */
  readonly peer: string;
  /** Where its exports are: `HOST:PORT` for each TCP listener, `unix:PATH`. */
  readonly nbd: readonly string[];
}

export interface GroupMember {
  readonly gatewayId: string;
  readonly name: string;
  /** Of its identity key, as `GatewaySummary` has it: what its side of a connection between members has to prove. */
  readonly keyFingerprint: string;
  readonly address: MemberAddress | null;
}

/** A volume that the group looks after. */
export interface GroupVolume {
  readonly volumeId: VolumeId;
  /** What every holder exports it as. */
  readonly exportName: string;
  /** How many members, besides the holder, are to have its records: from 1. */
  readonly replicas: number;
  /** Who is to hold it if it can be chosen; null: whoever does. */
  readonly preferredHolder: string | null;
  readonly whenDegraded: WhenDegraded;
  /**
   * What an acknowledgement means, whoever holds it: `peer`, `store`, or `log`, under which a take-over may lose the last ones. It
   * stands here since a candidate has to know it when the holder can't be asked.
   */
  readonly ack: GroupAck;
  /** The operator accepts beforehand that a take-over may lose acknowledged records that no replica has. */
  readonly allowLoss: boolean;
}

export interface GroupDocument {
  readonly groupId: string;
  readonly name: string;
  readonly accountId: string;
  /** Grows with every change. */
  readonly version: number;
  readonly createdAt: string;
  /** In the order of joining, which is the order of candidates. */
  readonly members: readonly GroupMember[];
  readonly volumes: readonly GroupVolume[];
}

/** What is wanted of a volume of a group; what is absent stays as it is, and is as by default in the beginning. */
export interface GroupVolumeWish {
  /** Default: the volume's name. */
  readonly exportName?: string;
  /** Default: 1. */
  readonly replicas?: number;
  /** Id of a member, or null. Default: null. */
  readonly preferredHolder?: string | null;
  /** Default: `continue`. */
  readonly whenDegraded?: WhenDegraded;
  /** Default: `peer`. */
  readonly ack?: GroupAck;
  /** Default: false. */
  readonly allowLoss?: boolean;
}
