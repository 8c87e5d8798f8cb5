/** The commands of a disk: every one that is known, and the only list of them. */
import { CommandTable } from './command-table.ts';
import { INQUIRY } from './inquiry.ts';
import { MODE_COMMANDS } from './mode.ts';
import { READ_WRITE_COMMANDS } from './read-write.ts';
import { RESERVE_6_COMMANDS } from './reservations/reserve6.ts';
import { UNIT_COMMANDS } from './unit-commands.ts';

export const COMMANDS = new CommandTable([
  ...UNIT_COMMANDS,
  INQUIRY,
  ...MODE_COMMANDS,
  ...READ_WRITE_COMMANDS,
  ...RESERVE_6_COMMANDS,
]);
