/**
 * The figures of a gateway by the names that CloudWatch gives them (docs/METRICS.md), as exporters of CloudWatch spell these:
 * dashboards that were made for a gateway of AWS go on with them. What is a sum over a period there is a counter here.
 */
import type { CacheStats } from '../../cache/index.ts';
import type { VolumeStats } from '../../volume/index.ts';

/** What is summed up over the volumes that are open, beside what is the gateway's own. */
export interface AwsSources {
  readonly nowMs: number;
  readonly volumes: readonly VolumeStats[];
  readonly cache: CacheStats | undefined;
  /** Bodies of objects since the start. */
  readonly upBytes: number;
  readonly downBytes: number;
}

export type AwsKind = 'counter' | 'gauge';

interface OfGateway {
  readonly name: string;
  readonly aws: string;
  readonly kind: AwsKind;
  readonly help: string;
  /** Null: there is none to tell. */
  readonly value: (sources: AwsSources) => number | null;
}

type OfVolume = Omit<OfGateway, 'value'> & { readonly value: (stats: VolumeStats, nowMs: number) => number | null };

const percent = (part: number, whole: number): number | null => (whole === 0 ? null : (100 * part) / whole);
const sum = (volumes: readonly VolumeStats[], figure: 'dirtyBytes' | 'bufferBytes'): number =>
  volumes.reduce((total, stats) => total + stats[figure], 0);
const bufferUsed = (volumes: readonly VolumeStats[]): number | null =>
  percent(sum(volumes, 'dirtyBytes'), sum(volumes, 'bufferBytes'));

function hitPercent(cache: CacheStats | undefined): number | null {
  const hits = (cache?.ramHits ?? 0) + (cache?.fileHits ?? 0);
  return percent(hits, hits + (cache?.misses ?? 0));
}

/** What CloudWatch has by gateway. */
export const AWS_GATEWAY_METRICS: readonly OfGateway[] = [
  {
    ...{ name: 'aws_storagegateway_cache_hit_percent', aws: 'CacheHitPercent', kind: 'gauge' },
    help: 'Pages that were in the cache, of those that were looked for in it.',
    value: ({ cache }) => hitPercent(cache),
  },
  {
    ...{ name: 'aws_storagegateway_cache_percent_used', aws: 'CachePercentUsed', kind: 'gauge' },
    help: "What of the cache's file is used.",
    value: ({ cache }) => percent(cache?.fileUsedBytes ?? 0, cache?.limits.fileBytes ?? 0),
  },
  {
    ...{ name: 'aws_storagegateway_cache_percent_dirty', aws: 'CachePercentDirty', kind: 'gauge' },
    help: "What is not in the store yet, of the size of the cache's file.",
    value: ({ cache, volumes }) => percent(sum(volumes, 'dirtyBytes'), cache?.limits.fileBytes ?? 0),
  },
  {
    ...{ name: 'aws_storagegateway_upload_buffer_percent_used', aws: 'UploadBufferPercentUsed', kind: 'gauge' },
    help: 'What of the upload buffers is used.',
    value: ({ volumes }) => bufferUsed(volumes),
  },
  {
    ...{ name: 'aws_storagegateway_working_storage_percent_used', aws: 'WorkingStoragePercentUsed', kind: 'gauge' },
    help: 'What of the upload buffers of shadowing volumes is used.',
    value: ({ volumes }) => bufferUsed(volumes.filter(({ shadow }) => shadow !== null)),
  },
  {
    ...{ name: 'aws_storagegateway_cloud_bytes_uploaded_total', aws: 'CloudBytesUploaded', kind: 'counter' },
    help: 'Bytes sent to the store.',
    value: ({ upBytes }) => upBytes,
  },
  {
    ...{ name: 'aws_storagegateway_cloud_bytes_downloaded_total', aws: 'CloudBytesDownloaded', kind: 'counter' },
    help: 'Bytes got from the store.',
    value: ({ downBytes }) => downBytes,
  },
];

/** And by volume. */
export const AWS_VOLUME_METRICS: readonly OfVolume[] = [
  {
    ...{ name: 'aws_storagegateway_read_bytes_total', aws: 'ReadBytes', kind: 'counter' },
    help: 'Bytes that clients read.',
    value: (stats) => stats.readBytes,
  },
  {
    ...{ name: 'aws_storagegateway_write_bytes_total', aws: 'WriteBytes', kind: 'counter' },
    help: 'Bytes that clients wrote.',
    value: (stats) => stats.writeBytes,
  },
  {
    ...{ name: 'aws_storagegateway_read_time_milliseconds_total', aws: 'ReadTime', kind: 'counter' },
    help: 'Time that reads took, summed.',
    value: (stats) => stats.readMs,
  },
  {
    ...{ name: 'aws_storagegateway_write_time_milliseconds_total', aws: 'WriteTime', kind: 'counter' },
    help: 'Time that writes took, summed.',
    value: (stats) => stats.writeMs,
  },
  {
    ...{ name: 'aws_storagegateway_queued_writes_bytes', aws: 'QueuedWrites', kind: 'gauge' },
    help: 'Bytes that wait to be sent to the store.',
    value: (stats) => stats.dirtyBytes,
  },
  {
    ...{ name: 'aws_storagegateway_time_since_last_recovery_point_seconds', aws: 'TimeSinceLastRecoveryPoint' },
    kind: 'gauge',
    help: 'Age of the newest state that can be had again; absent before the first of this run.',
    value: ({ lastCommitMs }, nowMs) => (lastCommitMs === null ? null : Math.max(0, nowMs - lastCommitMs) / 1000),
  },
];
