/** The figures of a gateway by the names of CloudWatch. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { CacheStats } from '../../../src/core/cache/index.ts';
import { RequestTally } from '../../../src/core/gateway/cost/tally.ts';
import { AWS_GATEWAY_METRICS, AWS_VOLUME_METRICS } from '../../../src/core/gateway/serving/aws-metrics.ts';
import { servingMetrics } from '../../../src/core/gateway/serving/metrics.ts';
import type { AttachmentReport } from '../../../src/core/gateway/serving/served.ts';
import type { VolumeStats } from '../../../src/core/volume/index.ts';
import { ROOT } from '../../cli/run-verb.ts';

/** aws-wire.md, "Metric names to keep", but for what is not measured. */
const NAMES = [
  ...['CacheHitPercent', 'CachePercentUsed', 'CachePercentDirty', 'UploadBufferPercentUsed'],
  ...['WorkingStoragePercentUsed', 'QueuedWrites', 'ReadBytes', 'WriteBytes', 'ReadTime', 'WriteTime'],
  ...['CloudBytesUploaded', 'CloudBytesDownloaded', 'TimeSinceLastRecoveryPoint'],
];

const stats = (more: Partial<VolumeStats>): VolumeStats =>
  ({
    ...{ readBytes: 4096, writeBytes: 8192, readMs: 3, writeMs: 5, dirtyBytes: 1000, bufferBytes: 4000 },
    ...{ sizeBytes: 0, mappedBytes: 0, readOps: 0, writeOps: 0, flushOps: 0, flushMs: 0, uploadedBytes: 0 },
    ...{ downloadedBytes: 0, commits: 0, uploadErrors: 0, dirtyMs: 0, fullInMs: null, waitingWrites: 0 },
    ...{ logHits: 0, cacheHits: 0, storeReads: 0, lastCommitMs: 400_000, shadow: null },
    ...more,
  }) as VolumeStats;

const report = (name: string, of: VolumeStats | null): AttachmentReport =>
  ({
    ...{ name, stats: of, clients: 0, connected: [], phase: 'serving', state: 'available', iscsiRequests: 0 },
    record: { exportName: name, volumeId: `vol-${name}`, scratchVolumeId: null, iscsi: null },
  }) as unknown as AttachmentReport;

const CACHE = {
  ...{ ramHits: 5, fileHits: 1, misses: 2, evictedFrames: 0, damagedFrames: 0, ramUsedBytes: 1, fileUsedBytes: 500 },
  limits: { ramBytes: 10, fileBytes: 2000 },
} as unknown as CacheStats;

async function figures(
  exports: readonly AttachmentReport[],
  cache: CacheStats | undefined,
): Promise<Map<string, number>> {
  const requests = new RequestTally();
  requests.count({ operation: 'put', key: 'volumes/vol-a/log/1', upBytes: 70, downBytes: 0 });
  requests.count({ operation: 'get', key: 'volumes/vol-a/log/1', upBytes: 0, downBytes: 30 });
  const clock = { nowMs: () => 460_000 };
  const text = await servingMetrics({
    version: '1',
    clock,
    exports: () => exports,
    cache: () => cache,
    requests,
  }).text();
  const lines = text.split('\n').filter((line) => line.startsWith('aws_'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

it('are those of a gateway of AWS, percentages of the whole and sums since the start', async () => {
  const shadowing = stats({
    dirtyBytes: 0,
    lastCommitMs: null,
    shadow: { touchedBytes: 0, totalBytes: 0, doneBytes: 0 } as VolumeStats['shadow'],
  });
  const found = await figures([report('a', stats({})), report('b', shadowing), report('c', null)], CACHE);
  expect(Object.fromEntries(found)).toEqual({
    aws_storagegateway_cache_hit_percent: 75,
    aws_storagegateway_cache_percent_used: 25,
    aws_storagegateway_cache_percent_dirty: 50,
    aws_storagegateway_upload_buffer_percent_used: 12.5,
    aws_storagegateway_working_storage_percent_used: 0,
    aws_storagegateway_cloud_bytes_uploaded_total: 70,
    aws_storagegateway_cloud_bytes_downloaded_total: 30,
    ...Object.fromEntries(
      ['a', 'b'].flatMap((name) => {
        const labels = `{volume="${name}",volume_id="vol-${name}"}`;
        return [
          [`aws_storagegateway_read_bytes_total${labels}`, 4096],
          [`aws_storagegateway_write_bytes_total${labels}`, 8192],
          [`aws_storagegateway_read_time_milliseconds_total${labels}`, 3],
          [`aws_storagegateway_write_time_milliseconds_total${labels}`, 5],
          [`aws_storagegateway_queued_writes_bytes${labels}`, name === 'a' ? 1000 : 0],
        ];
      }),
    ),
    'aws_storagegateway_time_since_last_recovery_point_seconds{volume="a",volume_id="vol-a"}': 60,
  });
});

it('that there are none of are absent, and not zero', async () => {
  const found = await figures([], undefined);
  expect([...found.keys()]).toEqual([
    'aws_storagegateway_cloud_bytes_uploaded_total',
    'aws_storagegateway_cloud_bytes_downloaded_total',
  ]);
});

it('are all told of in the documentation', () => {
  const metrics = [...AWS_GATEWAY_METRICS, ...AWS_VOLUME_METRICS];
  expect(metrics.map(({ aws }) => aws).sort()).toEqual([...NAMES].sort());
  const text = readFileSync(join(ROOT, 'docs/METRICS.md'), 'utf8');
  for (const { name, aws } of metrics) for (const word of [name, aws]) expect(text).toContain(`\`${word}\``);
});
