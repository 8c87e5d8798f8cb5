/**
 * How the holders of a group's volumes serve them, as they have told this member: `replicas/ID/export.json` in the home, 0600, since
 * it has secrets of CHAP (docs/formats/state.md). It is there until this member serves the volume so itself.
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Semaphore, toSgwError, withSgwErrors, type Logger, type VolumeId } from '../../kit/index.ts';
import { makeFolder, servedAsOf, syncFolder } from '../../state/index.ts';
import { exportSecretsOf } from '../serving/chap-file.ts';
import type { GroupExport } from '../serving/grouped-exports.ts';

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const FOLDER = 'replicas';
const NAME = 'export.json';

/** What is told to replicas. */
export const textOfExport = (exported: GroupExport): string => JSON.stringify(exported);

export class KeptExports {
  readonly #home: string;
  readonly #log: Logger;
  readonly #turn = new Semaphore(1);

  constructor(home: string, log: Logger) {
    this.#home = home;
    this.#log = log;
  }

  /** Durable when it resolves. What is not understood takes the place of what was told before as well. */
  async keep(volumeId: VolumeId, holder: string, told: string): Promise<void> {
    const exported = parseExport(told);
    if (exported === undefined) {
      this.#log.warn({ volumeId, holder }, 'what the holder tells of how it serves the volume is not understood');
      await this.forget(volumeId);
      return;
    }
    const path = pathOf(this.#home, volumeId);
    const text = JSON.stringify({ holder, ...exported });
    await this.#inTurn(async () => {
      if ((await textIn(path).catch(() => undefined)) === text) return;
      const { default: writeFileAtomic } = await import('write-file-atomic');
      await makeFolder(dirname(path), FOLDER_MODE);
      await writeFileAtomic(path, text, { mode: FILE_MODE, fsync: true });
      await syncFolder(dirname(path));
    });
  }

  /** As this holder has told it; undefined when it has not, or what is there can't be read. */
  async of(volumeId: VolumeId, holder: string): Promise<GroupExport | undefined> {
    const path = pathOf(this.#home, volumeId);
    try {
      const text = await this.#inTurn(async () => textIn(path));
      const kept = JSON.parse(text ?? '{}') as { readonly holder?: unknown };
      return kept.holder === holder ? exportOf(kept) : undefined;
    } catch (error) {
      this.#log.warn({ volumeId, path, err: toSgwError(error) }, 'how the volume was served before can not be read');
      return undefined;
    }
  }

  /** Durable when it resolves. */
  async forget(volumeId: VolumeId): Promise<void> {
    await this.#inTurn(async () => removeExport(this.#home, volumeId));
  }

  /** Forgets those of all other volumes. Durable when it resolves. */
  async keepOnly(volumes: ReadonlySet<string>): Promise<void> {
    await this.#inTurn(async () => forgetExportsBut(this.#home, volumes));
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return await this.#turn.run(async () => withSgwErrors(work));
  }
}

const pathOf = (home: string, volume: string): string => join(home, FOLDER, volume, NAME);

/** Of a home whose daemon does not run, or in its turn. Durable when it resolves. */
export async function forgetExportsBut(home: string, volumes: ReadonlySet<string>): Promise<void> {
  const names = await readdir(join(home, FOLDER)).catch(() => []);
  for (const name of names) if (!volumes.has(name)) await removeExport(home, name);
}

async function removeExport(home: string, volume: string): Promise<void> {
  const path = pathOf(home, volume);
  const names = await readdir(dirname(path)).catch(() => []);
  // Also what a kill left of one that was being written.
  const there = names.filter((name) => name.startsWith(NAME));
  if (there.length === 0) return;
  for (const name of there) await rm(join(dirname(path), name), { force: true });
  await syncFolder(dirname(path));
}

async function textIn(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** What a member told; undefined unless every field is as it has to be. */
export function parseExport(text: string): GroupExport | undefined {
  try {
    return exportOf(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** With the fields that are known alone, since another member says them. */
function exportOf(value: unknown): GroupExport | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const told = value as { readonly as?: unknown; readonly secrets?: unknown };
  const [as, secrets] = [servedAsOf(told.as), exportSecretsOf(told.secrets)];
  return as === undefined || secrets === undefined ? undefined : { as, secrets };
}
