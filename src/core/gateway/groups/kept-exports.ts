/**
 * How the holders of a group's volumes serve them, as they have told this member: `replicas/ID/export.json` in the home, 0600, since
 * it has secrets of CHAP (docs/formats/state.md). It is there until this member serves the volume so itself. Beside it, in
 * `reign.json`, is the newest epoch of those who have asked this member to take records: its log may forget it.
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Semaphore, SgwError, toSgwError, withSgwErrors, type Logger, type VolumeId } from '../../kit/index.ts';
import { makeFolder, servedAsOf, syncFolder } from '../../state/index.ts';
import { exportSecretsOf } from '../serving/chap-file.ts';
import type { GroupExport } from '../serving/grouped-exports.ts';

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const FOLDER = 'replicas';
const NAME = 'export.json';
const REIGN = 'reign.json';

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
    await this.#write(pathOf(this.#home, volumeId), JSON.stringify({ holder, ...exported }));
  }

  async #write(path: string, text: string): Promise<void> {
    await this.#inTurn(async () => {
      if ((await textIn(path).catch(() => undefined)) === text) return;
      const { default: writeFileAtomic } = await import('write-file-atomic');
      await makeFolder(dirname(path), FOLDER_MODE);
      await writeFileAtomic(path, text, { mode: FILE_MODE, fsync: true });
      await syncFolder(dirname(path));
    });
  }

  /** Durable when it resolves. */
  async keepEpoch(volumeId: VolumeId, epoch: number): Promise<void> {
    await this.#write(reignPathOf(this.#home, volumeId), JSON.stringify({ epoch }));
  }

  /** The newest that was kept; 0 when there is none. @throws what the disk gives; corrupt `reign-damaged` */
  async epochOf(volumeId: VolumeId): Promise<number> {
    const path = reignPathOf(this.#home, volumeId);
    const text = await this.#inTurn(async () => textIn(path));
    return text === undefined ? 0 : epochIn(path, text);
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
    await this.#inTurn(async () => removeKept(pathOf(this.#home, volumeId)));
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
const reignPathOf = (home: string, volume: string): string => join(home, FOLDER, volume, REIGN);

function epochIn(path: string, text: string): number {
  let epoch: unknown;
  try {
    ({ epoch } = JSON.parse(text) as { readonly epoch?: unknown });
  } catch {
    epoch = undefined;
  }
  if (Number.isSafeInteger(epoch)) return epoch as number;
  throw new SgwError('corrupt', 'reign-damaged', `${path} can not be read`, {
    hint: 'Take it away while no gateway holds an older reign of the volume: nothing else is lost by that.',
    details: { path },
  });
}

/** Of a home whose daemon does not run, or in its turn. Durable when it resolves. */
export async function forgetExportsBut(home: string, volumes: ReadonlySet<string>): Promise<void> {
  const names = await readdir(join(home, FOLDER)).catch(() => []);
  for (const name of names) {
    if (volumes.has(name)) continue;
    await removeKept(pathOf(home, name));
    await removeKept(reignPathOf(home, name));
  }
}

async function removeKept(path: string): Promise<void> {
  const names = await readdir(dirname(path)).catch(() => []);
  // Also what a kill left of one that was being written.
  const there = names.filter((name) => name.startsWith(basename(path)));
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
