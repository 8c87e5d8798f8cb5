/**
 * `<home>/witness`: the newest version that this home has seen of each document of its store, and how far each volume's
 * log was seen to go (docs/formats/witness.md, docs/adr/0011-witness.md). It tells a store that was put back to an older
 * state from one that is as it was left.
 *
 * A hint that may be lost: without it, or without its last lines, less is noticed, and nothing else happens; what can't be
 * read or written of it is left out. Lines are appended, by several processes at once; each has a checksum, so that a torn
 * or mixed one does not count. Read when it is asked first; written by `flush`.
 */
import { appendFileSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Witness } from '../blockstore/index.ts';

const FILE_MODE = 0o600;
/** Documents remembered; those noted longest ago are forgotten first. */
const ENTRIES_MAX = 100_000;
/** Changes that are kept in memory before they are written. */
const PENDING_MAX = 256;
/** A file of more lines than this, and of more than four for each document, is written anew. */
const LINES_MIN = 4096;

/** `+`: seen at this version or a newer one. `=`: this version counts, whatever was seen. `-`: gone. */
type Change = '+' | '=' | '-';

const LINE = /^([-+=]) (\S+) (\S+) (\d{1,15}) ([0-9a-f]{8})$/;
const checkOf = (text: string): string => crc32(text).toString(16).padStart(8, '0');

export class HomeWitness implements Witness {
  readonly storeId: string;
  readonly #path: string;
  readonly #pending = new Map<string, string>();
  #versions: Map<string, number> | undefined;
  #lines = 0;

  constructor(home: string, storeId: string) {
    this.#path = join(home, 'witness');
    this.storeId = storeId;
  }

  newest(key: string): number | undefined {
    return this.#loaded.get(key);
  }

  saw(key: string, version: number): void {
    if (version > (this.newest(key) ?? 0)) this.#change('+', key, version);
  }

  forget(key: string): void {
    if (this.newest(key) !== undefined) this.#change('-', key, 0);
  }

  known(): Iterable<string> {
    return [...this.#loaded.keys()];
  }

  /** Takes this version for the newest from now on, also when a newer one was seen. */
  accept(key: string, version: number): void {
    if (version !== this.newest(key)) this.#change('=', key, version);
  }

  /** Writes what was noted; lost if that fails. */
  flush(): void {
    if (this.#pending.size === 0) return;
    // The empty line ends what another process may have torn.
    const text = `\n${[...this.#pending.values()].join('\n')}\n`;
    this.#lines += this.#pending.size;
    this.#pending.clear();
    try {
      appendFileSync(this.#path, text, { mode: FILE_MODE });
      if (this.#lines > Math.max(LINES_MIN, 4 * this.#loaded.size)) this.#rewrite();
    } catch {
      // A full disk, or a home that may not be written: detection is lost, nothing else.
    }
  }

  get #loaded(): Map<string, number> {
    this.#versions ??= this.#read();
    return this.#versions;
  }

  #change(change: Change, key: string, version: number): void {
    apply(this.#loaded, change, key, version);
    // What takes back a newer version must reach the file, also where more was seen since.
    const takesBack = change === '+' && /^[-=]/.test(this.#pending.get(key) ?? '');
    const text = `${takesBack ? '=' : change} ${this.storeId} ${key} ${String(version)}`;
    this.#pending.set(key, `${text} ${checkOf(text)}`);
    if (this.#pending.size >= PENDING_MAX) this.flush();
  }

  #read(): Map<string, number> {
    const versions = new Map<string, number>();
    const text = this.#text();
    this.#lines = 0;
    for (const line of text.split('\n')) {
      const match = LINE.exec(line);
      if (match === null) continue;
      this.#lines += 1;
      const [, change, storeId, key, version, check] = match;
      if (storeId !== this.storeId || key === undefined) continue;
      if (checkOf(line.slice(0, -9)) === check) apply(versions, change as Change, key, Number(version));
    }
    return versions;
  }

  #text(): string {
    try {
      return readFileSync(this.#path, 'latin1');
    } catch {
      return '';
    }
  }

  /** What another process appends between the reading and the renaming is lost. */
  #rewrite(): void {
    const versions = this.#read();
    const lines = [...versions].map(([key, version]) => {
      const text = `+ ${this.storeId} ${key} ${String(version)}`;
      return `${text} ${checkOf(text)}\n`;
    });
    const staged = `${this.#path}.${String(process.pid)}.new`;
    try {
      writeFileSync(staged, lines.join(''), { mode: FILE_MODE });
      renameSync(staged, this.#path);
      this.#versions = versions;
      this.#lines = lines.length;
    } catch (error) {
      rmSync(staged, { force: true });
      throw error;
    }
  }
}

/** The map is in the order of noting, so that the oldest goes first. */
function apply(versions: Map<string, number>, change: Change, key: string, version: number): void {
  const before = versions.get(key) ?? 0;
  versions.delete(key);
  if (change === '-') return;
  versions.set(key, change === '=' ? version : Math.max(before, version));
  if (versions.size <= ENTRIES_MAX) return;
  for (const oldest of versions.keys()) {
    versions.delete(oldest);
    return;
  }
}

/** Takes what it is told for the newest, and notes in `of` what it was told. */
export function accepting(of: HomeWitness): Witness {
  return {
    newest: () => undefined,
    saw: (key, version) => {
      of.accept(key, version);
    },
    forget: (key) => {
      of.forget(key);
    },
    known: () => [],
  };
}

/** Knows what `of` has seen, and tells it what was seen here only when that is to be kept. */
export class LateNotes implements Witness {
  readonly #of: HomeWitness;
  readonly #seen = new Map<string, number>();

  constructor(of: HomeWitness) {
    this.#of = of;
  }

  newest(key: string): number | undefined {
    return this.#of.newest(key);
  }

  saw(key: string, version: number): void {
    this.#seen.set(key, Math.max(version, this.#seen.get(key) ?? 0));
  }

  forget(key: string): void {
    this.#of.forget(key);
  }

  known(): Iterable<string> {
    return this.#of.known();
  }

  keep(): void {
    for (const [key, version] of this.#seen) this.#of.saw(key, version);
  }
}
