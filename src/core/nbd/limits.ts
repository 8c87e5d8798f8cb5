/** Bounds of what clients may have an NBD server hold. */
import { MIB } from '../kit/index.ts';
import type { BacklogLimits } from '../sockets/index.ts';

export interface ConnectionLimits extends BacklogLimits {
  /** Requests under way. */
  readonly requestsMax: number;
  /** Their data. */
  readonly bytesMax: number;
}

export interface ServerLimits extends ConnectionLimits {
  readonly connectionsMax: number;
  /** Data of requests under way, over all connections. */
  readonly allBytesMax: number;
  /** As `backlogBytesMax`, over all connections. */
  readonly allBacklogBytesMax: number;
  /** A client that has not chosen its export by then is let go. */
  readonly negotiationMs: number;
  readonly optionBytesMax: number;
  /** Options of one negotiation. */
  readonly optionsMax: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  requestsMax: 1024,
  bytesMax: 64 * MIB,
  backlogBytesMax: 64 * MIB,
  scarceBytesMax: MIB,
  connectionsMax: 256,
  allBytesMax: 512 * MIB,
  allBacklogBytesMax: 512 * MIB,
  negotiationMs: 20_000,
  optionBytesMax: 64 * 1024,
  optionsMax: 1024,
};
