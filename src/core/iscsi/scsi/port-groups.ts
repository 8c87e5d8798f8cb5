/** REPORT TARGET PORT GROUPS (SPC-4, 5.15 and 6.37). Access states change by themselves only (implicit), so none may be set. */
import { Reply, usageOf, type CommandRow, type Prepare } from './command.ts';
import type { TargetPortGroup } from './contract.ts';
import { invalidField } from './sense.ts';

const STATE = { activeOptimized: 0, activeNonOptimized: 1, standby: 2, unavailable: 3 } as const;
/** All four, and no others. */
const SUPPORTED = 0x0f;

function groupDescriptor({ id, state, isPreferred, ports }: TargetPortGroup): Buffer {
  const bytes = Buffer.alloc(8 + ports.length * 4);
  bytes[0] = (isPreferred ? 0x80 : 0) | STATE[state];
  bytes[1] = SUPPORTED;
  bytes.writeUInt16BE(id, 2);
  bytes[7] = ports.length;
  ports.forEach((port, i) => bytes.writeUInt16BE(port, 8 + i * 4 + 2));
  return bytes;
}

/** PARAMETER DATA FORMAT: whether there is an extended header. */
const FORMAT = { plain: 0, extended: 1 } as const;

const prepareReportGroups: Prepare = (cdb, { unit, nexus }) => {
  const format = (cdb[1] ?? 0) >> 5;
  if (format > FORMAT.extended) return invalidField(1, 7);
  const head = Buffer.alloc(format === FORMAT.extended ? 8 : 4);
  // Extended header, and no time that a transition takes.
  if (format === FORMAT.extended) head[4] = 0x10;
  const bytes = Buffer.concat([head, ...unit.portGroups(nexus).map(groupDescriptor)]);
  bytes.writeUInt32BE(bytes.length - 4, 0);
  return new Reply(bytes, cdb.readUInt32BE(6));
};

export const REPORT_TARGET_PORT_GROUPS: CommandRow = {
  name: 'REPORT TARGET PORT GROUPS',
  usage: usageOf('a3 e0 00000000 ffffffff 00 00'),
  serviceAction: 0x0a,
  access: 'status',
  prepare: prepareReportGroups,
};
