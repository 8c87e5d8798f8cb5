/**
 * What two sides agree on by key=value pairs (RFC 7143, 6.2 and 13).
 * Exports: `SessionParameters`, `ConnectionParameters`, `Wishes`, `DEFAULT_WISHES`, `Negotiation`.
 */

/** Session-wide: agreed on by the leading connection. Lengths in bytes, times in seconds. */
export interface SessionParameters {
  readonly maxConnections: number;
  readonly initialR2t: boolean;
  readonly immediateData: boolean;
  readonly maxBurstLength: number;
  readonly firstBurstLength: number;
  readonly maxOutstandingR2t: number;
  readonly defaultTime2Wait: number;
  readonly defaultTime2Retain: number;
  readonly dataPduInOrder: boolean;
  readonly dataSequenceInOrder: boolean;
  readonly errorRecoveryLevel: 0;
}

export interface ConnectionParameters {
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  /** Data segments that the initiator takes. */
  readonly maxSendLength: number;
  /** Data segments that we take: what was declared. */
  readonly maxReceiveLength: number;
}

/** What the target asks for, within what the initiator offers. */
export interface Wishes {
  readonly maxConnections: number;
  readonly maxReceiveLength: number;
  readonly maxBurstLength: number;
  readonly firstBurstLength: number;
  readonly maxOutstandingR2t: number;
}

export const DEFAULT_WISHES: Wishes = {
  maxConnections: 8,
  maxReceiveLength: 256 * 1024,
  maxBurstLength: 16 * 1024 * 1024 - 512,
  firstBurstLength: 256 * 1024,
  maxOutstandingR2t: 16,
};
