/**
 * What commands are made of: a row of the table for each (SPC-4, 6 and SBC-3, 5), the unit as they see it, and the ways in which
 * most of them run.
 */
import type { Attentions } from './attentions.ts';
import {
  STATUS,
  type Nexus,
  type ScsiCommand,
  type ScsiResult,
  type TargetPortGroup,
  type UnitIdentity,
} from './contract.ts';
import { senseOf } from './failures.ts';
import type { Medium } from './medium.ts';
import type { ModeParameters } from './mode-parameters.ts';
import type { AccessClass, Reservations } from './reservations/reservations.ts';
import type { Sense } from './sense.ts';
import type { Copies } from './third-party-copy/copies.ts';

/** What all nexuses of a unit share. */
export interface Unit {
  readonly identity: UnitIdentity;
  readonly modes: ModeParameters;
  readonly reservations: Reservations;
  readonly medium: Medium;
  readonly commands: CommandLookup;
  /** Who is joined. */
  readonly initiators: ReadonlyMap<Nexus, Initiator>;
  /** As this nexus sees them. */
  portGroups(nexus: Nexus): readonly TargetPortGroup[];
  /** Ends when no task of the nexus runs any more. */
  abortTasks(nexus: Nexus): Promise<void> | undefined;
  /** A command that failed. */
  fail(sense: Sense): ScsiResult;
  /** All but `by` learn of something. */
  establish(code: number, by: Nexus | undefined): void;
}

/** The commands that a unit knows. */
export interface CommandLookup {
  readonly rows: readonly CommandRow[];
  hasServiceActions(opcode: number): boolean;
  at(opcode: number, serviceAction: number): CommandRow | undefined;
}

/** One nexus, as long as it is joined. */
export interface Initiator {
  readonly unit: Unit;
  readonly nexus: Nexus;
  readonly attentions: Attentions;
  readonly copies: Copies;
  /** As it was told last. */
  sizeBytes: number;
}

/** Of a command whose row was found, whose bits are allowed, and which may access the unit. A refusal is its sense data. */
export type Prepare = (cdb: Buffer, initiator: Initiator, request: CommandRequest) => ScsiCommand | Sense;

export interface CommandRequest {
  /** Whether the logical unit number is that of the disk. */
  readonly isUnit: boolean;
  /** Bytes that the initiator says it has to send; undefined where the transport does not know. */
  readonly dataOutBytes: number | undefined;
}

export interface CommandRow {
  readonly name: string;
  /** CDB usage data (SPC-4, 6.35.3): the opcode, the service action, and a one for each bit that may be set. */
  readonly usage: Buffer;
  readonly serviceAction?: number;
  readonly access: AccessClass | ((cdb: Buffer) => AccessClass);
  /** Needs a medium that may be written. */
  readonly writes?: boolean;
  /** May be sent to any logical unit number, and passes by unit attentions. */
  readonly isForAnyUnit?: boolean;
  /** Refused as unknown where the unit can not do it. */
  readonly isSupported?: (initiator: Initiator) => boolean;
  readonly prepare: Prepare;
}

export const isSense = (outcome: object): outcome is Sense => 'key' in outcome;

export const GOOD: ScsiResult = { status: STATUS.good, dataInBytes: 0 };

/** An answer that is there already, cut at the allocation length. */
export class Reply implements ScsiCommand {
  readonly dataOutBytes = 0;
  readonly dataInBytes: number;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer, allocationLength: number) {
    this.#bytes = bytes;
    this.dataInBytes = Math.min(bytes.length, allocationLength);
  }

  run(_dataOut: Buffer, dataIn: Buffer): ScsiResult {
    this.#bytes.copy(dataIn, 0, 0, this.dataInBytes);
    return { status: STATUS.good, dataInBytes: this.dataInBytes };
  }
}

/** Sense data or a status of its own when it failed; undefined for GOOD. */
export type ActionOutcome = Sense | ScsiResult | undefined;

export type Work = (list: Buffer, signal: AbortSignal) => ActionOutcome | Promise<ActionOutcome>;

/** A command without data, or with a parameter list. */
export class Action implements ScsiCommand {
  readonly dataOutBytes: number;
  readonly dataInBytes = 0;
  readonly workBytes: number;
  readonly #unit: Unit;
  readonly #work: Work;

  constructor(unit: Unit, listBytes: number, work: Work, workBytes = 0) {
    this.#unit = unit;
    this.dataOutBytes = listBytes;
    this.workBytes = workBytes;
    this.#work = work;
  }

  run(dataOut: Buffer, _dataIn: Buffer, signal: AbortSignal): ScsiResult | Promise<ScsiResult> {
    try {
      const outcome = this.#work(dataOut, signal);
      return outcome instanceof Promise ? this.#later(outcome) : this.#result(outcome);
    } catch (error) {
      return this.#unit.fail(senseOf(error, 'write'));
    }
  }

  async #later(outcome: Promise<ActionOutcome>): Promise<ScsiResult> {
    try {
      return this.#result(await outcome);
    } catch (error) {
      return this.#unit.fail(senseOf(error, 'write'));
    }
  }

  #result(outcome: ActionOutcome): ScsiResult {
    if (outcome === undefined) return GOOD;
    return isSense(outcome) ? this.#unit.fail(outcome) : outcome;
  }
}

export const RESERVATION_CONFLICT: ScsiResult = { status: STATUS.reservationConflict, dataInBytes: 0 };

/** Of a row: where it has only these bits besides its opcode. */
export const usageOf = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
