/**
 * The result documents of the local API, which are also what `--json` prints: camelCase, bytes as
 * integers, times RFC 3339 UTC. Fields are only ever added. The published JSON Schemas under
 * `docs/schemas/` are written from these; only tests and the schema writer load this module at run time.
 */
import Type, { type Static } from 'typebox';

const Time = Type.String({ format: 'date-time', description: 'RFC 3339, UTC' });
const Bytes = Type.Integer({ minimum: 0, description: 'bytes' });
const Nullable = <T extends Type.TSchema>(schema: T): Type.TUnion<[T, Type.TNull]> => Type.Union([schema, Type.Null()]);
const Tags = Type.Record(Type.String(), Type.String());
const object = <P extends Type.TProperties>(id: string, properties: P): Type.TObject<P> =>
  Type.Object(properties, { $id: id, additionalProperties: false });

export const GatewayMode = Type.Union([Type.Literal('cached'), Type.Literal('shadowing')]);

export const ActivationDocument = object('activation', {
  gatewayId: Type.String(),
  name: Type.String(),
  mode: GatewayMode,
  accountId: Type.String(),
  home: Type.String({ description: 'absolute path of the home directory' }),
  store: Type.String({ description: 'where the object store is' }),
  storeId: Type.String(),
  region: Type.String(),
  activatedAt: Time,
  /** False when `--if-not-exists` found the gateway already activated alike. */
  created: Type.Boolean(),
});

export const VolumeSummary = object('volume', {
  volumeId: Type.String(),
  name: Type.String(),
  /** `damaged`: its documents in the store can not be read; then only the id is sure, and what is not known is "?", "" or 0. */
  state: Type.Union([
    Type.Literal('available'),
    Type.Literal('importing'),
    Type.Literal('deleted'),
    Type.Literal('damaged'),
  ]),
  sizeBytes: Bytes,
  /** Bytes of mapped pages (4 KiB each), before compression; shared with other volumes or not. */
  mappedBytes: Bytes,
  accountId: Type.String(),
  createdAt: Time,
  /** The snapshot that the volume was cloned from. */
  parentSnapshotId: Nullable(Type.String()),
  tags: Tags,
});

/** Sentences that a person should read, one for each damaged entry; absent when there is none. */
const ListRemarks = Type.Optional(Type.Array(Type.String()));

export const VolumeList = object('volume-list', { volumes: Type.Array(VolumeSummary), remarks: ListRemarks });

export const VolumeDocument = object('volume-detail', {
  ...VolumeSummary.properties,
  /** Newest commit in the store; 0 before the first. */
  seq: Type.Integer({ minimum: 0 }),
  epoch: Type.Integer({ minimum: 0 }),
  /** Who holds the volume open for writing. */
  holder: Nullable(
    Type.Object({ gatewayId: Type.String(), name: Type.String(), since: Time }, { additionalProperties: false }),
  ),
  lastCommitAt: Nullable(Time),
  snapshots: Type.Array(
    Type.Object({ snapshotId: Type.String(), name: Type.String() }, { additionalProperties: false }),
  ),
  /** The unfinished import to resume, or null. */
  unfinishedImport: Nullable(Type.Object({ source: Type.String(), startedAt: Time }, { additionalProperties: false })),
});

export const VolumeCreated = object('volume-created', { ...VolumeSummary.properties, created: Type.Boolean() });

export const ImportDocument = object('volume-import', {
  ...VolumeSummary.properties,
  source: Type.String(),
  format: Type.String({ description: 'raw, qcow2, vmdk, vhdx or vdi' }),
  resumed: Type.Boolean(),
  /** Bytes of the image that were read (holes are skipped). */
  readBytes: Bytes,
  /** Bytes of pages committed, before compression. */
  changedBytes: Bytes,
  /** Bytes of pages that became zero. */
  zeroedBytes: Bytes,
  /** Bytes that went into the object store. */
  storedBytes: Bytes,
  durationMs: Type.Integer({ minimum: 0 }),
});

export const DeletedDocument = object('deleted', {
  id: Nullable(Type.String()),
  name: Nullable(Type.String()),
  /** False when `--if-exists` found nothing. */
  deleted: Type.Boolean(),
});

export const SnapshotSummary = object('snapshot', {
  snapshotId: Type.String(),
  name: Type.String(),
  state: Type.Union([
    Type.Literal('pending'),
    Type.Literal('completed'),
    Type.Literal('failed'),
    Type.Literal('deleted'),
    Type.Literal('damaged'),
  ]),
  volumeId: Type.String(),
  volumeName: Type.String(),
  sizeBytes: Bytes,
  mappedBytes: Bytes,
  /** The commit of the volume that the snapshot shows. */
  seq: Type.Integer({ minimum: 0 }),
  accountId: Type.String(),
  createdAt: Time,
  completedAt: Nullable(Time),
  description: Type.String(),
  tags: Tags,
});

export const SnapshotCreated = object('snapshot-created', { ...SnapshotSummary.properties, created: Type.Boolean() });
export const SnapshotList = object('snapshot-list', {
  snapshots: Type.Array(SnapshotSummary),
  remarks: ListRemarks,
});
export const SnapshotDocument = object('snapshot-detail', {
  ...SnapshotSummary.properties,
  /** Accounts that wrote at least one of its blocks. */
  creators: Type.Array(Type.String()),
  /** Volumes cloned from it. */
  clones: Type.Array(Type.Object({ volumeId: Type.String(), name: Type.String() }, { additionalProperties: false })),
});

export const Extent = Type.Object(
  {
    offset: Bytes,
    length: Bytes,
    state: Type.String({ description: 'volume map: stored, shared or zero; diff: changed, zeroed or added' }),
  },
  { additionalProperties: false },
);

export const MapDocument = object('volume-map', {
  volumeId: Type.String(),
  name: Type.String(),
  sizeBytes: Bytes,
  storedBytes: Bytes,
  /** Of the stored bytes, those that a snapshot of the volume, or the one it was cloned from, holds at the same place. */
  sharedBytes: Bytes,
  zeroBytes: Bytes,
  extents: Type.Array(Extent),
});

export const DiffDocument = object('snapshot-diff', {
  from: Type.String({ description: 'snapshot id' }),
  to: Type.String({ description: 'snapshot id' }),
  fromSizeBytes: Bytes,
  toSizeBytes: Bytes,
  /** Bytes of pages whose contents differ. */
  changedBytes: Bytes,
  /** Bytes of pages that hold data in `from` and read as zeroes in `to`. */
  zeroedBytes: Bytes,
  extents: Type.Array(Extent),
});

export const ExportDocument = object('snapshot-export', {
  snapshotId: Type.String(),
  name: Type.String(),
  path: Type.String(),
  format: Type.String(),
  sizeBytes: Bytes,
  /** Bytes of data written; the rest of the image is holes. */
  dataBytes: Bytes,
  resumed: Type.Boolean(),
  verified: Type.Boolean(),
  durationMs: Type.Integer({ minimum: 0 }),
});

export const VerifyDocument = object('verify', {
  id: Type.String(),
  name: Type.String(),
  ok: Type.Boolean(),
  checkedBytes: Bytes,
  checkedObjects: Type.Integer({ minimum: 0 }),
  durationMs: Type.Integer({ minimum: 0 }),
});

export const StoreCheckDocument = object('store-check', {
  store: Type.String(),
  writable: Type.Boolean(),
  probes: Type.Array(
    Type.Object(
      {
        name: Type.String(),
        ok: Type.Boolean(),
        /** True when a store without it is refused for writing. */
        required: Type.Boolean(),
        message: Type.String(),
        durationMs: Type.Number({ minimum: 0 }),
      },
      { additionalProperties: false },
    ),
  ),
});

export const StoreStatsDocument = object('store-stats', {
  store: Type.String(),
  storeId: Type.String(),
  objects: Type.Integer({ minimum: 0 }),
  totalBytes: Bytes,
  kinds: Type.Array(
    Type.Object(
      { kind: Type.String(), objects: Type.Integer({ minimum: 0 }), bytes: Bytes },
      { additionalProperties: false },
    ),
  ),
  volumes: Type.Integer({ minimum: 0 }),
  snapshots: Type.Integer({ minimum: 0 }),
});

export const ConfigureDocument = object('configuration', {
  name: Type.String(),
  mode: GatewayMode,
  version: Type.Integer({ minimum: 1 }),
  changed: Type.Array(Type.String(), { description: 'names of the settings that this call changed' }),
});

export const StatusDocument = object('status', {
  version: Type.String(),
  activated: Type.Boolean(),
  home: Type.String(),
  gateway: Nullable(
    Type.Object(
      {
        gatewayId: Type.String(),
        name: Type.String(),
        mode: GatewayMode,
        accountId: Type.String(),
        region: Type.String(),
        activatedAt: Time,
      },
      { additionalProperties: false },
    ),
  ),
  store: Nullable(
    Type.Object(
      {
        description: Type.String(),
        storeId: Type.String(),
        reachable: Type.Boolean(),
        /** True when the store and the home are on one file system, so that one lost disk takes both. */
        sharesDiskWithHome: Type.Boolean(),
        freeBytes: Nullable(Bytes),
      },
      { additionalProperties: false },
    ),
  ),
  daemon: Type.Object({ running: Type.Boolean() }, { additionalProperties: false }),
  /** Null where the store can not be read; damaged volumes count, their sizes do not. */
  volumes: Type.Object(
    { count: Nullable(Type.Integer()), sizeBytes: Nullable(Bytes), mappedBytes: Nullable(Bytes) },
    { additionalProperties: false },
  ),
  snapshots: Type.Object({ count: Nullable(Type.Integer()) }, { additionalProperties: false }),
  /** Sentences that a person should read: damage, unfinished imports, a shared disk. */
  remarks: Type.Array(Type.String()),
});

export const ErrorEnvelope = object('error', {
  error: Type.Object(
    {
      code: Type.String(),
      kind: Type.String(),
      message: Type.String(),
      hint: Nullable(Type.String()),
      details: Type.Record(Type.String(), Type.Unknown()),
      retryable: Type.Boolean(),
    },
    { additionalProperties: false },
  ),
});

export type GatewayMode = Static<typeof GatewayMode>;
export type ActivationDocument = Static<typeof ActivationDocument>;
export type VolumeSummary = Static<typeof VolumeSummary>;
export type VolumeList = Static<typeof VolumeList>;
export type VolumeDocument = Static<typeof VolumeDocument>;
export type VolumeCreated = Static<typeof VolumeCreated>;
export type ImportDocument = Static<typeof ImportDocument>;
export type DeletedDocument = Static<typeof DeletedDocument>;
export type SnapshotSummary = Static<typeof SnapshotSummary>;
export type SnapshotCreated = Static<typeof SnapshotCreated>;
export type SnapshotList = Static<typeof SnapshotList>;
export type SnapshotDocument = Static<typeof SnapshotDocument>;
export type Extent = Static<typeof Extent>;
export type MapDocument = Static<typeof MapDocument>;
export type DiffDocument = Static<typeof DiffDocument>;
export type ExportDocument = Static<typeof ExportDocument>;
export type VerifyDocument = Static<typeof VerifyDocument>;
export type StoreCheckDocument = Static<typeof StoreCheckDocument>;
export type StoreStatsDocument = Static<typeof StoreStatsDocument>;
export type ConfigureDocument = Static<typeof ConfigureDocument>;
export type StatusDocument = Static<typeof StatusDocument>;
