/** MODE SENSE and MODE SELECT (SPC-4, 6.9 to 6.12; SBC-3, 6.5). */
import { Action, Reply, usageOf, type CommandRow, type Initiator, type Prepare } from './command.ts';
import { BLOCK_BYTES, capacityOf } from './medium.ts';
import { MODE_PAGES, type ModePage, type ModeParameters } from './mode-parameters.ts';
import { ASC, illegalRequest, invalidField, invalidParameter, type Sense } from './sense.ts';

/** What the 6 byte and the 10 byte commands have in different places. */
interface Form {
  readonly headerBytes: number;
  readonly lengthAt: number;
  readonly length: (cdb: Buffer) => number;
}

const FORM_6: Form = { headerBytes: 4, lengthAt: 4, length: (cdb) => cdb.readUInt8(4) };
const FORM_10: Form = { headerBytes: 8, lengthAt: 7, length: (cdb) => cdb.readUInt16BE(7) };

const ALL = { page: 0x3f, subpage: 0xff } as const;

/** Which pages a CDB asks for; undefined when there are none such. */
function pagesOf(page: number, subpage: number): ModePage[] | undefined {
  if (page === ALL.page && subpage !== 0 && subpage !== ALL.subpage) return undefined;
  const pages = MODE_PAGES.filter(
    (one) => (page === ALL.page || one.page === page) && (subpage === ALL.subpage || one.subpage === subpage),
  );
  return pages.length === 0 ? undefined : pages;
}

type PageControl = (modes: ModeParameters, page: ModePage) => Buffer;

/** By the PC field: current, changeable, default. */
const PAGE_CONTROL: readonly PageControl[] = [
  (modes, page) => modes.current(page),
  (_modes, page) => changeableValues(page),
  (_modes, page) => page.defaults,
];

function changeableValues({ defaults, subpage, changeable }: ModePage): Buffer {
  const headerBytes = subpage === 0 ? 2 : 4;
  return Buffer.concat([defaults.subarray(0, headerBytes), changeable.subarray(headerBytes)]);
}

const prepareSense =
  (form: Form): Prepare =>
  (cdb, initiator) => {
    const control = (cdb[2] ?? 0) >> 6;
    const page = (cdb[2] ?? 0) & 0x3f;
    const values = PAGE_CONTROL[control];
    if (values === undefined) return illegalRequest(ASC.savingNotSupported);
    const pages = pagesOf(page, cdb[3] ?? 0);
    if (pages === undefined) return pagesOf(page, ALL.subpage) === undefined ? invalidField(2, 5) : invalidField(3, 7);
    const flags = cdb[1] ?? 0;
    const descriptor = (flags & 0x08) === 0 ? blockDescriptor(initiator, (flags & 0x10) !== 0) : Buffer.alloc(0);
    const body = pages.map((one) => values(initiator.unit.modes, one));
    const bytes = Buffer.concat([header(form, initiator, descriptor.length), descriptor, ...body]);
    if (form === FORM_6) bytes[0] = Math.min(bytes.length - 1, 0xff);
    else bytes.writeUInt16BE(bytes.length - 2, 0);
    return new Reply(bytes, form.length(cdb));
  };

function header(form: Form, initiator: Initiator, descriptorBytes: number): Buffer {
  const bytes = Buffer.alloc(form.headerBytes);
  // WP, and DPOFUA: DPO and FUA may be set.
  const parameter = (isWriteProtected(initiator) ? 0x80 : 0) | 0x10;
  if (form === FORM_6) {
    bytes[2] = parameter;
    bytes[3] = descriptorBytes;
  } else {
    bytes[3] = parameter;
    bytes[4] = descriptorBytes === 16 ? 0x01 : 0;
    bytes.writeUInt16BE(descriptorBytes, 6);
  }
  return bytes;
}

export const isWriteProtected = ({ unit, nexus }: Initiator): boolean =>
  nexus.isReadOnly || nexus.device.isReadOnly || unit.modes.isSoftwareWriteProtected;

function blockDescriptor({ nexus }: Pick<Initiator, 'nexus'>, isLong: boolean): Buffer {
  const capacity = capacityOf(nexus.device);
  if (isLong) {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64BE(BigInt(capacity), 0);
    bytes.writeUInt32BE(BLOCK_BYTES, 12);
    return bytes;
  }
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(Math.min(capacity, 0xffff_ffff), 0);
  bytes.writeUIntBE(BLOCK_BYTES, 5, 3);
  return bytes;
}

const prepareSelect =
  (form: Form): Prepare =>
  (cdb, initiator) => {
    const listBytes = form.length(cdb);
    const { unit, nexus } = initiator;
    if (listBytes === 0) return new Action(unit, 0, () => undefined);
    const hasPageFormat = ((cdb[1] ?? 0) & 0x10) !== 0;
    if (!hasPageFormat) return invalidField(1, 4);
    return new Action(unit, listBytes, (list) => {
      const values =
        list.length < listBytes ? illegalRequest(ASC.parameterListLength) : parseList(form, initiator, list);
      if (!(values instanceof Map)) return values;
      const changed = new Map([...values].filter(([page, bytes]) => !bytes.equals(unit.modes.current(page))));
      if (changed.size === 0) return undefined;
      unit.modes.change(changed);
      unit.establish(ASC.modeParametersChanged, nexus);
      return undefined;
    });
  };

/** New values of whole pages: all of the list is good, or nothing is taken. */
function parseList(form: Form, initiator: Initiator, list: Buffer): Map<ModePage, Buffer> | Sense {
  if (list.length < form.headerBytes) return illegalRequest(ASC.parameterListLength);
  const mediumTypeAt = form === FORM_6 ? 1 : 2;
  if (list[mediumTypeAt] !== 0) return invalidParameter(mediumTypeAt, 7);
  const isLong = form === FORM_10 && ((list[4] ?? 0) & 0x01) !== 0;
  const descriptorBytes = form === FORM_6 ? (list[3] ?? 0) : list.readUInt16BE(6);
  const pagesAt = form.headerBytes + descriptorBytes;
  if (descriptorBytes !== 0) {
    if (descriptorBytes !== (isLong ? 16 : 8)) return invalidParameter(form === FORM_6 ? 3 : 6, 7);
    if (list.length < pagesAt) return illegalRequest(ASC.parameterListLength);
    const bad = checkDescriptor(initiator, list, form.headerBytes, isLong);
    if (bad !== undefined) return bad;
  }
  return parsePages(initiator.unit.modes, list, pagesAt);
}

/** The capacity and the length of blocks are what they are. */
function checkDescriptor({ nexus }: Initiator, list: Buffer, at: number, isLong: boolean): Sense | undefined {
  const given = list.subarray(at, at + (isLong ? 16 : 8));
  const own = blockDescriptor({ nexus }, isLong);
  const lengthAt = isLong ? 8 : 4;
  if (!given.subarray(lengthAt).equals(own.subarray(lengthAt)))
    return invalidParameter(at + lengthAt + (isLong ? 4 : 1), 7);
  const blocks = given.subarray(0, lengthAt);
  const isKept = blocks.every((byte) => byte === 0) || blocks.every((byte) => byte === 0xff);
  return isKept || blocks.equals(own.subarray(0, lengthAt)) ? undefined : invalidParameter(at, 7);
}

function parsePages(modes: ModeParameters, list: Buffer, start: number): Map<ModePage, Buffer> | Sense {
  const values = new Map<ModePage, Buffer>();
  for (let at = start; at < list.length;) {
    const page = parsePageHeader(list, at);
    if ('key' in page) return page;
    const end = at + page.defaults.length;
    if (end > list.length) return illegalRequest(ASC.parameterListLength);
    const bytes = Buffer.from(list.subarray(at, end));
    // PS is reserved here.
    bytes[0] = (bytes[0] ?? 0) & 0x7f;
    const bad = findUnchangeable(page, values.get(page) ?? modes.current(page), bytes);
    if (bad !== undefined) return invalidParameter(at + bad.byte, bad.bit);
    values.set(page, bytes);
    at = end;
  }
  return values;
}

/** Which page begins there. */
function parsePageHeader(list: Buffer, at: number): ModePage | Sense {
  const first = list[at] ?? 0;
  const isSubpage = (first & 0x40) !== 0;
  const headerBytes = isSubpage ? 4 : 2;
  if (at + headerBytes > list.length) return illegalRequest(ASC.parameterListLength);
  const code = first & 0x3f;
  const subpage = isSubpage ? list.readUInt8(at + 1) : 0;
  const page = MODE_PAGES.find((one) => one.page === code && one.subpage === subpage);
  if (page === undefined || isSubpage !== (subpage !== 0)) return invalidParameter(at, 5);
  const lengthAt = isSubpage ? at + 2 : at + 1;
  const bodyBytes = isSubpage ? list.readUInt16BE(lengthAt) : list.readUInt8(lengthAt);
  return headerBytes + bodyBytes === page.defaults.length ? page : invalidParameter(lengthAt, 7);
}

/** The first bit that would change and may not. */
function findUnchangeable(
  page: ModePage,
  current: Buffer,
  wanted: Buffer,
): { readonly byte: number; readonly bit: number } | undefined {
  for (const [byte, value] of wanted.entries()) {
    const extra = (value ^ (current[byte] ?? 0)) & ~(page.changeable[byte] ?? 0) & 0xff;
    if (extra !== 0) return { byte, bit: 31 - Math.clz32(extra) };
  }
  return undefined;
}

export const MODE_COMMANDS: readonly CommandRow[] = [
  { name: 'MODE SENSE(6)', usage: usageOf('1a 08 ff ff ff 00'), access: 'read', prepare: prepareSense(FORM_6) },
  {
    name: 'MODE SENSE(10)',
    usage: usageOf('5a 18 ff ff 00 00 00 ffff 00'),
    access: 'read',
    prepare: prepareSense(FORM_10),
  },
  { name: 'MODE SELECT(6)', usage: usageOf('15 10 00 00 ff 00'), access: 'write', prepare: prepareSelect(FORM_6) },
  {
    name: 'MODE SELECT(10)',
    usage: usageOf('55 10 00 00 00 00 00 ffff 00'),
    access: 'write',
    prepare: prepareSelect(FORM_10),
  },
];
