/** The documents of a running gateway: the daemon, what it serves and how that goes. As in `schemas.ts`, fields are only ever added. */
import Type, { type Static } from 'typebox';
import { ControlConnectionDocument } from './remote-schemas.ts';
import { AttachmentDocument, ShadowDocument } from './serving-schemas.ts';
import { Bytes, GatewayMode, Nullable, object, Time } from './schema-parts.ts';

/** A volume that the daemon serves. Counters grow from the attaching on; the other numbers tell now. */
export const ServedVolumeDocument = Type.Object(
  {
    volumeId: Type.String(),
    name: Type.String(),
    /** What clients ask for; null while it is attached without an export. */
    exportName: Nullable(Type.String()),
    readOnly: Type.Boolean(),
    state: Type.Union([
      Type.Literal('available'),
      Type.Literal('degraded'),
      Type.Literal('bootstrapping'),
      Type.Literal('pass-through'),
      Type.Literal('resyncing'),
      Type.Literal('fenced'),
      Type.Literal('damaged'),
      Type.Literal('closed'),
    ]),
    /** Why it is not `available`; null when it is. */
    reason: Nullable(Type.String()),
    sizeBytes: Bytes,
    mappedBytes: Bytes,
    seq: Type.Integer({ minimum: 0 }),
    epoch: Type.Integer({ minimum: 0 }),
    ack: Type.Union([Type.Literal('log'), Type.Literal('peer'), Type.Literal('store')]),
    /** Clients that have it open. */
    connections: Type.Integer({ minimum: 0 }),
    readOps: Type.Integer({ minimum: 0 }),
    readBytes: Bytes,
    /** Sum of the time that reads took; divided by their number it gives the mean. */
    readMs: Type.Number({ minimum: 0 }),
    writeOps: Type.Integer({ minimum: 0 }),
    writeBytes: Bytes,
    writeMs: Type.Number({ minimum: 0 }),
    flushOps: Type.Integer({ minimum: 0 }),
    flushMs: Type.Number({ minimum: 0 }),
    /** Pages read from the write log, from the cache and from the store. */
    logHits: Type.Integer({ minimum: 0 }),
    cacheHits: Type.Integer({ minimum: 0 }),
    storeReads: Type.Integer({ minimum: 0 }),
    /** Exposure: acknowledged and not in the store. */
    dirtyBytes: Bytes,
    /** Age of the oldest write that is not in the store. */
    dirtyMs: Type.Number({ minimum: 0 }),
    /** Capacity of the upload buffer. */
    bufferBytes: Bytes,
    /** When the buffer will be full if all goes on as in the last minute; null when it will not. */
    fullInMs: Nullable(Type.Number({ minimum: 0 })),
    /** Writers that wait for room in the buffer. */
    waitingWrites: Type.Integer({ minimum: 0 }),
    uploadedBytes: Bytes,
    downloadedBytes: Bytes,
    commits: Type.Integer({ minimum: 0 }),
    uploadErrors: Type.Integer({ minimum: 0 }),
    lastCommitAt: Nullable(Time),
    /** How far the store follows the image; null for a cached volume. */
    shadow: Nullable(ShadowDocument),
  },
  { additionalProperties: false },
);

/** The cache that all volumes of a gateway share. */
export const CacheDocument = Type.Object(
  {
    fileLimitBytes: Bytes,
    fileUsedBytes: Bytes,
    ramLimitBytes: Bytes,
    ramUsedBytes: Bytes,
    /** In pages, since the start. */
    ramHits: Type.Integer({ minimum: 0 }),
    fileHits: Type.Integer({ minimum: 0 }),
    misses: Type.Integer({ minimum: 0 }),
    damagedFrames: Type.Integer({ minimum: 0 }),
  },
  { additionalProperties: false },
);

/** Local storage of a gateway. */
const LocalDiskDocument = Type.Object(
  {
    /** `cache`, `upload-buffer`, or the path of an image. */
    diskId: Type.String(),
    path: Type.String(),
    /** `available`: an image, or a block device, in the folder `disks` of the home that nothing shadows. */
    use: Type.Union([
      Type.Literal('cache'),
      Type.Literal('uploadBuffer'),
      Type.Literal('volume'),
      Type.Literal('available'),
    ]),
    /** Of the cache and the upload buffer: what they may grow to, the latter for each volume. Null when the image can not be read. */
    sizeBytes: Nullable(Bytes),
    /** What the file system has allocated; null of a block device. */
    allocatedBytes: Nullable(Bytes),
    /** That the image is shadowed by. */
    volumeId: Nullable(Type.String()),
  },
  { additionalProperties: false },
);

export const GatewayDocument = object('gateway', {
  gatewayId: Type.String(),
  name: Type.String(),
  mode: GatewayMode,
  version: Type.String(),
  home: Type.String(),
  /** `suspended`: nothing is served until it is resumed. `stopping`: it takes no more calls, and brings what is not in the store there. */
  state: Type.Union([Type.Literal('serving'), Type.Literal('suspended'), Type.Literal('stopping')]),
  pid: Type.Integer({ minimum: 1 }),
  startedAt: Time,
  uptimeMs: Type.Integer({ minimum: 0 }),
  /** Path of the socket of the local API. */
  socket: Type.String(),
  /** Where Prometheus finds the metrics besides the socket, as a URL; null without `--metrics-listen`. */
  metricsUrl: Nullable(Type.String()),
  /** False for a gateway in the foreground, of `sgw gateway run`. */
  background: Type.Boolean(),
  /** Calls of the local API under way, but this one. */
  calls: Type.Integer({ minimum: 0 }),
  memory: Type.Object({ residentBytes: Bytes, heapBytes: Bytes }, { additionalProperties: false }),
  /** Processor time used since the start. */
  cpuMs: Type.Number({ minimum: 0 }),
  /** The connection to the service; absent where that is embedded. */
  connection: Type.Optional(ControlConnectionDocument),
  /** Null while nothing is cached. */
  cache: Nullable(CacheDocument),
  volumes: Type.Array(ServedVolumeDocument),
  /** Everything that is attached, also what can not be opened now. */
  exports: Type.Array(AttachmentDocument),
  /** Addresses of the machine, but its own loopback. */
  networkInterfaces: Type.Array(
    Type.Object(
      {
        name: Type.String(),
        ipv4Address: Nullable(Type.String()),
        ipv6Address: Nullable(Type.String()),
        macAddress: Type.String(),
      },
      { additionalProperties: false },
    ),
  ),
  disks: Type.Array(LocalDiskDocument),
});

export const GatewayStopDocument = object('gateway-stop', {
  /** False when no daemon ran. */
  stopped: Type.Boolean(),
  /** Of the process that ended; null when none ran. */
  pid: Nullable(Type.Integer({ minimum: 1 })),
  /** Whether all that was acknowledged is in the store; null when that is not known: no daemon ran, or it could not say. */
  drained: Nullable(Type.Boolean()),
  /** What is only in the write logs of this home; null when that is not known. */
  dirtyBytes: Nullable(Bytes),
  durationMs: Type.Integer({ minimum: 0 }),
});

export const GatewayReloadDocument = object('gateway-reload', {
  pid: Type.Integer({ minimum: 1 }),
  /** Sentences: what is different now. */
  changes: Type.Array(Type.String()),
});

export type ServedVolumeDocument = Static<typeof ServedVolumeDocument>;
export type CacheDocument = Static<typeof CacheDocument>;
export type GatewayDocument = Static<typeof GatewayDocument>;
export type LocalDiskDocument = Static<typeof LocalDiskDocument>;
export type GatewayStopDocument = Static<typeof GatewayStopDocument>;
export type GatewayReloadDocument = Static<typeof GatewayReloadDocument>;

const Rate = Nullable(Type.Integer({ minimum: 1 }));
const BandwidthLimits = { uploadBytesPerSecond: Rate, downloadBytesPerSecond: Rate };

export const BandwidthDocument = object('bandwidth', {
  ...BandwidthLimits,
  /** The first rule whose hours it is counts before the limits beside it. Hours are those of the machine. */
  schedule: Type.Array(
    Type.Object(
      {
        days: Type.Array(Type.Integer({ minimum: 1, maximum: 7 })),
        from: Type.String(),
        to: Type.String(),
        ...BandwidthLimits,
      },
      { additionalProperties: false },
    ),
  ),
  now: Type.Object(BandwidthLimits, { additionalProperties: false }),
});

export type BandwidthDocument = Static<typeof BandwidthDocument>;
