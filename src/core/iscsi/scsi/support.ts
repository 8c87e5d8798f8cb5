/** What is supported: REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS (SPC-4, 6.35 and 6.36). */
import { Reply, usageOf, type CommandRow, type Initiator, type Prepare } from './command.ts';
import { invalidField } from './sense.ts';

/** REPORTING OPTIONS: all; by opcode, which has no service actions; by both; by both, or by opcode. */
const REPORT = { all: 0, opcode: 1, serviceAction: 2, either: 3 } as const;

/** SUPPORT field. */
const SUPPORT = { none: 1, standard: 3 } as const;

/** How long a command may take before something is wrong. Data may have to come from an object store. */
const RECOMMENDED_TIMEOUT_SECONDS = 60;
const TIMEOUTS_BYTES = 12;

/** Command timeouts descriptor; no nominal time is known. */
function timeouts(): Buffer {
  const bytes = Buffer.alloc(TIMEOUTS_BYTES);
  bytes.writeUInt16BE(TIMEOUTS_BYTES - 2, 0);
  bytes.writeUInt32BE(RECOMMENDED_TIMEOUT_SECONDS, 8);
  return bytes;
}

const opcodeOf = (row: CommandRow): number => row.usage.readUInt8(0);
const isSupported = (row: CommandRow, initiator: Initiator): boolean => row.isSupported?.(initiator) !== false;

function allCommands(initiator: Initiator, hasTimeouts: boolean): Buffer {
  const rows = initiator.unit.commands.rows.filter((row) => isSupported(row, initiator));
  const descriptors = rows.map((row) => {
    const bytes = Buffer.alloc(8);
    bytes[0] = opcodeOf(row);
    bytes.writeUInt16BE(row.serviceAction ?? 0, 2);
    // CTDP, SERVACTV
    bytes[5] = (hasTimeouts ? 0x02 : 0) | (row.serviceAction === undefined ? 0 : 0x01);
    bytes.writeUInt16BE(row.usage.length, 6);
    return hasTimeouts ? Buffer.concat([bytes, timeouts()]) : bytes;
  });
  const body = Buffer.concat(descriptors);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length, 0);
  return Buffer.concat([head, body]);
}

function oneCommand(row: CommandRow | undefined, initiator: Initiator, hasTimeouts: boolean): Buffer {
  if (row === undefined || !isSupported(row, initiator)) return Buffer.from([0, SUPPORT.none, 0, 0]);
  const head = Buffer.from([0, (hasTimeouts ? 0x80 : 0) | SUPPORT.standard, 0, row.usage.length]);
  const usage = Buffer.from(row.usage);
  if (row.serviceAction !== undefined) usage[1] = (usage[1] ?? 0) | row.serviceAction;
  return Buffer.concat(hasTimeouts ? [head, usage, timeouts()] : [head, usage]);
}

const prepareReportOpcodes: Prepare = (cdb, initiator) => {
  const { commands } = initiator.unit;
  const hasTimeouts = ((cdb[2] ?? 0) & 0x80) !== 0;
  const option = (cdb[2] ?? 0) & 0x07;
  const opcode = cdb[3] ?? 0;
  const serviceAction = cdb.readUInt16BE(4);
  const allocationLength = cdb.readUInt32BE(6);
  if (option > REPORT.either) return invalidField(2, 2);
  if (option === REPORT.all) return new Reply(allCommands(initiator, hasTimeouts), allocationLength);
  const hasActions = commands.hasServiceActions(opcode);
  if (option === REPORT.opcode && hasActions) return invalidField(2, 2);
  const isKnown = commands.at(opcode, serviceAction) !== undefined;
  if (option === REPORT.serviceAction && !hasActions && isKnown) return invalidField(2, 2);
  // Without service actions the field has no meaning; SPC-4 wants it to be zero then.
  const isOther = option === REPORT.either && !hasActions && serviceAction !== 0;
  const row = isOther ? undefined : commands.at(opcode, serviceAction);
  return new Reply(oneCommand(row, initiator, hasTimeouts), allocationLength);
};

/** ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET RESET. */
const TASK_FUNCTIONS = 0xda;

const prepareReportTaskFunctions: Prepare = (cdb) => {
  const isExtended = ((cdb[2] ?? 0) & 0x80) !== 0;
  const bytes = Buffer.alloc(isExtended ? 16 : 4);
  bytes[0] = TASK_FUNCTIONS;
  // No timeouts are told.
  if (isExtended) bytes[3] = 12;
  return new Reply(bytes, cdb.readUInt32BE(6));
};

export const SUPPORT_COMMANDS: readonly CommandRow[] = [
  {
    name: 'REPORT SUPPORTED OPERATION CODES',
    usage: usageOf('a3 00 87 ff ffff ffffffff 00 00'),
    serviceAction: 0x0c,
    access: 'read',
    prepare: prepareReportOpcodes,
  },
  {
    name: 'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS',
    usage: usageOf('a3 00 80 000000 ffffffff 00 00'),
    serviceAction: 0x0d,
    access: 'read',
    prepare: prepareReportTaskFunctions,
  },
];
