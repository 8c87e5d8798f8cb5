/** Every operation that is served, by its name. */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import * as bandwidth from './bandwidth.ts';
import type { Caller } from './caller.ts';
import * as chap from './chap.ts';
import * as creating from './creating.ts';
import * as disks from './disks.ts';
import * as gateways from './gateways.ts';
import type { INPUTS } from './model-names.ts';
import * as moving from './moving.ts';
import * as schedules from './schedules.ts';
import * as snapshots from './snapshots.ts';
import * as tags from './tags.ts';
import type { Checked } from './types.ts';
import * as volumes from './volume-documents.ts';

export type OperationName = keyof typeof INPUTS;

type Inputs = {
  readonly [N in OperationName]: Sdk.StorageGateway[Uncapitalize<N>] extends (
    input: infer I,
    ...rest: never[]
  ) => unknown
    ? I
    : never;
};
type Operations = {
  readonly [N in OperationName]: (input: Checked<Inputs[N]>, caller: Caller) => Promise<object>;
};

export const OPERATIONS: Operations = {
  ActivateGateway: gateways.activateGateway,
  ListGateways: gateways.listGateways,
  DescribeGatewayInformation: gateways.describeGateway,
  UpdateGatewayInformation: gateways.updateGateway,
  DeleteGateway: gateways.deleteGateway,
  ShutdownGateway: gateways.shutdownGateway,
  StartGateway: gateways.startGateway,
  DescribeMaintenanceStartTime: gateways.describeMaintenance,
  UpdateMaintenanceStartTime: gateways.updateMaintenance,
  UpdateGatewaySoftwareNow: gateways.updateSoftware,
  ListLocalDisks: disks.listLocalDisks,
  AddCache: disks.addCache,
  AddUploadBuffer: disks.addUploadBuffer,
  AddWorkingStorage: disks.addWorkingStorage,
  DescribeCache: disks.describeCache,
  DescribeUploadBuffer: disks.describeUploadBuffer,
  DescribeWorkingStorage: disks.describeWorkingStorage,
  ResetCache: disks.resetCache,
  CreateCachediSCSIVolume: creating.createCached,
  CreateStorediSCSIVolume: creating.createStored,
  DescribeCachediSCSIVolumes: volumes.describeCachedVolumes,
  DescribeStorediSCSIVolumes: volumes.describeStoredVolumes,
  ListVolumes: volumes.listVolumes,
  ListVolumeInitiators: volumes.listInitiators,
  DeleteVolume: moving.deleteVolume,
  AttachVolume: moving.attachVolume,
  DetachVolume: moving.detachVolume,
  CreateSnapshot: snapshots.createSnapshotNow,
  ListVolumeRecoveryPoints: snapshots.listPoints,
  CreateSnapshotFromVolumeRecoveryPoint: snapshots.createFromRecoveryPoint,
  DescribeSnapshotSchedule: schedules.describeSchedule,
  UpdateSnapshotSchedule: schedules.updateSchedule,
  DeleteSnapshotSchedule: schedules.deleteSchedule,
  DescribeBandwidthRateLimit: bandwidth.describeLimit,
  UpdateBandwidthRateLimit: bandwidth.updateLimit,
  DeleteBandwidthRateLimit: bandwidth.deleteLimit,
  DescribeBandwidthRateLimitSchedule: bandwidth.describeLimitSchedule,
  UpdateBandwidthRateLimitSchedule: bandwidth.updateLimitSchedule,
  DescribeChapCredentials: chap.describeChap,
  UpdateChapCredentials: chap.updateChap,
  DeleteChapCredentials: chap.deleteChap,
  AddTagsToResource: tags.addTags,
  RemoveTagsFromResource: tags.removeTags,
  ListTagsForResource: tags.listTags,
};
