/**
 * The past of a volume, as a tree of states: each is what one write made of the state before it. Homes that open the volume one
 * after the other go on from the same state; where one was fenced with writes that it had not uploaded, branches part. Every
 * sector that is written says by which write, and no two states are alike, so a volume that is read names its state, and
 * what is lost, stale, torn or misplaced names none.
 */
import { createHash } from 'node:crypto';
import { PAGE_BYTES } from '../../../src/core/blockstore/index.ts';

export const SECTOR_BYTES = 512;
/** The name of a sector of zeroes. */
const ZERO = '';

export interface State {
  /** Of the write that made it; unique over all writers. */
  readonly number: number;
  readonly what: string;
  /** Undefined for an empty volume, before the first write. */
  readonly before: State | undefined;
  readonly depth: number;
  /** What the sectors that its write changed hold, by name. */
  readonly effects: ReadonlyMap<number, string>;
  readonly sizeBytes: number;
  readonly hash: bigint;
}

/** What was read of a volume: the names of its sectors. */
export interface Found {
  readonly sectors: readonly string[];
  readonly sizeBytes: number;
}

const nameOf = (bytes: Buffer): string => (bytes.every((byte) => byte === 0) ? ZERO : bytes.toString('latin1'));

const digest = (text: string): bigint => createHash('sha1').update(text, 'latin1').digest().readBigUInt64LE(0);
const hashOf = (sector: number, name: string): bigint => (name === ZERO ? 0n : digest(`${String(sector)} ${name}`));
const hashOfSize = (sizeBytes: number): bigint => digest(`size ${String(sizeBytes)}`);

/** The bytes of sectors from `sector` on, as write `number` leaves them. */
export function stamped(sector: number, count: number, number: number): Buffer {
  const bytes = Buffer.alloc(count * SECTOR_BYTES, (number % 251) + 1);
  for (let i = 0; i < count; i++) {
    bytes.write(`write ${String(number)} of sector ${String(sector + i)};`, i * SECTOR_BYTES, 'latin1');
    bytes.writeUInt32LE(number, (i + 1) * SECTOR_BYTES - 4);
  }
  return bytes;
}

export function foundOf(bytes: Buffer): Found {
  const sectors: string[] = [];
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) sectors.push(nameOf(bytes.subarray(at, at + SECTOR_BYTES)));
  return { sectors, sizeBytes: bytes.length };
}

/** For people. */
export const sectorText = (name: string): string =>
  name === ZERO
    ? 'zeroes'
    : (/write \d+ of sector \d+/.exec(name)?.[0] ?? `no stamp but ${JSON.stringify(name.slice(0, 24))}`);

export const stateText = (state: State | undefined): string =>
  state === undefined
    ? 'nothing'
    : `write ${String(state.number)} (${state.what}, number ${String(state.depth)} on its branch)`;

/** Whether `state` is `later`, or came before it on its branch. */
export function isIn(state: State, later: State): boolean {
  let at: State | undefined = later;
  while (at !== undefined && at.depth > state.depth) at = at.before;
  return at === state;
}

export class History {
  readonly #byHash = new Map<bigint, State>();
  readonly empty: State;
  #number = 0;

  /** A volume of zeroes. */
  constructor(sizeBytes: number) {
    const hash = hashOfSize(sizeBytes);
    this.empty = { number: 0, what: 'creation', before: undefined, depth: 0, effects: new Map(), sizeBytes, hash };
    this.#byHash.set(hash, this.empty);
  }

  /** The number that was given last. */
  get lastNumber(): number {
    return this.#number;
  }

  nextNumber(): number {
    return (this.#number += 1);
  }

  stateOf(found: Found): State | undefined {
    let hash = hashOfSize(found.sizeBytes);
    for (const [sector, name] of found.sectors.entries()) hash ^= hashOf(sector, name);
    return this.#byHash.get(hash);
  }

  begin(state: State, found: Found): Branch {
    return new Branch(this, state, found.sectors);
  }

  has(hash: bigint): boolean {
    return this.#byHash.has(hash);
  }

  add(state: State): void {
    this.#byHash.set(state.hash, state);
  }
}

/** What one record of the log may hold of a write: these sectors, and the size. */
type Step = ReadonlyMap<number, string>;

/** The writes of one home, from the state that it found on. */
export class Branch {
  readonly #history: History;
  readonly #sectors: string[];
  #last: State;

  constructor(history: History, state: State, sectors: readonly string[]) {
    this.#history = history;
    this.#last = state;
    this.#sectors = [...sectors];
  }

  /** Behind all that was written. */
  get last(): State {
    return this.#last;
  }

  /**
   * Adds a write of `bytes` at `offset`, which may be inside of a sector. Like on any disk, one that is not acknowledged may be
   * there in part: a record of the log holds some of its pages, the parts of pages at its ends first.
   * @returns undefined, and adds nothing, when the volume was in a state on the way there before
   */
  write(number: number, offset: number, bytes: Buffer): State | undefined {
    const pieces = piecesOf(offset, bytes.length, PAGE_BYTES);
    return this.#add(
      number,
      `write of ${String(bytes.length)} bytes at ${String(offset)}`,
      this.#steps(offset, bytes, pieces),
    );
  }

  /** As `write`; whole pages become zeroes together. */
  zero(number: number, offset: number, length: number): State | undefined {
    const pieces = piecesOf(offset, length, Number.POSITIVE_INFINITY);
    return this.#add(
      number,
      `zeroes of ${String(length)} bytes at ${String(offset)}`,
      this.#steps(offset, Buffer.alloc(length), pieces),
    );
  }

  /** As `write`; to a number of whole sectors. The rest of the last page becomes zeroes first. */
  resize(number: number, sizeBytes: number): State | undefined {
    const end = Math.min(this.#last.sizeBytes, Math.ceil(sizeBytes / PAGE_BYTES) * PAGE_BYTES);
    const tail = new Map<number, string>();
    const rest = new Map<number, string>();
    for (let sector = sizeBytes / SECTOR_BYTES; sector < this.#sectors.length; sector++)
      (sector < end / SECTOR_BYTES ? tail : rest).set(sector, ZERO);
    return this.#add(number, `resize to ${String(sizeBytes)} bytes`, [tail, rest], sizeBytes);
  }

  #steps(offset: number, bytes: Buffer, pieces: readonly Piece[]): Step[] {
    return pieces.map(({ from, to }) => {
      const step = new Map<number, string>();
      for (let at = from; at < to;) {
        const sector = Math.floor(at / SECTOR_BYTES);
        const end = Math.min((sector + 1) * SECTOR_BYTES, to);
        const part = bytes.subarray(at - offset, end - offset);
        const isWhole = part.length === SECTOR_BYTES;
        step.set(sector, nameOf(isWhole ? part : this.#patched(sector, at - sector * SECTOR_BYTES, part)));
        at = end;
      }
      return step;
    });
  }

  #patched(sector: number, from: number, part: Buffer): Buffer {
    const bytes = Buffer.alloc(SECTOR_BYTES);
    bytes.write(this.#sectors[sector] ?? ZERO, 'latin1');
    part.copy(bytes, from);
    return bytes;
  }

  #add(number: number, what: string, steps: readonly Step[], sizeBytes = this.#last.sizeBytes): State | undefined {
    const added: State[] = [];
    const now = new Map<number, string>();
    let before = this.#last;
    for (const [i, step] of steps.entries()) {
      const size = i === steps.length - 1 ? sizeBytes : before.sizeBytes;
      let hash = before.hash ^ hashOfSize(before.sizeBytes) ^ hashOfSize(size);
      for (const [sector, name] of step) {
        hash ^= hashOf(sector, now.get(sector) ?? this.#sectors[sector] ?? ZERO) ^ hashOf(sector, name);
        now.set(sector, name);
      }
      if (hash === before.hash) continue;
      if (this.#history.has(hash)) return undefined;
      before = { number, what, before, depth: before.depth + 1, effects: step, sizeBytes: size, hash };
      added.push(before);
    }
    if (added.length === 0) return undefined;
    for (const state of added) this.#history.add(state);
    for (const [sector, name] of now) this.#sectors[sector] = name;
    this.#last = before;
    return before;
  }

  /** What is different in `found` from the last state; for people. */
  difference(found: Found): string {
    const wrong = Array.from({ length: Math.max(found.sectors.length, this.#sectors.length) }, (_, sector) => sector)
      .filter((sector) => (this.#sectors[sector] ?? ZERO) !== (found.sectors[sector] ?? ZERO))
      .map((sector) => {
        const [is, was] = [found.sectors[sector], this.#sectors[sector]].map((name) => sectorText(name ?? ZERO));
        return `sector ${String(sector)} has ${String(is)}, and ${String(was)} was written last`;
      });
    const { sizeBytes } = this.#last;
    const size =
      found.sizeBytes === sizeBytes ? '' : `${String(found.sizeBytes)} bytes, and ${String(sizeBytes)} last; `;
    return `${size}${String(wrong.length)} sectors differ: ${wrong.slice(0, 6).join('; ')}`;
  }

  /** Whether a sector may read as `name` while what was written behind `from` may or may not have taken effect. */
  mayRead(sector: number, name: string, from: State): boolean {
    for (let state: State | undefined = this.#last; state !== undefined; state = state.before) {
      const effect = state.effects.get(sector);
      if (effect === name) return true;
      if (effect !== undefined && state.depth <= from.depth) return false;
    }
    return name === ZERO;
  }
}

interface Piece {
  readonly from: number;
  readonly to: number;
}

/** The parts of pages at the ends of an extent, then the pages between, up to `bytesMax` at a time. */
function piecesOf(offset: number, length: number, bytesMax: number): Piece[] {
  const end = offset + length;
  const wholeFrom = Math.ceil(offset / PAGE_BYTES) * PAGE_BYTES;
  const wholeTo = Math.floor(end / PAGE_BYTES) * PAGE_BYTES;
  if (wholeFrom > wholeTo) return [{ from: offset, to: end }];
  const pieces = [
    { from: offset, to: wholeFrom },
    { from: wholeTo, to: end },
  ];
  for (let from = wholeFrom; from < wholeTo; from += bytesMax)
    pieces.push({ from, to: Math.min(from + bytesMax, wholeTo) });
  return pieces.filter(({ from, to }) => to > from);
}
