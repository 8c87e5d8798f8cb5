/**
 * `state.json` as bytes: a lowdb adapter that keeps it whole through loss of power, and tells every changed byte.
 *
 * Invariants: the file at `path` is always a complete version, the old or the new one; `<path>.previous` is the version
 * before it. The checksum is over the rest of the document, and the text is exactly what `serialize` makes of it, so a
 * difference of one byte anywhere, blanks included, is damage. Both hold for all schema versions.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, readFile, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Adapter } from 'lowdb';
import { SgwError, toSgwError } from '../kit/index.ts';
import { findBadField, type StateDocument } from './document.ts';
import { makeFolder, syncFolder } from './home-folder.ts';
import { migrate, type AnyDocument } from './migrations.ts';

const FILE_MODE = 0o600;
const HOME_MODE = 0o700;

const toText = (value: unknown): string => JSON.stringify(value, null, 2);

/** The text of a document: its fields, and last the SHA-256 of them. */
export function serialize(document: AnyDocument): string {
  const { checksum: _, ...content } = document;
  const checksum = `sha256:${createHash('sha256').update(toText(content)).digest('hex')}`;
  return `${toText({ ...content, checksum })}\n`;
}

function damaged(path: string, what: string, cause?: unknown): SgwError {
  const previous = `${path}.previous`;
  const hasPrevious = existsSync(previous);
  const recovery = hasPrevious
    ? `${previous} is the version before it: look at it, and if it will do, copy it over ${path}.`
    : `Put back a copy of ${path}. Without one, remove it and begin a new gateway over the same store, which keeps the ` +
      `volumes: sgw activate --store DIR (that of this home is ${dirname(path)}/store unless another was given).`;
  return new SgwError('corrupt', 'state-damaged', `${path} is damaged: ${what}`, {
    hint: `Nothing was changed. ${recovery}`,
    details: { path, ...(hasPrevious ? { previous } : {}) },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** @throws corrupt `state-damaged`, unsupported `state-newer`. */
function parse(bytes: Buffer, path: string): StateDocument {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw damaged(path, 'it is not JSON', error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw damaged(path, 'it is not an object');
  if (!Buffer.from(serialize(value as AnyDocument)).equals(bytes)) throw damaged(path, 'its checksum does not match');
  const { checksum: _, ...document } = migrate(value as AnyDocument, path);
  const bad = findBadField(document);
  if (bad !== undefined) throw damaged(path, `its field ${bad} has no valid value`);
  return document as unknown as StateDocument;
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw toSgwError(error);
  }
}

/** The adapter of lowdb. Writing needs the home's lock. */
export class StateFile implements Adapter<StateDocument> {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Null when there is no state yet. @throws corrupt `state-damaged` also when only the previous version is there. */
  async read(): Promise<StateDocument | null> {
    const bytes = await readIfThere(this.#path);
    if (bytes !== undefined) return parse(bytes, this.#path);
    const previous = await readIfThere(`${this.#path}.previous`);
    if (previous === undefined) return null;
    // A change that came between the two looks puts the file there; a crash never takes it away.
    const again = await readIfThere(this.#path);
    if (again !== undefined) return parse(again, this.#path);
    throw damaged(this.#path, 'it is missing, and only its previous version is there');
  }

  /** Durable when it resolves; until then a crash leaves the old version. */
  async write(document: StateDocument): Promise<void> {
    const bad = findBadField(document);
    if (bad !== undefined) throw new SgwError('internal', 'assertion', `the state's field ${bad} has no valid value`);
    const folder = dirname(this.#path);
    try {
      await makeFolder(folder, HOME_MODE);
      await this.#keepPrevious();
      const { default: writeFileAtomic } = await import('write-file-atomic');
      await writeFileAtomic(this.#path, serialize({ ...document }), { mode: FILE_MODE, fsync: true });
      await syncFolder(folder);
    } catch (error) {
      throw toSgwError(error);
    }
  }

  async #keepPrevious(): Promise<void> {
    const staged = `${this.#path}.previous.new`;
    await unlinkIfThere(staged);
    try {
      await link(this.#path, staged);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rename(staged, `${this.#path}.previous`);
    // When both were one file already, the rename did nothing.
    await unlinkIfThere(staged);
  }
}

async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
}
