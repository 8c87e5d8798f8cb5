/**
 * What a gateway serves, in figures for Prometheus: docs/METRICS.md. Nothing is counted here; the live figures of volumes, cache
 * and store are read when they are asked for, so that counting costs nothing on the way of the data.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { Clock } from '../../kit/index.ts';
import type { CacheStats } from '../../cache/index.ts';
import { STORE_OPERATIONS } from '../../objectstore/index.ts';
import type { VolumeStats } from '../../volume/index.ts';
import type { RequestCounts, RequestTally } from '../cost/tally.ts';
import { AWS_GATEWAY_METRICS, AWS_VOLUME_METRICS, type AwsSources } from './aws-metrics.ts';
import type { AttachmentReport } from './served.ts';

export interface MetricsSources {
  readonly version: string;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly exports: () => readonly AttachmentReport[];
  readonly cache: () => CacheStats | undefined;
  /** What was asked of stores since the start. */
  readonly requests?: RequestTally | undefined;
}

interface Row {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}
type Read = () => readonly Row[];

const STATES = [
  ...(['opening', 'waiting', 'available', 'degraded', 'bootstrapping', 'pass-through', 'resyncing'] as const),
  ...(['fenced', 'damaged', 'detaching'] as const),
];
const MS = 1000;

/** Counters of volumes: name, help, value in base units. */
const VOLUME_COUNTERS: readonly (readonly [string, string, (stats: VolumeStats) => number])[] = [
  ['sgw_volume_reads_total', 'Reads of clients.', (s) => s.readOps],
  ['sgw_volume_read_bytes_total', 'Bytes that clients read.', (s) => s.readBytes],
  ['sgw_volume_read_seconds_total', 'Time that reads took, summed.', (s) => s.readMs / MS],
  ['sgw_volume_writes_total', 'Writes, trims and zeroes of clients.', (s) => s.writeOps],
  ['sgw_volume_written_bytes_total', 'Bytes that clients wrote.', (s) => s.writeBytes],
  ['sgw_volume_write_seconds_total', 'Time that writes took, summed.', (s) => s.writeMs / MS],
  ['sgw_volume_flushes_total', 'Flushes of clients.', (s) => s.flushOps],
  ['sgw_volume_flush_seconds_total', 'Time that flushes took, summed.', (s) => s.flushMs / MS],
  ['sgw_volume_uploaded_bytes_total', 'Bytes sent to the object store.', (s) => s.uploadedBytes],
  ['sgw_volume_downloaded_bytes_total', 'Bytes fetched from the object store.', (s) => s.downloadedBytes],
  ['sgw_volume_commits_total', 'Commits to the object store.', (s) => s.commits],
  ['sgw_volume_upload_errors_total', 'Uploads that failed and were tried again.', (s) => s.uploadErrors],
];

/** Gauges of volumes. */
const VOLUME_GAUGES: readonly (readonly [string, string, (stats: VolumeStats) => number | null])[] = [
  ['sgw_volume_size_bytes', 'Size of the volume.', (s) => s.sizeBytes],
  ['sgw_volume_mapped_bytes', 'Data of the volume, before compression.', (s) => s.mappedBytes],
  ['sgw_volume_exposure_bytes', 'Acknowledged and not in the object store.', (s) => s.dirtyBytes],
  ['sgw_volume_exposure_seconds', 'Age of the oldest write that is not in the object store.', (s) => s.dirtyMs / MS],
  ['sgw_volume_buffer_bytes', 'Capacity of the upload buffer.', (s) => s.bufferBytes],
  [
    'sgw_volume_buffer_full_seconds',
    'When the upload buffer is full if all goes on as in the last minute; absent when it will not be.',
    (s) => (s.fullInMs === null ? null : s.fullInMs / MS),
  ],
  [
    'sgw_volume_shadow_touched_bytes',
    'Written to the image in pass-through and not sent yet; absent for a cached volume.',
    (s) => s.shadow?.touchedBytes ?? null,
  ],
  [
    'sgw_volume_shadow_left_bytes',
    'Of the image, still to be compared or sent; absent for a cached volume.',
    (s) => (s.shadow === null ? null : s.shadow.totalBytes - s.shadow.doneBytes),
  ],
  ['sgw_volume_waiting_writes', 'Writers that wait for room in the upload buffer.', (s) => s.waitingWrites],
  [
    'sgw_volume_last_commit_timestamp_seconds',
    'When the newest commit was made.',
    (s) => (s.lastCommitMs === null ? null : s.lastCommitMs / MS),
  ],
];

/** A registry of its own. */
export function servingMetrics(sources: MetricsSources): { text(): Promise<string> } {
  const registry = new Registry();
  const counter = (name: string, help: string, labelNames: string[], read: Read): void => {
    new Counter({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const { labels, value } of read()) this.inc(labels, value);
      },
    });
  };
  const gauge = (name: string, help: string, labelNames: string[], read: Read): void => {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        // Without labels there is a zero from the start, also where there is nothing to tell.
        if (labelNames.length === 0) this.remove({});
        for (const { labels, value } of read()) this.set(labels, value);
      },
    });
  };
  gauge('sgw_build_info', 'Always 1; the label tells the version.', ['version'], () => [
    { labels: { version: sources.version }, value: 1 },
  ]);
  for (const [name, help, value] of VOLUME_COUNTERS)
    counter(name, help, ['volume', 'volume_id'], () => volumeRows(sources, value));
  for (const [name, help, value] of VOLUME_GAUGES)
    gauge(name, help, ['volume', 'volume_id'], () => volumeRows(sources, value));
  counter('sgw_volume_read_pages_total', 'Pages read, by where they were.', ['volume', 'volume_id', 'source'], () =>
    Object.entries({ log: 'logHits', cache: 'cacheHits', store: 'storeReads' } as const).flatMap(([source, field]) =>
      volumeRows(sources, (stats) => stats[field]).map(({ labels, value }) => ({
        labels: { ...labels, source },
        value,
      })),
    ),
  );
  exportMetrics(sources, gauge);
  iscsiMetrics(sources, counter, gauge);
  cacheMetrics(sources, counter, gauge);
  storeMetrics(sources, counter);
  awsMetrics(sources, { counter, gauge });
  return { text: async () => registry.metrics() };
}

type Add = (name: string, help: string, labelNames: string[], read: Read) => void;

function exportMetrics({ exports }: MetricsSources, gauge: Add): void {
  gauge('sgw_export_state', '1 for the state that the export is in, else 0.', ['export', 'state'], () =>
    exports().flatMap((report) => {
      const now = report.phase === 'serving' ? report.state : report.phase;
      return STATES.map((state) => ({
        labels: { export: report.record.exportName, state },
        value: state === now ? 1 : 0,
      }));
    }),
  );
  gauge('sgw_export_clients', 'Clients that have the export open.', ['export'], () =>
    exports().map(({ record, clients }) => ({ labels: { export: record.exportName }, value: clients })),
  );
}

function iscsiMetrics({ exports }: MetricsSources, counter: Add, gauge: Add): void {
  const rows = (value: (report: AttachmentReport) => number): Row[] =>
    exports()
      .filter(({ record }) => record.iscsi !== null)
      .map((report) => ({ labels: { export: report.record.exportName }, value: value(report) }));
  gauge('sgw_iscsi_sessions', 'Sessions of initiators with the export.', ['export'], () =>
    rows(({ connected }) => connected.filter(({ protocol }) => protocol === 'iscsi').length),
  );
  counter('sgw_iscsi_requests_total', 'SCSI commands of initiators.', ['export'], () =>
    rows(({ iscsiRequests }) => iscsiRequests),
  );
}

function cacheMetrics({ cache }: MetricsSources, counter: Add, gauge: Add): void {
  const byTier = (ram: (s: CacheStats) => number, file: (s: CacheStats) => number): Read => {
    return () => {
      const stats = cache();
      if (stats === undefined) return [];
      return [
        { labels: { tier: 'ram' }, value: ram(stats) },
        { labels: { tier: 'file' }, value: file(stats) },
      ];
    };
  };
  const plain = (value: (s: CacheStats) => number): Read => {
    return () => {
      const stats = cache();
      return stats === undefined ? [] : [{ labels: {}, value: value(stats) }];
    };
  };
  counter(
    'sgw_cache_hits_total',
    'Pages read from the cache.',
    ['tier'],
    byTier(
      (s) => s.ramHits,
      (s) => s.fileHits,
    ),
  );
  counter(
    'sgw_cache_misses_total',
    'Pages that were not in the cache.',
    [],
    plain((s) => s.misses),
  );
  counter(
    'sgw_cache_evicted_frames_total',
    'Frames that made room for others.',
    [],
    plain((s) => s.evictedFrames),
  );
  counter(
    'sgw_cache_damaged_frames_total',
    'Frames that did not match their checksum.',
    [],
    plain((s) => s.damagedFrames),
  );
  gauge(
    'sgw_cache_used_bytes',
    'What the cache holds.',
    ['tier'],
    byTier(
      (s) => s.ramUsedBytes,
      (s) => s.fileUsedBytes,
    ),
  );
  gauge(
    'sgw_cache_limit_bytes',
    'What the cache may hold.',
    ['tier'],
    byTier(
      (s) => s.limits.ramBytes,
      (s) => s.limits.fileBytes,
    ),
  );
}

function storeMetrics({ requests, exports }: MetricsSources, counter: Add): void {
  const operations = (counts: Readonly<RequestCounts>, labels: Row['labels']): Row[] =>
    STORE_OPERATIONS.map((operation) => ({ labels: { operation, ...labels }, value: counts[operation] }));
  const directions = ({ upBytes, downBytes }: Readonly<RequestCounts>, labels: Row['labels']): Row[] => [
    { labels: { direction: 'up', ...labels }, value: upBytes },
    { labels: { direction: 'down', ...labels }, value: downBytes },
  ];
  const byKind = (rows: typeof operations): Read => {
    return () => (requests?.kinds() ?? []).flatMap(({ kind, counts }) => rows(counts, { kind }));
  };
  const byVolume = (rows: typeof operations): Read => {
    return () =>
      exports().flatMap((report) => {
        const labels = volumeLabels(report);
        const counts = requests?.volumes().get(labels.volume_id);
        return counts === undefined || report.record.volumeId === null ? [] : rows(counts, labels);
      });
  };
  const made = 'Requests to the object store, failed ones and repeated ones too';
  const sent = 'Bytes of bodies sent to and got from the object store';
  counter('sgw_store_requests_total', `${made}, by the kind of object.`, ['operation', 'kind'], byKind(operations));
  counter('sgw_store_bytes_total', `${sent}, by the kind of object.`, ['direction', 'kind'], byKind(directions));
  const labels = ['volume', 'volume_id'];
  counter(
    'sgw_volume_store_requests_total',
    `${made}, for objects of the volume, since the start of the gateway.`,
    ['operation', ...labels],
    byVolume(operations),
  );
  counter(
    'sgw_volume_store_bytes_total',
    `${sent}, for objects of the volume, since the start of the gateway.`,
    ['direction', ...labels],
    byVolume(directions),
  );
}

function awsMetrics(sources: MetricsSources, add: { readonly counter: Add; readonly gauge: Add }): void {
  const { clock, exports, cache, requests } = sources;
  const now = (): AwsSources => {
    const counts = (requests?.kinds() ?? []).map((each) => each.counts);
    return {
      nowMs: clock.nowMs(),
      volumes: exports().flatMap(({ stats }) => (stats === null ? [] : [stats])),
      cache: cache(),
      upBytes: counts.reduce((total, { upBytes }) => total + upBytes, 0),
      downBytes: counts.reduce((total, { downBytes }) => total + downBytes, 0),
    };
  };
  const help = (text: string, aws: string): string => `${text} CloudWatch: ${aws}.`;
  for (const metric of AWS_GATEWAY_METRICS)
    add[metric.kind](metric.name, help(metric.help, metric.aws), [], () => {
      const value = metric.value(now());
      return value === null ? [] : [{ labels: {}, value }];
    });
  for (const metric of AWS_VOLUME_METRICS)
    add[metric.kind](metric.name, help(metric.help, metric.aws), ['volume', 'volume_id'], () =>
      volumeRows(sources, (stats) => metric.value(stats, clock.nowMs())),
    );
}

function volumeLabels({ record, name }: AttachmentReport): { readonly volume: string; readonly volume_id: string } {
  const id = record.scratchVolumeId ?? record.volumeId ?? '';
  return { volume: name ?? id, volume_id: id };
}

function volumeRows({ exports }: MetricsSources, value: (stats: VolumeStats) => number | null): Row[] {
  return exports().flatMap((report) => {
    const number = report.stats === null ? null : value(report.stats);
    return number === null ? [] : [{ labels: volumeLabels(report), value: number }];
  });
}
