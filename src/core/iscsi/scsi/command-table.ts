/** Finds the row of a CDB, by opcode and service action (SPC-4, 4.3.4), and says what is wrong with its bits. */
import type { CommandLookup, CommandRow } from './command.ts';
import { ASC, illegalRequest, invalidField, type Sense } from './sense.ts';

/** What an opcode stands for. */
type Entry = CommandRow | ReadonlyMap<number, CommandRow>;

/** Where the service action is, in the CDBs that have one: the low bits of this byte. */
const SERVICE_ACTION_AT = 1;
const SERVICE_ACTION_MASK = 0x1f;

export class CommandTable implements CommandLookup {
  readonly rows: readonly CommandRow[];
  readonly #entries: (Entry | undefined)[] = new Array<Entry | undefined>(256).fill(undefined);

  constructor(rows: readonly CommandRow[]) {
    this.rows = rows;
    for (const row of rows) {
      const opcode = row.usage.readUInt8(0);
      if (row.serviceAction === undefined) this.#entries[opcode] = row;
      else {
        const actions = new Map(this.#actions(opcode));
        this.#entries[opcode] = actions.set(row.serviceAction, row);
      }
    }
  }

  #actions(opcode: number): ReadonlyMap<number, CommandRow> | undefined {
    const entry = this.#entries[opcode];
    return entry instanceof Map ? entry : undefined;
  }

  /** The row of a command, or why there is none. */
  find(cdb: Buffer): CommandRow | Sense {
    const entry = this.#entries[cdb[0] ?? 0];
    if (entry === undefined) return illegalRequest(ASC.invalidOpcode);
    if (isRow(entry)) return entry;
    return entry.get((cdb[SERVICE_ACTION_AT] ?? 0) & SERVICE_ACTION_MASK) ?? invalidField(SERVICE_ACTION_AT, 4);
  }

  hasServiceActions(opcode: number): boolean {
    return this.#actions(opcode) !== undefined;
  }

  /** By opcode, and service action where it has some. */
  at(opcode: number, serviceAction: number): CommandRow | undefined {
    const entry = this.#entries[opcode];
    if (entry === undefined) return undefined;
    return isRow(entry) ? entry : entry.get(serviceAction);
  }
}

const isRow = (entry: Entry): entry is CommandRow => !(entry instanceof Map);

/** The first bit that is set and has no meaning, NACA of the control byte among them. */
export function checkBits({ usage, serviceAction }: CommandRow, cdb: Buffer): Sense | undefined {
  if (cdb.length < usage.length) return invalidField(cdb.length);
  for (let at = 1; at < usage.length; at++) {
    let extra = (cdb[at] ?? 0) & ~(usage[at] ?? 0);
    if (at === SERVICE_ACTION_AT && serviceAction !== undefined) extra &= ~SERVICE_ACTION_MASK;
    if (extra !== 0) return invalidField(at, 31 - Math.clz32(extra & 0xff));
  }
  return undefined;
}
