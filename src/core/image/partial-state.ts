/**
 * What is known about a partly written output: `<partial>.state`, a small JSON document beside it. It is only
 * written after the data that it vouches for is durable, and is replaced as a whole. A state that is missing,
 * damaged, of another version, of another file or for another key means that the work starts anew, and so does one
 * that another user put there: in a directory that others may write to, it could vouch for data that was never written.
 */
import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { ifPresent, naming } from './file-errors.ts';

export interface PartialState {
  /** Names what is being written: work continues only for the same thing. */
  readonly resumeKey: string;
  readonly sizeBytes: number;
  /** The partial file that this belongs to. */
  readonly inode: string;
  /** Every byte below is written and durable. */
  readonly completedBytes: number;
}

/** Beside the partial file. */
export const statePath = (partialPath: string): string => `${partialPath}.state`;

/** Removes the state beside `partialPath`, and one that a killed process had not yet put in its place. */
export async function removeState(partialPath: string): Promise<void> {
  await rm(newStatePath(statePath(partialPath)), { force: true });
  await rm(statePath(partialPath), { force: true });
}

const newStatePath = (path: string): string => `${path}.new`;

const VERSION = 1;
const STATE_BYTES_MAX = 4096;

/** The state at `path`, or undefined when there is none that can be used. */
export async function readPartialState(path: string): Promise<PartialState | undefined> {
  const text = await readOwnFile(path);
  if (text === undefined) return undefined;
  try {
    const document: unknown = JSON.parse(text);
    return isState(document) && document.completedBytes <= document.sizeBytes ? document : undefined;
  } catch {
    return undefined;
  }
}

/** The text of a small regular file that belongs to this user; undefined for anything else. Links are not followed. */
async function readOwnFile(path: string): Promise<string | undefined> {
  return naming(path, async () => {
    const handle = await ifPresent(open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)).catch(
      (error: unknown) => {
        if (['ELOOP', 'ENXIO', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
        throw error;
      },
    );
    if (handle === undefined) return undefined;
    try {
      const facts = await handle.stat();
      const isOurs = facts.isFile() && facts.uid === (process.geteuid?.() ?? facts.uid);
      return isOurs && facts.size <= STATE_BYTES_MAX ? await handle.readFile('utf8') : undefined;
    } finally {
      await handle.close();
    }
  });
}

/** Replaces the state at `path`; the new one is whole on disk when this returns. */
export async function writePartialState(path: string, state: PartialState): Promise<void> {
  const temporaryPath = newStatePath(path);
  await naming(temporaryPath, async () => {
    // What is there was left by a killed process, or is a link that somebody wants to have written through.
    await rm(temporaryPath, { force: true });
    const handle = await open(temporaryPath, 'wx', 0o600);
    try {
      await handle.writeFile(JSON.stringify({ version: VERSION, ...state }));
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
  await naming(path, () => rename(temporaryPath, path));
}

function isState(value: unknown): value is PartialState {
  if (typeof value !== 'object' || value === null) return false;
  const { version, resumeKey, sizeBytes, inode, completedBytes } = value as Record<string, unknown>;
  return (
    version === VERSION &&
    typeof resumeKey === 'string' &&
    typeof inode === 'string' &&
    Number.isSafeInteger(sizeBytes) &&
    Number.isSafeInteger(completedBytes) &&
    (completedBytes as number) >= 0
  );
}
