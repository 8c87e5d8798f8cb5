/**
 * Local storage (docs/AWS.md). A gateway has its cache and its upload buffer from the start, in its home, as large as it is
 * configured: each is listed as one disk, which is allocated already. Images in the folder `disks` of the home are the disks
 * that stored volumes can be made of.
 */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import type { GatewayDocument, LocalDiskDocument } from '../../../localapi/index.ts';
import { callGateway, requireLook, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { findGateway, type ApiGateway } from './gateway-directory.ts';
import type { Checked } from './types.ts';

type Use = LocalDiskDocument['use'];

const ALLOCATIONS: Readonly<Record<Use, string>> = {
  cache: 'CACHE_STORAGE',
  uploadBuffer: 'UPLOAD_BUFFER',
  volume: 'STORED_ISCSI_VOLUME',
  available: 'AVAILABLE',
};

export async function listLocalDisks(
  { GatewayARN }: Checked<Sdk.ListLocalDisksInput>,
  caller: Caller,
): Promise<Sdk.ListLocalDisksOutput> {
  const { look } = await storageOf(caller, GatewayARN);
  const Disks = look.disks.map((disk) => ({
    DiskId: disk.diskId,
    DiskPath: disk.path,
    DiskNode: disk.path,
    DiskStatus: disk.sizeBytes === null ? 'missing' : 'present',
    DiskSizeInBytes: disk.sizeBytes ?? 0,
    DiskAllocationType: ALLOCATIONS[disk.use],
    ...resourceOf(caller, look, disk),
  }));
  return { GatewayARN, Disks };
}

function resourceOf(
  { parts }: Caller,
  { exports }: GatewayDocument,
  { volumeId }: LocalDiskDocument,
): { DiskAllocationResource?: string } {
  const iscsi = volumeId === null ? null : exports.find((one) => one.volumeId === volumeId)?.iscsi;
  if (iscsi === undefined || iscsi === null) return {};
  return {
    DiskAllocationResource: `${iscsi.targetName}::${String(iscsi.lun)}::${parts.region}-${volumeId ?? ''}`,
  };
}

export async function addCache(
  { GatewayARN, DiskIds }: Checked<Sdk.AddCacheInput>,
  caller: Caller,
): Promise<Sdk.AddCacheOutput> {
  const { gateway, look } = await storageOf(caller, GatewayARN);
  requireCached(gateway);
  requireAllocated(look, DiskIds, 'cache');
  return { GatewayARN };
}

export async function addUploadBuffer(
  { GatewayARN, DiskIds }: Checked<Sdk.AddUploadBufferInput>,
  caller: Caller,
): Promise<Sdk.AddUploadBufferOutput> {
  const { look } = await storageOf(caller, GatewayARN);
  requireAllocated(look, DiskIds, 'uploadBuffer');
  return { GatewayARN };
}

export async function addWorkingStorage(
  { GatewayARN, DiskIds }: Checked<Sdk.AddWorkingStorageInput>,
  caller: Caller,
): Promise<Sdk.AddWorkingStorageOutput> {
  const { gateway, look } = await storageOf(caller, GatewayARN);
  requireStored(gateway);
  requireAllocated(look, DiskIds, 'uploadBuffer');
  return { GatewayARN };
}

/** What is allocated to this already is what was asked for. Nothing else can be. */
function requireAllocated({ disks }: GatewayDocument, ids: readonly string[], use: Use): void {
  if (ids.length === 0) throw new RequestRefused('InvalidParameters', 'no disk was given');
  for (const id of ids) {
    const disk = disks.find(({ diskId }) => diskId === id);
    if (disk === undefined) throw new RequestRefused('DiskDoesNotExist', 'the gateway has no such disk');
    if (disk.use === use) continue;
    if (disk.use !== 'available')
      throw new RequestRefused('DiskAlreadyAllocated', `the disk is used as ${ALLOCATIONS[disk.use]}`);
    throw new RequestRefused(
      'NotSupported',
      'the disk is an image, for a stored volume: cache and buffer are in the home',
    );
  }
}

export async function describeCache(
  { GatewayARN }: Checked<Sdk.DescribeCacheInput>,
  caller: Caller,
): Promise<Sdk.DescribeCacheOutput> {
  const { gateway, look } = await storageOf(caller, GatewayARN);
  requireCached(gateway);
  const { cache, volumes } = look;
  const allocated = cache?.fileLimitBytes ?? look.disks.find(({ use }) => use === 'cache')?.sizeBytes ?? 0;
  const hits = (cache?.ramHits ?? 0) + (cache?.fileHits ?? 0);
  const reads = hits + (cache?.misses ?? 0);
  return {
    GatewayARN,
    DiskIds: idsOf(look, 'cache'),
    CacheAllocatedInBytes: allocated,
    CacheUsedPercentage: percent(cache?.fileUsedBytes ?? 0, allocated),
    CacheDirtyPercentage: percent(sum(volumes, 'dirtyBytes'), allocated),
    CacheHitPercentage: percent(hits, reads),
    CacheMissPercentage: percent(reads - hits, reads),
  };
}

export async function describeUploadBuffer(
  { GatewayARN }: Checked<Sdk.DescribeUploadBufferInput>,
  caller: Caller,
): Promise<Sdk.DescribeUploadBufferOutput> {
  const { look } = await storageOf(caller, GatewayARN);
  const { used, allocated } = bufferOf(look);
  return {
    GatewayARN,
    DiskIds: idsOf(look, 'uploadBuffer'),
    UploadBufferUsedInBytes: used,
    UploadBufferAllocatedInBytes: allocated,
  };
}

export async function describeWorkingStorage(
  { GatewayARN }: Checked<Sdk.DescribeWorkingStorageInput>,
  caller: Caller,
): Promise<Sdk.DescribeWorkingStorageOutput> {
  const { gateway, look } = await storageOf(caller, GatewayARN);
  requireStored(gateway);
  const { used, allocated } = bufferOf(look);
  return {
    GatewayARN,
    DiskIds: idsOf(look, 'uploadBuffer'),
    WorkingStorageUsedInBytes: used,
    WorkingStorageAllocatedInBytes: allocated,
  };
}

/** Empties the cache, which has nothing that the store has not. */
export async function resetCache(
  { GatewayARN }: Checked<Sdk.ResetCacheInput>,
  caller: Caller,
): Promise<Sdk.ResetCacheOutput> {
  const gateway = await findGateway(caller, GatewayARN);
  requireCached(gateway);
  await callGateway(caller, gateway.gatewayId, 'gateway.reset-cache', {});
  return { GatewayARN };
}

interface Storage {
  readonly gateway: ApiGateway;
  readonly look: GatewayDocument;
}

async function storageOf(caller: Caller, arn: string): Promise<Storage> {
  const gateway = await findGateway(caller, arn);
  return { gateway, look: await requireLook(caller, gateway.gatewayId) };
}

function requireCached({ mode }: ApiGateway): void {
  if (mode !== 'cached') throw new RequestRefused('NotSupported', 'a gateway of stored volumes has no cache');
}

function requireStored({ mode }: ApiGateway): void {
  if (mode !== 'shadowing')
    throw new RequestRefused('NotSupported', 'working storage is of stored volumes; cached ones have an upload buffer');
}

/** Each volume has a buffer of its own. */
function bufferOf({ volumes, disks }: GatewayDocument): { used: number; allocated: number } {
  const one = disks.find(({ use }) => use === 'uploadBuffer')?.sizeBytes ?? 0;
  return { used: sum(volumes, 'dirtyBytes'), allocated: volumes.length === 0 ? one : sum(volumes, 'bufferBytes') };
}

const idsOf = ({ disks }: GatewayDocument, use: Use): string[] =>
  disks.filter((disk) => disk.use === use).map(({ diskId }) => diskId);

const sum = (volumes: GatewayDocument['volumes'], figure: 'dirtyBytes' | 'bufferBytes'): number =>
  volumes.reduce((total, volume) => total + volume[figure], 0);

const percent = (part: number, whole: number): number => (whole === 0 ? 0 : (100 * part) / whole);
