/** What a SCSI target port asks of the logical unit behind it, and what it gets. */
import type { BlockDevice } from '../../blockdevice/index.ts';

/** How a logical unit names itself: INQUIRY and its pages. Stable over restarts, and the same on every path. */
export interface UnitIdentity {
  /** VPD page 80h: up to 32 printable ASCII characters. */
  readonly serial: string;
  /** A whole NAA designator (SPC-4, 7.8.6.6): 8 bytes, or 16 of NAA 6. */
  readonly naa: Buffer;
  /** Of sgw, 4 characters at most. */
  readonly revision: string;
  /** VPD page B2h: space is only taken by what was written, and UNMAP gives it back. */
  readonly isThin: boolean;
}

/**
 * An I_T nexus: a session. Reservations, unit attentions and what MODE SELECT sets are kept by it or by its port names. Made by the
 * transport for each session, known to the unit from `join` to `leave`.
 */
export interface Nexus {
  readonly device: BlockDevice;
  readonly isReadOnly: boolean;
  /** World-wide name of the initiator port: iSCSI name, `,i,0x` and the ISID (SPC-4, 7.6.4.6). Reservations hold on to it. */
  readonly initiatorPort: string;
  /** World-wide name of the target port: iSCSI name, `,t,0x` and the portal group tag. */
  readonly targetPort: string;
  /** Relative target port identifier, from 1. */
  readonly relativePort: number;
}

/** Target ports that reach the unit with the same access state (SPC-4, 5.15.2). */
export interface TargetPortGroup {
  /** From 1; where initiators see the unit through several gateways, each has one of its own. */
  readonly id: number;
  readonly state: 'activeOptimized' | 'activeNonOptimized' | 'standby' | 'unavailable';
  readonly isPreferred: boolean;
  /** Relative target port identifiers. */
  readonly ports: readonly number[];
}

/** SAM-5, 5.3 */
export const STATUS = {
  good: 0x00,
  checkCondition: 0x02,
  conditionMet: 0x04,
  busy: 0x08,
  reservationConflict: 0x18,
  taskSetFull: 0x28,
  taskAborted: 0x40,
} as const;

export interface ScsiResult {
  readonly status: number;
  /** Sense data; its format is chosen by the control mode page. */
  readonly sense?: Buffer;
  /** How many bytes of data-in the command has for the initiator, whether or not it takes so many. */
  readonly dataInBytes: number;
}

/** A command that was decoded, and not run yet. It keeps nothing of the CDB. */
export interface ScsiCommand {
  /** Bytes that it takes from the initiator. */
  readonly dataOutBytes: number;
  /**
   * Bytes that it returns at most: what the transfer length says, or the allocation length when that is less than what there is. The
   * transport makes a buffer of this length, or of what the initiator takes when that is less, and gives it to `run`.
   */
  readonly dataInBytes: number;
  /** Memory of its own that it takes while it runs, beside both. */
  readonly workBytes?: number;
  /**
   * Runs the command, once. `dataOut` has what came of `dataOutBytes`, and belongs to the command until it has ended; when it is
   * less, the command does what it can with whole blocks. Never throws or rejects: a failure is a status with sense data. A plain
   * result when it is done at once, so that a hot path makes no promise. Writes that end together return the same promise.
   */
  run(dataOut: Buffer, dataIn: Buffer, signal: AbortSignal): ScsiResult | Promise<ScsiResult>;
}
