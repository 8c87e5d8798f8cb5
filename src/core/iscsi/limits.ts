/** Bounds of what initiators may have an iSCSI server hold. */
import { MIB } from '../kit/index.ts';

export interface SessionLimits {
  /** Commands under way of one session: MaxCmdSN is this far from ExpCmdSN. */
  readonly commandsMax: number;
  /** The same while the data of all sessions are at their limit. */
  readonly scarceCommandsMax: number;
  /** Immediate commands and task management requests under way of one session; more are rejected. */
  readonly immediateMax: number;
  /** Data of commands that run or that data were asked for (R2T), of one session; further ones wait. */
  readonly bytesMax: number;
  /** Data of one command; what is beyond is not transferred. */
  readonly transferBytesMax: number;
  /** Responses of one connection that the initiator has not taken yet. */
  readonly backlogBytesMax: number;
  /** In place of `bytesMax` and `backlogBytesMax` while the responses of all connections are at their limit. */
  readonly scarceBytesMax: number;
  /** After so long without a PDU an initiator is asked whether it is there; after so much more it is let go. */
  readonly idleMs: number;
  /** An initiator that owes data for a command is let go when none came for so long. */
  readonly dataMs: number;
}

export interface ServerLimits extends SessionLimits {
  readonly connectionsMax: number;
  /** Connections that are not in full feature phase; of more, the oldest is let go. */
  readonly loginsMax: number;
  /** An initiator that is not logged in by then is let go. */
  readonly loginMs: number;
  /** The response to a login that failed by its secret waits so long, the next one of the same address so much longer. */
  readonly failedLoginMs: number;
  /** Addresses of failed logins that are known. */
  readonly failedLoginAddressesMax: number;
  /** As `bytesMax`, over all sessions. */
  readonly allBytesMax: number;
  /** Data of commands that wait, which came unasked, over all sessions; commands beyond are refused (TASK SET FULL). */
  readonly allHeldBytesMax: number;
  /** As `backlogBytesMax`, over all connections. */
  readonly allBacklogBytesMax: number;
  /** How long initiators that were asked to log out have for that. */
  readonly logoutMs: number;
  /** How long a session that another one takes the place of has to end its commands. */
  readonly reinstatementMs: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  commandsMax: 128,
  scarceCommandsMax: 8,
  immediateMax: 32,
  bytesMax: 64 * MIB,
  transferBytesMax: 64 * MIB,
  backlogBytesMax: 64 * MIB,
  scarceBytesMax: MIB,
  connectionsMax: 256,
  loginsMax: 64,
  loginMs: 20_000,
  failedLoginMs: 200,
  failedLoginAddressesMax: 1024,
  allBytesMax: 512 * MIB,
  allHeldBytesMax: 256 * MIB,
  allBacklogBytesMax: 512 * MIB,
  idleMs: 60_000,
  dataMs: 60_000,
  logoutMs: 2000,
  reinstatementMs: 10_000,
};
