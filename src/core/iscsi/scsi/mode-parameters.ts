/**
 * Mode parameters (SPC-4, 7.5; SBC-3, 6.5): pages with their default values and the bits that MODE SELECT may change. They are the
 * unit's, the same for all nexuses, and not saved: a reset brings the defaults back.
 */
export interface ModePage {
  readonly page: number;
  /** Of pages in sub-page format. */
  readonly subpage: number;
  /** With its header. */
  readonly defaults: Buffer;
  /** Ones where it may be changed; zeroes in the header. */
  readonly changeable: Buffer;
}

const bytesOf = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

const modePage = (defaults: string, changeable: string): ModePage => {
  const bytes = bytesOf(defaults);
  const first = bytes.readUInt8(0);
  const isSubpage = (first & 0x40) !== 0;
  return {
    page: first & 0x3f,
    subpage: isSubpage ? bytes.readUInt8(1) : 0,
    defaults: bytes,
    changeable: bytesOf(changeable),
  };
};

const CACHING = modePage(
  // WCE; prefetch as it likes; no cache segments.
  '08 12 04 00 ffff 0000 ffff ffff 00 00 0000 00 000000',
  '00 00 04 00 0000 0000 0000 0000 00 00 0000 00 000000',
);
const CONTROL = modePage(
  // GLTSD; unrestricted reordering; no busy timeout that is known.
  '0a 0a 02 10 00 00 0000 ffff 0000',
  '00 00 04 00 08 00 0000 0000 0000',
);

/** In the order of MODE SENSE with all pages. */
export const MODE_PAGES: readonly ModePage[] = [
  CACHING,
  CONTROL,
  // Control extension: nothing of it.
  modePage(
    '4a 01 001c 00 00 00 00 000000000000000000000000000000000000000000000000',
    '00 00 0000 00 00 00 00 000000000000000000000000000000000000000000000000',
  ),
  // Informational exceptions control: none are told.
  modePage('1c 0a 00 00 00000000 00000000', '00 00 00 00 00000000 00000000'),
];

export class ModeParameters {
  #values: ReadonlyMap<ModePage, Buffer> = new Map();
  // Looked at by every write, so kept apart.
  #writeCacheEnabled = true;
  #isSoftwareWriteProtected = false;

  /** WCE: a write may be acknowledged before it is durable. */
  get writeCacheEnabled(): boolean {
    return this.#writeCacheEnabled;
  }

  /** SWP */
  get isSoftwareWriteProtected(): boolean {
    return this.#isSoftwareWriteProtected;
  }

  /** D_SENSE */
  get hasDescriptorSense(): boolean {
    return this.#isSet(CONTROL, 2, 0x04);
  }

  /** Present values of a page. */
  current(page: ModePage): Buffer {
    return this.#values.get(page) ?? page.defaults;
  }

  /** Takes new values, each a whole page. */
  change(values: ReadonlyMap<ModePage, Buffer>): void {
    this.#take(new Map([...this.#values, ...values]));
  }

  reset(): void {
    this.#take(new Map());
  }

  #take(values: ReadonlyMap<ModePage, Buffer>): void {
    this.#values = values;
    this.#writeCacheEnabled = this.#isSet(CACHING, 2, 0x04);
    this.#isSoftwareWriteProtected = this.#isSet(CONTROL, 4, 0x08);
  }

  #isSet(page: ModePage, at: number, mask: number): boolean {
    return ((this.current(page)[at] ?? 0) & mask) !== 0;
  }
}
