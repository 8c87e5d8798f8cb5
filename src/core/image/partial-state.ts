/**
 * What is known about a partly written output: `<partial>.state`, a small JSON document beside it. It is only
 * written after the data that it vouches for is durable, and is replaced as a whole. A state that is missing,
 * damaged, of another version, of another file or for another key means that the work starts anew.
 */
import { open, readFile, rename } from 'node:fs/promises';
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

const VERSION = 1;
const STATE_BYTES_MAX = 4096;

/** The state at `path`, or undefined when there is none that can be used. */
export async function readPartialState(path: string): Promise<PartialState | undefined> {
  const text = await naming(path, () => ifPresent(readFile(path, 'utf8')));
  if (text === undefined || text.length > STATE_BYTES_MAX) return undefined;
  try {
    const document: unknown = JSON.parse(text);
    return isState(document) && document.completedBytes <= document.sizeBytes ? document : undefined;
  } catch {
    return undefined;
  }
}

/** Replaces the state at `path`; the new one is whole on disk when this returns. */
export async function writePartialState(path: string, state: PartialState): Promise<void> {
  const temporaryPath = `${path}.new`;
  await naming(temporaryPath, async () => {
    const handle = await open(temporaryPath, 'w', 0o600);
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
