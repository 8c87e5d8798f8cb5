/** The settings of serving with their defaults, which depend on the disk and the memory that there is. */
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_RECOVERY_POLICY } from '../../blockstore/index.ts';
import type { CacheLimits } from '../../cache/index.ts';
import { GIB, MIB } from '../../kit/index.ts';
import { freeBytes } from '../../objectstore/index.ts';
import type { GatewayState, VolumeSettingsState } from '../../state/index.ts';
import type { VolumeSettings } from '../../volume/index.ts';

const CACHE_BYTES = 10 * GIB;
const CACHE_RAM_BYTES = 256 * MIB;
const BUFFER_BYTES = 2 * GIB;
/** Less than this holds no two records of the largest size. */
const BUFFER_BYTES_MIN = 64 * MIB;
const SEAL_INTERVAL_MS = 10_000;
const READ_AHEAD_BYTES = 4 * MIB;
/** The part of what is free that a default takes at most. */
const SHARE_OF_DISK = 10;
const SHARE_OF_MEMORY = 8;

/** Where NBD is served over a unix socket. */
export const socketPath = (home: string, { serving }: Pick<GatewayState, 'serving'>): string =>
  serving.unixSocket ?? join(home, 'nbd.sock');

/** Where the gateway's cache is. */
export const cacheFolder = (home: string): string => join(home, 'cache');
/** Where a volume's local files are: its log, and logs that were set aside. */
export const volumeFolder = (home: string, volumeId: string): string => join(home, 'volumes', volumeId);
export const logFolder = (home: string, volumeId: string): string => join(volumeFolder(home, volumeId), 'log');
/** Where what is known of a shadowed image is. */
export const shadowFolder = (home: string, volumeId: string): string => join(volumeFolder(home, volumeId), 'shadow');

/** How large the cache is to be. */
export async function cacheLimits(home: string, { serving }: Pick<GatewayState, 'serving'>): Promise<CacheLimits> {
  const share = Math.floor((await freeBytes(home)) / SHARE_OF_DISK);
  return {
    fileBytes: serving.cacheBytes ?? Math.min(CACHE_BYTES, share),
    ramBytes: serving.cacheRamBytes ?? Math.min(CACHE_RAM_BYTES, Math.floor(totalmem() / SHARE_OF_MEMORY)),
  };
}

/** A volume's own settings, or else the gateway's, or else the defaults. */
export async function volumeSettings(
  home: string,
  { serving, volumeSettings: byVolume }: Pick<GatewayState, 'serving' | 'volumeSettings'>,
  volumeId: string,
): Promise<Required<VolumeSettings>> {
  const own: VolumeSettingsState = byVolume[volumeId] ?? {};
  const share = Math.floor((await freeBytes(home)) / SHARE_OF_DISK);
  return {
    ack: own.ack ?? 'log',
    bufferBytes: own.bufferBytes ?? serving.bufferBytes ?? Math.max(BUFFER_BYTES_MIN, Math.min(BUFFER_BYTES, share)),
    sealIntervalMs: own.sealIntervalMs ?? serving.sealIntervalMs ?? SEAL_INTERVAL_MS,
    recovery: own.recovery ?? DEFAULT_RECOVERY_POLICY,
    readAheadBytes: own.readAheadBytes ?? serving.readAheadBytes ?? READ_AHEAD_BYTES,
  };
}
