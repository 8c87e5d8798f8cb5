/**
 * The result documents of the local API, which are also what `--json` prints: camelCase, bytes as
 * integers, times RFC 3339 UTC. Fields are only ever added. The published JSON Schemas under
 * `docs/schemas/` are written from these; only tests and the schema writer load this module at run time.
 */
import Type, { type Static } from 'typebox';
import { GatewayServiceDocument, PendingActivationDocument } from './activation-schemas.ts';
import { ScheduleDocument, Verified } from './schedule-schemas.ts';
import { AttachmentDocument, VolumeAttached } from './serving-schemas.ts';
import { Bytes, GatewayMode, Nullable, object, RecoveryPolicy, Tags, Time } from './schema-parts.ts';

export * from './account-schemas.ts';
export * from './activation-schemas.ts';
export * from './configuration-schemas.ts';
export * from './cost-schemas.ts';
export * from './gateway-schemas.ts';
export * from './group-schemas.ts';
export * from './remote-schemas.ts';
export * from './schedule-schemas.ts';
export * from './service-schemas.ts';
export * from './serving-schemas.ts';
export * from './store-copy-schemas.ts';
export { GatewayMode } from './schema-parts.ts';

/** Sentences that a person should read, of damaged entries for one; absent when there is none. */
const Remarks = Type.Optional(Type.Array(Type.String()));

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
  /** How the store's contents are sealed: `none`, or by a key that only the customer holds, or the provider. */
  encryption: Type.Union([Type.Literal('none'), Type.Literal('customer'), Type.Literal('provider')]),
  /** The key that was shown on the local network and claimed. */
  activationKey: Nullable(Type.String()),
  /** What the device told of itself, as it was shown before it was confirmed. */
  metadata: Type.Record(Type.String(), Type.String()),
  /** Opens the store when the passphrase or key file is lost. Given once, when the key is made; null otherwise. */
  recoveryCode: Nullable(Type.String()),
  /** URL of the service that the gateway was activated at over the network; absent where it is embedded. */
  service: Type.Optional(Type.String()),
  /** False when `--if-not-exists` found the gateway already activated alike. */
  created: Type.Boolean(),
  remarks: Remarks,
});

export const DeactivationDocument = object('deactivation', {
  gatewayId: Type.String(),
  name: Type.String(),
  home: Type.String(),
  /** Where the store is, which stays. */
  store: Type.String(),
  deactivatedAt: Time,
  remarks: Remarks,
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

export const VolumeList = object('volume-list', { volumes: Type.Array(VolumeSummary), remarks: Remarks });

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
  /** Which recovery points are kept while it is served here. */
  recovery: RecoveryPolicy,
  /** How it is served here; null when it is not attached. */
  attachment: Nullable(AttachmentDocument),
  remarks: Remarks,
});

export const VolumeCreated = object('volume-created', {
  ...VolumeSummary.properties,
  created: Type.Boolean(),
  /** With `--attach`: as `volume attach` answers. */
  attachment: Type.Optional(VolumeAttached),
});

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
  /** False when `--if-exists` found nothing, and of a preview. */
  deleted: Type.Boolean(),
  /** True when this only says what would happen. */
  preview: Type.Boolean(),
  /** Bytes in the store that nothing else needs, freed by gc; null when that was not asked for. */
  freesBytes: Nullable(Bytes),
  /** Until when `volume undelete` brings it back; null for a snapshot. */
  undeleteUntil: Nullable(Time),
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
  /** The schedule that made it and may delete it; null of one that was made, or renamed, by hand. */
  scheduleId: Nullable(Type.String()),
  verified: Verified,
});

/** `by` lets `accountId` use the blocks that `by` wrote. */
const Grant = Type.Object(
  { accountId: Type.String(), by: Type.String(), grantedAt: Time },
  { additionalProperties: false },
);

export const SnapshotCreated = object('snapshot-created', { ...SnapshotSummary.properties, created: Type.Boolean() });
export const SnapshotList = object('snapshot-list', {
  snapshots: Type.Array(SnapshotSummary),
  remarks: Remarks,
});
export const SnapshotDocument = object('snapshot-detail', {
  ...SnapshotSummary.properties,
  /** Accounts that wrote at least one of its blocks. */
  creators: Type.Array(Type.String()),
  /** Volumes cloned from it. */
  clones: Type.Array(Type.Object({ volumeId: Type.String(), name: Type.String() }, { additionalProperties: false })),
  /** Whether this account may export it. */
  exportable: Type.Boolean(),
  grants: Type.Array(Grant),
});

export const SnapshotSharing = object('snapshot-sharing', {
  snapshotId: Type.String(),
  name: Type.String(),
  grants: Type.Array(Grant),
  /** False when it was so already. */
  changed: Type.Boolean(),
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
  /** Sentences that a person should read. */
  remarks: Type.Array(Type.String()),
});

export const RestoreDocument = object('snapshot-restore', {
  restoreId: Type.String(),
  snapshotId: Type.String(),
  name: Type.String(),
  path: Type.String(),
  sizeBytes: Bytes,
  /** `restoring`: it is served, and goes on. */
  state: Type.Union([Type.Literal('restoring'), Type.Literal('completed')]),
  resumed: Type.Boolean(),
  /** Restored so far. */
  doneBytes: Bytes,
  /** Where what the image held before is now; null when nothing of it was kept. */
  previous: Nullable(
    Type.Object(
      { volumeId: Type.String(), volumeName: Type.String(), snapshotId: Type.String(), snapshotName: Type.String() },
      { additionalProperties: false },
    ),
  ),
  /** How it is served; null without `--attach`. */
  export: Nullable(AttachmentDocument),
  durationMs: Type.Integer({ minimum: 0 }),
  /** Sentences that a person should read. */
  remarks: Type.Array(Type.String()),
});

export const VerifyDocument = object('verify', {
  id: Type.String(),
  name: Type.String(),
  ok: Type.Boolean(),
  checkedBytes: Bytes,
  checkedObjects: Type.Integer({ minimum: 0 }),
  durationMs: Type.Integer({ minimum: 0 }),
  remarks: Remarks,
});

export const StoreCheckDocument = object('store-check', {
  store: Type.String(),
  /** Who runs the store's server, as far as that is known. */
  provider: Nullable(Type.String()),
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
  /** What is known of such servers. */
  remarks: Type.Array(Type.String()),
});

const Counted = Type.Object({ objects: Type.Integer({ minimum: 0 }), bytes: Bytes }, { additionalProperties: false });

export const GcDocument = object('store-gc', {
  store: Type.String(),
  preview: Type.Boolean(),
  graceMs: Type.Integer({ minimum: 0 }),
  /** What keeps objects alive. */
  roots: Type.Object(
    {
      volumes: Type.Integer({ minimum: 0 }),
      deletedVolumes: Type.Integer({ minimum: 0 }),
      snapshots: Type.Integer({ minimum: 0 }),
      pins: Type.Integer({ minimum: 0 }),
      /** Restores to local images that are under way. */
      restores: Type.Integer({ minimum: 0 }),
    },
    { additionalProperties: false },
  ),
  /** What is reachable, and stays. */
  live: Counted,
  /** Found unreachable before the grace period began, and now again: removed, or by a preview to be removed. */
  removed: Counted,
  /** Of the removed, log objects that left an empty tombstone, because a seq is never free again. */
  tombstones: Type.Integer({ minimum: 0 }),
  /** Unreachable, and waiting for its grace period to end. */
  waiting: Counted,
  /** When the first of what waits can be removed; null when nothing waits. */
  removableAt: Nullable(Time),
  /** Segments less than half live whose live pages were committed anew. */
  rewritten: Type.Object({ segments: Type.Integer({ minimum: 0 }), bytes: Bytes }, { additionalProperties: false }),
  /** Deleted volumes whose time for undelete was over. */
  purgedVolumes: Type.Array(Type.String()),
  remarks: Type.Array(Type.String()),
  durationMs: Type.Integer({ minimum: 0 }),
});

export const ScrubDocument = object('store-scrub', {
  store: Type.String(),
  ok: Type.Boolean(),
  objects: Type.Integer({ minimum: 0 }),
  checkedBytes: Bytes,
  damage: Type.Array(
    Type.Object(
      {
        key: Type.String({ description: 'the object' }),
        message: Type.String(),
        /** Who needs what is damaged. */
        affects: Type.Array(
          Type.Object(
            {
              kind: Type.Union([Type.Literal('volume'), Type.Literal('snapshot'), Type.Literal('store')]),
              id: Type.String(),
              name: Type.String(),
              /** Extents of it that can not be read; the whole of it when its entry or head is damaged. */
              extents: Type.Array(Type.Object({ offset: Bytes, length: Bytes }, { additionalProperties: false })),
            },
            { additionalProperties: false },
          ),
        ),
      },
      { additionalProperties: false },
    ),
  ),
  remarks: Type.Array(Type.String()),
  durationMs: Type.Integer({ minimum: 0 }),
});

export const RekeyDocument = object('store-rekey', {
  storeId: Type.String(),
  keyId: Type.String(),
  /** What unlocks the key now. */
  slots: Type.Array(
    Type.Object(
      {
        slotId: Type.String(),
        kind: Type.Union([Type.Literal('passphrase'), Type.Literal('keyFile'), Type.Literal('recovery')]),
        createdAt: Time,
      },
      { additionalProperties: false },
    ),
  ),
  /** A new one, when it was asked for; the one before it is void. */
  recoveryCode: Nullable(Type.String()),
});

/** What a server of the service tells when it is ready; `rootKey` once in the life of a service. */
export const ServiceReadyDocument = object('service-ready', {
  url: Type.String(),
  gatewayAddress: Type.String(),
  metricsUrl: Type.Union([Type.String(), Type.Null()]),
  serviceId: Type.String(),
  region: Type.String(),
  store: Type.String(),
  /** Who holds the keys that the store is sealed by. */
  keys: Type.Union([Type.Literal('none'), Type.Literal('provider'), Type.Literal('customer')]),
  caFingerprint: Type.String(),
  rootAccountId: Type.String(),
  rootKey: Type.Union([
    Type.Object({ accessKeyId: Type.String(), secretAccessKey: Type.String() }, { additionalProperties: false }),
    Type.Null(),
  ]),
  pid: Type.Integer({ minimum: 1 }),
  version: Type.String(),
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
  /** Absent where the service is embedded. */
  service: Type.Optional(GatewayServiceDocument),
  /** An activation over the network that is under way, or was stopped; absent when there is none. */
  activation: Type.Optional(PendingActivationDocument),
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
  daemon: Type.Object(
    { running: Type.Boolean(), pid: Nullable(Type.Integer()), since: Nullable(Time) },
    { additionalProperties: false },
  ),
  /** Null where the store can not be read; damaged volumes count, their sizes do not. */
  volumes: Type.Object(
    { count: Nullable(Type.Integer()), sizeBytes: Nullable(Bytes), mappedBytes: Nullable(Bytes) },
    { additionalProperties: false },
  ),
  /** `unverified` were never read back, `unsound` were, and found wanting. */
  snapshots: Type.Object(
    { count: Nullable(Type.Integer()), unverified: Nullable(Type.Integer()), unsound: Nullable(Type.Integer()) },
    { additionalProperties: false },
  ),
  /** What is attached, and how that does. */
  exports: Type.Array(AttachmentDocument),
  /** Snapshot schedules, and how they do. */
  schedules: Type.Array(ScheduleDocument),
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
export type RestoreDocument = Static<typeof RestoreDocument>;
export type VerifyDocument = Static<typeof VerifyDocument>;
export type StoreCheckDocument = Static<typeof StoreCheckDocument>;
export type DeactivationDocument = Static<typeof DeactivationDocument>;
export type SnapshotSharing = Static<typeof SnapshotSharing>;
export type GcDocument = Static<typeof GcDocument>;
export type ScrubDocument = Static<typeof ScrubDocument>;
export type RekeyDocument = Static<typeof RekeyDocument>;
export type ServiceReadyDocument = Static<typeof ServiceReadyDocument>;
export type StatusDocument = Static<typeof StatusDocument>;
