/**
 * What a scrub or a verification has found: for each damaged object, who is hurt and where. Bounded: beyond
 * OBJECTS_MAX objects only their number is kept, and beyond EXTENTS_MAX extents of one thing neighbours are joined.
 */
import type { SgwError } from '../../kit/index.ts';
import { PAGE_BYTES } from '../geometry.ts';

const OBJECTS_MAX = 10_000;
const EXTENTS_MAX = 10_000;

/** Something that data belongs to. */
export interface Subject {
  readonly kind: 'volume' | 'snapshot' | 'store';
  readonly id: string;
  /** `?` when its entry can not be read. */
  readonly name: string;
  /** Hurt pages reach no further. */
  readonly sizeBytes: number;
}

/** Bytes of a volume or a snapshot. */
export interface HurtExtent {
  readonly offset: number;
  readonly length: number;
}

export interface Hurt {
  readonly kind: Subject['kind'];
  readonly id: string;
  readonly name: string;
  /** Ascending and apart. Empty where nobody can tell any more how large it is. */
  readonly extents: readonly HurtExtent[];
}

export interface DamagedObject {
  readonly key: string;
  readonly message: string;
  readonly affects: readonly Hurt[];
}

/** Extents that are noted in ascending order of their begin, or nearly so. */
export class ExtentList {
  readonly #extents: HurtExtent[] = [];

  add(offset: number, length: number): void {
    const last = this.#extents.at(-1);
    if (length <= 0) return;
    if (last === undefined || offset > last.offset + last.length || offset < last.offset) {
      this.#extents.push({ offset, length });
      if (this.#extents.length > 2 * EXTENTS_MAX) this.#shorten();
      return;
    }
    const end = Math.max(last.offset + last.length, offset + length);
    this.#extents[this.#extents.length - 1] = { offset: last.offset, length: end - last.offset };
  }

  /** Ascending, merged. */
  get merged(): HurtExtent[] {
    const merged: HurtExtent[] = [];
    for (const { offset, length } of this.#extents.toSorted((a, b) => a.offset - b.offset)) {
      const last = merged.at(-1);
      if (last === undefined || offset > last.offset + last.length) merged.push({ offset, length });
      else {
        const end = Math.max(last.offset + last.length, offset + length);
        merged[merged.length - 1] = { offset: last.offset, length: end - last.offset };
      }
    }
    return merged;
  }

  /** Joins pairs of neighbours, so that there are at most EXTENTS_MAX. */
  #shorten(): void {
    const merged = this.merged;
    this.#extents.length = 0;
    const step = Math.ceil(merged.length / EXTENTS_MAX);
    for (let i = 0; i < merged.length; i += step) {
      const first = merged[i];
      const last = merged[Math.min(i + step, merged.length) - 1];
      if (first === undefined || last === undefined) continue;
      this.#extents.push({ offset: first.offset, length: last.offset + last.length - first.offset });
    }
  }
}

interface Entry {
  readonly message: string;
  readonly hurt: Map<string, { readonly subject: Subject; readonly extents: ExtentList }>;
}

export class DamageLedger {
  readonly #entries = new Map<string, Entry>();
  #left = 0;

  /** Objects that were found damaged beyond those that are kept. */
  get leftOut(): number {
    return this.#left;
  }

  get empty(): boolean {
    return this.#entries.size === 0;
  }

  /** Takes note of a damaged object. */
  note(error: SgwError): void {
    this.#entryOf(error);
  }

  /** Takes note that pages of the subject can't be read because of it. */
  hurtPages(error: SgwError, subject: Subject, firstPage: number, pageCount: number): void {
    const offset = firstPage * PAGE_BYTES;
    this.#hurt(error, subject)?.add(offset, Math.min(pageCount * PAGE_BYTES, subject.sizeBytes - offset));
  }

  /** Takes note that nothing of the subject can be read because of it. */
  hurtWhole(error: SgwError, subject: Subject): void {
    this.#hurt(error, subject)?.add(0, subject.sizeBytes);
  }

  /** Takes over what another ledger has. */
  add(other: DamageLedger): void {
    for (const [key, entry] of other.#entries) {
      const own = this.#entries.get(key);
      if (own === undefined) this.#entries.set(key, entry);
      else mergeHurt(own, entry);
    }
    this.#left += other.#left;
  }

  /** By key. */
  get damage(): DamagedObject[] {
    const keys = [...this.#entries.keys()].sort();
    return keys.map((key) => {
      const entry = this.#entries.get(key);
      const hurt = [...(entry?.hurt.values() ?? [])];
      const affects = hurt.map(({ subject, extents }) => ({
        kind: subject.kind,
        id: subject.id,
        name: subject.name,
        extents: extents.merged,
      }));
      return { key, message: entry?.message ?? '', affects };
    });
  }

  #hurt(error: SgwError, subject: Subject): ExtentList | undefined {
    const entry = this.#entryOf(error);
    if (entry === undefined) return undefined;
    let hurt = entry.hurt.get(subject.id);
    if (hurt === undefined) {
      hurt = { subject, extents: new ExtentList() };
      entry.hurt.set(subject.id, hurt);
    }
    return hurt.extents;
  }

  #entryOf(error: SgwError): Entry | undefined {
    const key = keyOf(error);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      if (this.#entries.size >= OBJECTS_MAX) {
        this.#left += 1;
        return undefined;
      }
      entry = { message: error.message, hurt: new Map() };
      this.#entries.set(key, entry);
    }
    return entry;
  }
}

function mergeHurt(into: Entry, from: Entry): void {
  for (const [id, hurt] of from.hurt) {
    const own = into.hurt.get(id);
    if (own === undefined) into.hurt.set(id, hurt);
    else for (const { offset, length } of hurt.extents.merged) own.extents.add(offset, length);
  }
}

/** The object that an error blames. */
const keyOf = (error: SgwError): string => (typeof error.details['key'] === 'string' ? error.details['key'] : '');
