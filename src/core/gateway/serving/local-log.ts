/**
 * The write log of a volume in this home, when nobody serves the volume. What it holds was acknowledged, so it has to be in the
 * store before anybody else writes to the volume or takes a snapshot of it: otherwise it would be left out, or the log
 * overtaken (C4).
 */
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { toSgwError, type VolumeId } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import { holderOf, type Session } from '../session.ts';
import { noCache } from './no-cache.ts';
import { logFolder, shadowFolder, volumeFolder, volumeSettings } from './settings.ts';

const RETIRED_PREFIX = 'retired-';
const SET_ASIDE_PREFIX = 'log-';

/** Whether there is a log at all, with or without something in it that the store lacks. */
export async function hasLocalLog(home: string, volumeId: string): Promise<boolean> {
  return (await namesIn(logFolder(home, volumeId))).length > 0;
}

/** Names of the folders that hold write logs of a volume in this home: first those that were set aside. */
export async function logsOf(home: string, volumeId: string): Promise<string[]> {
  const logs = (await namesIn(volumeFolder(home, volumeId))).filter((name) => name.startsWith(SET_ASIDE_PREFIX)).sort();
  return (await hasLocalLog(home, volumeId)) ? [...logs, 'log'] : logs;
}

/** Paths of all write logs in this home that were set aside. */
export async function logsSetAside(home: string): Promise<string[]> {
  const found: string[] = [];
  for (const volumeId of await namesIn(join(home, 'volumes'))) {
    const folder = volumeFolder(home, volumeId);
    const names = (await namesIn(folder)).filter((name) => name.startsWith(SET_ASIDE_PREFIX)).sort();
    found.push(...names.map((name) => join(folder, name)));
  }
  return found;
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw toSgwError(error);
  });
}

/**
 * Brings what the log of a volume holds to the store, and lets the log go. To be called with the volume's lock, while nobody
 * serves it; costs nothing where there is no log. A log of a volume that another gateway holds by now stays as it is.
 * @throws what opening and uploading throw, such as unavailable while the store is out of reach; corrupt for a damaged log
 */
export async function settleLog(session: Session, volumeId: VolumeId, call: CallContext): Promise<void> {
  const { home, openServing } = session;
  if (openServing === undefined || !(await hasLocalLog(home, volumeId))) return;
  // The image has everything, and only beside it can be told which states of the log are the image's.
  if ((await namesIn(shadowFolder(home, volumeId))).length > 0) return;
  const parts = await openServing();
  try {
    const volume = await parts.openVolume({
      blocks: session.blocks,
      volumeId,
      holder: holderOf(session),
      accountId: session.identity.accountId,
      takeOver: false,
      settings: await volumeSettings(home, session.settings, volumeId),
      logFolder: logFolder(home, volumeId),
      cache: noCache(),
      signal: call.signal,
    });
    const { failure } = volume;
    try {
      if (failure !== undefined) throw failure;
      const onProgress = (doneBytes: number, totalBytes: number): void => {
        call.onProgress({ label: 'uploading what is in the write log', doneBytes, totalBytes });
      };
      await volume.drain({ signal: call.signal, onProgress });
      await volume.close({ drain: true, signal: call.signal });
    } catch (error) {
      await volume.close({ drain: false }).catch(() => undefined);
      throw error;
    }
    await retireLog(home, volumeId);
  } catch (error) {
    if (toSgwError(error).code !== 'volume-held') throw error;
  } finally {
    await parts.close();
  }
}

/**
 * Removes a log of which everything is in the store. Its name goes in one step, so that no part of it is ever taken for the
 * whole. Best effort: what stays only costs space, and goes the next time.
 */
export async function retireLog(home: string, volumeId: string): Promise<void> {
  const folder = volumeFolder(home, volumeId);
  try {
    await rename(
      logFolder(home, volumeId),
      join(folder, `${RETIRED_PREFIX}${String(process.pid)}-${String(Date.now())}`),
    );
  } catch {
    // There is none.
  }
  const left = (await namesIn(folder)).filter((name) => name.startsWith(RETIRED_PREFIX));
  for (const name of left) await rm(join(folder, name), { recursive: true, force: true }).catch(() => undefined);
}
