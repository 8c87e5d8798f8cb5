/** What happened between two looks at a gateway, by its counters. Pure. */
import type { GatewayDocument, ServedVolumeDocument } from '../../localapi/index.ts';
import type { TopDocument } from '../documents.ts';

type TopVolume = TopDocument['volumes'][number];

/**
 * The rates between two looks. A volume, or a gateway, that began anew between them counts from its beginning.
 * `gateway` is the newer one; `before` is undefined for the first look, whose rates are those since the start.
 */
export function ratesBetween(before: GatewayDocument | undefined, gateway: GatewayDocument, time: string): TopDocument {
  const old = before?.pid === gateway.pid && before.startedAt === gateway.startedAt ? before : undefined;
  const intervalMs = Math.max(1, gateway.uptimeMs - (old?.uptimeMs ?? 0));
  return {
    time,
    name: gateway.name,
    mode: gateway.mode,
    state: gateway.state,
    pid: gateway.pid,
    uptimeMs: gateway.uptimeMs,
    intervalMs,
    residentBytes: gateway.memory.residentBytes,
    processorShare: Math.max(0, gateway.cpuMs - (old?.cpuMs ?? 0)) / intervalMs,
    volumes: gateway.volumes.map((volume) => {
      const earlier = old?.volumes.find(
        ({ volumeId, exportName }) => volumeId === volume.volumeId && exportName === volume.exportName,
      );
      return volumeRates(isSameCount(earlier, volume) ? earlier : undefined, volume, intervalMs);
    }),
  };
}

/** Counters only grow; one that shrank began anew. */
const isSameCount = (earlier: ServedVolumeDocument | undefined, now: ServedVolumeDocument): boolean =>
  earlier !== undefined && earlier.readOps <= now.readOps && earlier.writeOps <= now.writeOps;

function volumeRates(old: ServedVolumeDocument | undefined, now: ServedVolumeDocument, intervalMs: number): TopVolume {
  type Counter = 'readOps' | 'writeOps' | 'flushOps' | 'readBytes' | 'writeBytes' | 'uploadedBytes' | 'downloadedBytes';
  type Sum = Counter | 'readMs' | 'writeMs' | 'flushMs' | 'logHits' | 'cacheHits' | 'storeReads';
  const grown = (name: Sum): number => now[name] - (old?.[name] ?? 0);
  const perSecond = (name: Counter): number => Math.round((grown(name) * 1000) / intervalMs);
  const mean = (sum: Sum, count: Sum): number | null => (grown(count) === 0 ? null : grown(sum) / grown(count));
  const hits = grown('logHits') + grown('cacheHits');
  const reads = hits + grown('storeReads');
  return {
    volumeId: now.volumeId,
    name: now.name,
    exportName: now.exportName,
    state: now.state,
    reason: now.reason,
    shadow: now.shadow,
    readOpsPerSecond: perSecond('readOps'),
    writeOpsPerSecond: perSecond('writeOps'),
    flushOpsPerSecond: perSecond('flushOps'),
    readBytesPerSecond: perSecond('readBytes'),
    writeBytesPerSecond: perSecond('writeBytes'),
    readLatencyMs: mean('readMs', 'readOps'),
    writeLatencyMs: mean('writeMs', 'writeOps'),
    flushLatencyMs: mean('flushMs', 'flushOps'),
    hitRate: reads === 0 ? null : hits / reads,
    uploadedBytesPerSecond: perSecond('uploadedBytes'),
    downloadedBytesPerSecond: perSecond('downloadedBytes'),
    bufferShare: now.bufferBytes === 0 ? 0 : now.dirtyBytes / now.bufferBytes,
    waitingWrites: now.waitingWrites,
    dirtyBytes: now.dirtyBytes,
    dirtyMs: now.dirtyMs,
    fullInMs: now.fullInMs,
  };
}
