/** RESERVE(6) and RELEASE(6) of SPC-2, for initiators that know no other reservations. */
import { Action, RESERVATION_CONFLICT, usageOf, type CommandRow } from '../command.ts';

export const RESERVE_6_COMMANDS: readonly CommandRow[] = [
  {
    name: 'RESERVE(6)',
    usage: usageOf('16 00000000 00'),
    access: 'free',
    prepare: (_cdb, { unit, nexus }) =>
      new Action(unit, 0, () => (unit.reservations.reserve6(nexus) ? undefined : RESERVATION_CONFLICT)),
  },
  {
    name: 'RELEASE(6)',
    usage: usageOf('17 00000000 00'),
    access: 'free',
    prepare: (_cdb, { unit, nexus }) =>
      new Action(unit, 0, () => (unit.reservations.release6(nexus) ? undefined : RESERVATION_CONFLICT)),
  },
];
