/** The commands of a disk: every one that is known, and the only list of them. */
import { CommandTable } from './command-table.ts';
import { INQUIRY } from './inquiry.ts';
import { MODE_COMMANDS } from './mode.ts';
import { REPORT_TARGET_PORT_GROUPS } from './port-groups.ts';
import { PROVISIONING_COMMANDS } from './provisioning.ts';
import { READ_MODIFY_WRITE_COMMANDS } from './read-modify-write.ts';
import { READ_WRITE_COMMANDS } from './read-write.ts';
import { RESERVE_6_COMMANDS } from './reservations/reserve6.ts';
import { RESERVE_IN_COMMANDS } from './reservations/reserve-in.ts';
import { RESERVE_OUT_COMMANDS } from './reservations/reserve-out.ts';
import { SUPPORT_COMMANDS } from './support.ts';
import { RECEIVE_RESULTS } from './third-party-copy/copy-results.ts';
import { EXTENDED_COPY } from './third-party-copy/extended-copy.ts';
import { UNIT_COMMANDS } from './unit-commands.ts';
import { VERIFY_COMMANDS } from './verify.ts';
import { WRITE_SAME_COMMANDS } from './write-same.ts';

export const COMMANDS = new CommandTable([
  ...UNIT_COMMANDS,
  INQUIRY,
  ...MODE_COMMANDS,
  ...READ_WRITE_COMMANDS,
  ...VERIFY_COMMANDS,
  ...READ_MODIFY_WRITE_COMMANDS,
  ...WRITE_SAME_COMMANDS,
  ...PROVISIONING_COMMANDS,
  ...RESERVE_6_COMMANDS,
  ...RESERVE_IN_COMMANDS,
  ...RESERVE_OUT_COMMANDS,
  ...SUPPORT_COMMANDS,
  REPORT_TARGET_PORT_GROUPS,
  EXTENDED_COPY,
  ...RECEIVE_RESULTS,
]);
