/**
 * The local storage of a gateway, as the Storage Gateway API asks of it (docs/AWS.md): its cache, its upload buffer, the images
 * that it shadows, and those in the folder `disks` of the home that it may shadow: raw images, or links to block devices. What
 * lies elsewhere is for who works at the machine.
 */
import { readdir, realpath, stat } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { GatewayDocument, LocalDiskDocument } from '../../localapi/index.ts';
import type { GatewayState } from '../../state/index.ts';
import { openRawImage } from '../../image/index.ts';
import { cacheFolder, cacheLimits, volumeSettings } from '../serving/settings.ts';

const BLOCK_BYTES = 512;
/** More are not looked at. */
const DISKS_MAX = 256;

const disksFolder = (home: string): string => join(home, 'disks');

/** Reads the file system, not the store. Never fails for what can not be read. */
export async function localDisks(home: string, record: GatewayState): Promise<LocalDiskDocument[]> {
  const limits = await cacheLimits(home, record);
  const { bufferBytes } = await volumeSettings(home, record, '');
  const place = { allocatedBytes: null, volumeId: null };
  const cache: LocalDiskDocument = {
    ...place,
    diskId: 'cache',
    path: cacheFolder(home),
    use: 'cache',
    sizeBytes: limits.fileBytes,
  };
  const buffer: LocalDiskDocument = {
    ...place,
    diskId: 'upload-buffer',
    path: join(home, 'volumes'),
    use: 'uploadBuffer',
    sizeBytes: bufferBytes,
  };
  return [...(record.mode === 'cached' ? [cache] : []), buffer, ...(await images(home, record))];
}

async function images(home: string, { attachments }: GatewayState): Promise<LocalDiskDocument[]> {
  const shadowed = new Map<string, string | null>();
  for (const { imagePath, volumeId } of attachments) {
    if (imagePath !== undefined) shadowed.set(await real(imagePath), volumeId);
  }
  const names = await readdir(disksFolder(home)).catch(() => []);
  const here = names.sort().slice(0, DISKS_MAX);
  const paths = await Promise.all(here.map(async (name) => real(join(disksFolder(home), name))));
  const all = [...new Set([...shadowed.keys(), ...paths])];
  return await Promise.all(all.map(async (path) => image(path, shadowed)));
}

async function image(path: string, shadowed: ReadonlyMap<string, string | null>): Promise<LocalDiskDocument> {
  const use = shadowed.has(path) ? 'volume' : 'available';
  const known = { diskId: path, path, use, volumeId: shadowed.get(path) ?? null } as const;
  try {
    await using opened = await openRawImage(path);
    const facts = await stat(path);
    const allocatedBytes = facts.isFile() ? facts.blocks * BLOCK_BYTES : null;
    return { ...known, sizeBytes: opened.sizeBytes, allocatedBytes };
  } catch {
    return { ...known, sizeBytes: null, allocatedBytes: null };
  }
}

const real = async (path: string): Promise<string> => await realpath(path).catch(() => path);

/** Addresses of the machine, but its own loopback. */
export function interfacesOf(): GatewayDocument['networkInterfaces'] {
  return Object.entries(networkInterfaces()).flatMap(([name, rows = []]): GatewayDocument['networkInterfaces'] => {
    const outside = rows.filter(({ internal }) => !internal);
    const of = (family: string): string[] =>
      outside.filter((row) => row.family === family).map(({ address }) => address);
    const ipv6Address = of('IPv6')[0] ?? null;
    const macAddress = outside[0]?.mac ?? '';
    const over4 = of('IPv4').map((ipv4Address) => ({ name, ipv4Address, ipv6Address, macAddress }));
    return over4.length > 0 || ipv6Address === null ? over4 : [{ name, ipv4Address: null, ipv6Address, macAddress }];
  });
}
