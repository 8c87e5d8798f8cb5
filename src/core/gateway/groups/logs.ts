/**
 * The logs of a volume in a member's home: the own one, which a holder writes, and the replica log (docs/adr/0025-groups.md). A volume
 * has one that counts; it changes its place by one rename, under the volume's lock, so that no verb works on it meanwhile.
 */
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock, Logger, Random, VolumeId } from '../../kit/index.ts';
import { withSgwErrors } from '../../kit/index.ts';
import { freeBytes } from '../../objectstore/index.ts';
import type { ReplicaLogs } from '../../replication/index.ts';
import { acquireLock, makeFolder, syncFolder } from '../../state/index.ts';
import {
  directoryDisk,
  findLog,
  openReplicaLog,
  positionFound,
  type FoundPosition,
  type ReplicaLog,
} from '../../writelog/index.ts';
import { logFolder, volumeFolder } from '../serving/settings.ts';

const FOLDER_MODE = 0o700;
const LOCK_TIMEOUT_MS = 5000;
/** What a replica log begins with, and room to grow. */
const ROOM_BYTES = 512 * 1024 ** 2;
/** How many logs of each kind are kept: those with records that a newer reign does not have. */
const SET_ASIDE_KEPT = [
  ['log-begun-anew-', 0],
  ['log-diverged-', 3],
  ['log-replaced-', 3],
] as const;

interface LogsParts {
  /** Absolute path of the home. */
  readonly home: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export class HomeLogs implements ReplicaLogs {
  readonly #parts: LogsParts;

  constructor(parts: LogsParts) {
    this.#parts = parts;
  }

  async own(volumeId: VolumeId): Promise<FoundPosition | null> {
    const folder = logFolder(this.#parts.home, volumeId);
    if ((await namesIn(folder)).length === 0) return null;
    const disk = directoryDisk(folder);
    const position = positionFound(await findLog(disk), disk);
    for (const name of await disk.list()) {
      const file = await disk.open(name, 0);
      try {
        await file.sync();
      } finally {
        await file.close();
      }
    }
    return position === null ? null : { ...position, synced: position.received };
  }

  async open(volumeId: VolumeId, capacityBytes: number): Promise<ReplicaLog> {
    const { home, clock, random } = this.#parts;
    const folder = replicaFolder(home, volumeId);
    await this.#makeParent(folder);
    const volumes = volumeFolder(home, volumeId);
    await this.#prune([dirname(folder), volumes]);
    // Beside the volume's own log `status` and `doctor` look for what was acknowledged here and is not in the store.
    const disk = directoryDisk(folder, (reason) => (reason === 'diverged' ? volumes : undefined));
    return await openReplicaLog({ disk, found: await findLog(disk), capacityBytes, clock, random });
  }

  async adopt(volumeId: VolumeId): Promise<{ readonly setAside: string | null }> {
    const { home } = this.#parts;
    const own = logFolder(home, volumeId);
    return await this.#locked(volumeId, async () => {
      if ((await namesIn(replicaFolder(home, volumeId))).length === 0) return { setAside: null };
      await this.#makeParent(own);
      let setAside: string | null = null;
      if ((await namesIn(own)).length > 0) setAside = await directoryDisk(own).setAside('replaced');
      await this.#move(replicaFolder(home, volumeId), own);
      return { setAside };
    });
  }

  async release(volumeId: VolumeId): Promise<void> {
    const { home } = this.#parts;
    const replica = replicaFolder(home, volumeId);
    await this.#locked(volumeId, async () => {
      if ((await namesIn(logFolder(home, volumeId))).length === 0) return;
      await this.#makeParent(replica);
      if ((await namesIn(replica)).length > 0) await directoryDisk(replica).setAside('replaced');
      await this.#move(logFolder(home, volumeId), replica);
    });
  }

  /**
   * Logs that were set aside would fill the disk of a member that comes back often. What was begun anew, the store has. Where the disk
   * is short the oldest go, whatever they are: a replica that can't follow is worse than to lack what nobody was told of.
   */
  async #prune(folders: readonly string[]): Promise<void> {
    const left: string[] = [];
    for (const folder of folders) {
      const names = await namesIn(folder);
      for (const [prefix, kept] of SET_ASIDE_KEPT) {
        const number = (name: string): number => Number(name.slice(prefix.length));
        const aside = names.filter((name) => name.startsWith(prefix)).sort((a, b) => number(b) - number(a));
        for (const name of aside.slice(kept)) await this.#remove(join(folder, name));
        left.push(...aside.slice(0, kept).map((name) => join(folder, name)));
      }
    }
    for (const path of await oldestFirst(left)) {
      const free = await freeBytes(this.#parts.home).catch(() => Infinity);
      if (free >= ROOM_BYTES) return;
      this.#parts.log.warn({ path }, 'the disk is short: a log that was set aside is removed');
      await this.#remove(path);
    }
  }

  async #remove(path: string): Promise<void> {
    await withSgwErrors(async () => rm(path, { recursive: true, force: true }));
  }

  /** Takes a replica log away that the group needs no more: the store has what it holds, or another member does. */
  async drop(volumeId: VolumeId): Promise<void> {
    const folder = dirname(replicaFolder(this.#parts.home, volumeId));
    await withSgwErrors(async () => rm(folder, { recursive: true, force: true }));
  }

  /** Durable when it resolves. `to` is empty, or is not there. */
  async #move(from: string, to: string): Promise<void> {
    await withSgwErrors(async () => {
      await rm(to, { recursive: true, force: true });
      await rename(from, to);
      await syncFolder(dirname(to));
      await syncFolder(dirname(from));
    });
  }

  async #makeParent(folder: string): Promise<void> {
    await withSgwErrors(async () => makeFolder(dirname(folder), FOLDER_MODE));
  }

  async #locked<T>(volumeId: VolumeId, work: () => Promise<T>): Promise<T> {
    const lock = await acquireLock({
      home: this.#parts.home,
      name: `volume:${volumeId}`,
      purpose: 'moving its log',
      timeoutMs: LOCK_TIMEOUT_MS,
    });
    try {
      return await work();
    } finally {
      await lock.release();
    }
  }
}

const replicaFolder = (home: string, volumeId: string): string => join(home, 'replicas', volumeId, 'log');

async function oldestFirst(paths: readonly string[]): Promise<string[]> {
  const aged = await Promise.all(
    paths.map(async (path) => ({ path, ms: (await stat(path).catch(() => undefined))?.mtimeMs ?? 0 })),
  );
  return aged.sort((a, b) => a.ms - b.ms).map(({ path }) => path);
}

async function namesIn(folder: string): Promise<string[]> {
  return await withSgwErrors(async () =>
    readdir(folder).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }),
  );
}
