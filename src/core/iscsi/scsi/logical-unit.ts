/**
 * The device server and task router of one disk (SAM-5, 4.6): LUN 0 of a target, and what stands in its place on other numbers.
 *
 * All nexuses share it: mode parameters, reservations, the medium. A command is judged in one order: unit attentions about resets,
 * reservations, other unit attentions, the bits of its CDB, write protection, and then what it says itself. It keeps no tasks: the
 * transport does, and asks `reset` when it has ended them.
 */
import { SgwError } from '../../kit/index.ts';
import { Attentions } from './attentions.ts';
import { checkBits } from './command-table.ts';
import {
  isSense,
  RESERVATION_CONFLICT,
  type CommandRequest,
  type CommandRow,
  type Initiator,
  type Unit,
} from './command.ts';
import { COMMANDS } from './commands.ts';
import {
  STATUS,
  type Nexus,
  type ScsiCommand,
  type ScsiResult,
  type TargetPortGroup,
  type UnitIdentity,
} from './contract.ts';
import { BLOCK_BYTES, Medium } from './medium.ts';
import { ModeParameters } from './mode-parameters.ts';
import { isWriteProtected } from './mode.ts';
import { Reservations } from './reservations/reservations.ts';
import { ASC, descriptorSense, fixedSense, illegalRequest, SENSE_KEY, type Sense } from './sense.ts';

import { Copies } from './third-party-copy/copies.ts';

export interface LogicalUnitParts {
  readonly identity: UnitIdentity;
  /** Stops all tasks of a nexus on this unit, for PREEMPT AND ABORT. Ends when none runs any more; undefined when none did. */
  readonly abortTasks: (nexus: Nexus) => Promise<void> | undefined;
  /** Of all ways to the unit, also those of other gateways. By default the port of the nexus is the only one. */
  readonly portGroups?: (nexus: Nexus) => readonly TargetPortGroup[];
}

const onePort = ({ relativePort }: Nexus): readonly TargetPortGroup[] => [
  { id: 1, state: 'activeOptimized', isPreferred: false, ports: [relativePort] },
];

export class LogicalUnit {
  readonly #unit: Unit;
  readonly #initiators = new Map<Nexus, Initiator>();
  readonly #modes = new ModeParameters();
  readonly #reservations = new Reservations();

  constructor({ identity, abortTasks, portGroups = onePort }: LogicalUnitParts) {
    const fail = (sense: Sense): ScsiResult => this.#fail(sense);
    this.#unit = {
      identity,
      modes: this.#modes,
      reservations: this.#reservations,
      medium: new Medium(fail),
      commands: COMMANDS,
      initiators: this.#initiators,
      portGroups,
      abortTasks,
      fail,
      establish: (code, by) => {
        this.#establish(code, by);
      },
    };
  }

  /** Whether a logical unit number of 8 bytes is that of the disk: 0, by peripheral or by flat addressing (SAM-5, 4.7). */
  hasUnit(lun: Buffer): boolean {
    const first = lun.readUInt16BE(0);
    return (first === 0 || first === 0x4000) && lun.readUInt16BE(2) === 0 && lun.readUInt32BE(4) === 0;
  }

  /**
   * A session begins. Its first command is told of it.
   * @throws unsupported when the device has no blocks of 512 bytes
   */
  join(nexus: Nexus): void {
    const { sizeBytes, limits } = nexus.device;
    if (BLOCK_BYTES % limits.blockBytesMin !== 0)
      throw new SgwError(
        'unsupported',
        'iscsi-block-size',
        `a device with blocks of ${String(limits.blockBytesMin)} bytes can not be served with blocks of ${String(BLOCK_BYTES)}`,
      );
    const attentions = new Attentions();
    attentions.establish(ASC.powerOn);
    this.#initiators.set(nexus, { unit: this.#unit, nexus, attentions, copies: new Copies(), sizeBytes });
  }

  /** A session ends (I_T nexus loss): what it has by RESERVE(6) is released; registrations stay. */
  leave(nexus: Nexus): void {
    this.#initiators.delete(nexus);
    this.#reservations.lose6(nexus);
  }

  /**
   * Decodes a command of a joined nexus. A result is its end; else it is to be run, when its data is there. `dataOutBytes` is what the
   * initiator says it has to send: commands that must have it to the byte check it.
   */
  prepare(nexus: Nexus, lun: Buffer, cdb: Buffer, dataOutBytes?: number): ScsiCommand | ScsiResult {
    const initiator = this.#initiators.get(nexus);
    if (initiator === undefined) return this.#fail({ key: SENSE_KEY.abortedCommand, code: ASC.none });
    const isUnit = this.hasUnit(lun);
    const row = COMMANDS.find(cdb);
    const isAnyUnit = !isSense(row) && row.isForAnyUnit === true;
    if (!isUnit && !isAnyUnit) return this.#fail(illegalRequest(ASC.lunNotSupported));
    if (!isAnyUnit) {
      const refusal = this.#judge(initiator, row, cdb);
      if (refusal !== undefined) return refusal;
    }
    const outcome = isSense(row) ? row : prepareRow(row, cdb, initiator, { isUnit, dataOutBytes });
    return isSense(outcome) ? this.#fail(outcome) : outcome;
  }

  /**
   * Judges a command that was prepared once more, when its data are there: what others have reserved meanwhile applies to it too (SPC-4,
   * 5.12.9), so that nothing of a preempted initiator is written after the answer to PREEMPT. A result is its end.
   */
  refusalNow(nexus: Nexus, lun: Buffer, cdb: Buffer): ScsiResult | undefined {
    if (this.#reservations.isFree || !this.hasUnit(lun)) return undefined;
    const row = COMMANDS.find(cdb);
    return isSense(row) || row.isForAnyUnit === true ? undefined : this.#conflict(nexus, row, cdb);
  }

  #conflict(nexus: Nexus, row: CommandRow, cdb: Buffer): ScsiResult | undefined {
    if (this.#reservations.isFree) return undefined;
    const access = typeof row.access === 'function' ? row.access(cdb) : row.access;
    return this.#reservations.allows(nexus, access) ? undefined : RESERVATION_CONFLICT;
  }

  /** Unit attentions and reservations. */
  #judge(initiator: Initiator, row: CommandRow | Sense, cdb: Buffer): ScsiResult | undefined {
    const { nexus, attentions } = initiator;
    const { sizeBytes } = nexus.device;
    if (sizeBytes !== initiator.sizeBytes) {
      initiator.sizeBytes = sizeBytes;
      attentions.establish(ASC.capacityChanged);
    }
    if (!attentions.isEmpty) {
      const reset = attentions.takeReset();
      if (reset !== undefined) return this.#fail(reset);
    }
    const conflict = isSense(row) ? undefined : this.#conflict(nexus, row, cdb);
    if (conflict !== undefined) return conflict;
    const waiting = attentions.isEmpty ? undefined : attentions.take();
    return waiting === undefined ? undefined : this.#fail(waiting);
  }

  /**
   * LOGICAL UNIT RESET, or a reset of the target (SAM-5, 6.3.2 and 6.3.3), after the tasks have ended: RESERVE(6) is released, mode
   * parameters are as at the beginning, and everybody is told.
   */
  reset(): void {
    this.#reservations.lose6();
    this.#modes.reset();
    for (const { attentions } of this.#initiators.values()) attentions.establish(ASC.busDeviceReset);
  }

  /** Tasks of this nexus were ended by another one (CLEAR TASK SET): it is told. */
  commandsCleared(nexus: Nexus): void {
    this.#initiators.get(nexus)?.attentions.establish(ASC.commandsCleared);
  }

  #establish(code: number, by: Nexus | undefined): void {
    for (const { nexus, attentions } of this.#initiators.values()) if (nexus !== by) attentions.establish(code);
  }

  #fail(sense: Sense): ScsiResult {
    const bytes = this.#modes.hasDescriptorSense ? descriptorSense(sense) : fixedSense(sense);
    return { status: STATUS.checkCondition, sense: bytes, dataInBytes: 0 };
  }
}

function prepareRow(row: CommandRow, cdb: Buffer, initiator: Initiator, request: CommandRequest): ScsiCommand | Sense {
  if (row.isSupported?.(initiator) === false) return illegalRequest(ASC.invalidOpcode);
  const bad = checkBits(row, cdb);
  if (bad !== undefined) return bad;
  if (row.writes === true && isWriteProtected(initiator)) {
    const code = initiator.unit.modes.isSoftwareWriteProtected ? ASC.softwareWriteProtected : ASC.writeProtected;
    return { key: SENSE_KEY.dataProtect, code };
  }
  return row.prepare(cdb, initiator, request);
}
