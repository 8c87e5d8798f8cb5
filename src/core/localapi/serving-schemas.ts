/** The documents of what a gateway serves: exports, their settings. As in `schemas.ts`, fields are only ever added. */
import Type, { type Static } from 'typebox';
import { Bytes, Nullable, object, RecoveryPolicy, Time } from './schema-parts.ts';

const Ack = Type.Union([Type.Literal('log'), Type.Literal('peer'), Type.Literal('store')]);

/** How far the store follows an image. */
export const ShadowDocument = Type.Object(
  {
    phase: Type.Union([
      Type.Literal('bootstrapping'),
      Type.Literal('comparing'),
      Type.Literal('pass-through'),
      Type.Literal('resyncing'),
      Type.Literal('steady'),
    ]),
    /** Of the comparing or sending at hand; both 0 when there is none. */
    doneBytes: Bytes,
    totalBytes: Bytes,
    leftMs: Nullable(Type.Number({ minimum: 0 })),
    /** Written and not logged: what a resync sends. */
    touchedBytes: Bytes,
    /** Regions of 4 MiB that would be compared after a crash. */
    markedRegions: Type.Integer({ minimum: 0 }),
  },
  { additionalProperties: false },
);

const Protocol = Type.Union([Type.Literal('nbd'), Type.Literal('iscsi')]);

/** How an export is served over iSCSI. */
const IscsiDocument = Type.Object(
  {
    /** An iqn: what initiators log in to. */
    targetName: Type.String(),
    /** Number of the one logical unit. */
    lun: Type.Integer({ minimum: 0 }),
    /** `HOST:PORT` of each. */
    portals: Type.Array(Type.String()),
    /** The user that initiators log in as by CHAP; null: without authentication. */
    chapUser: Nullable(Type.String()),
    /** The user that the target proves itself as; null: it does not. */
    chapTargetUser: Nullable(Type.String()),
    /** Names of the initiators that may log in; empty: any. */
    initiators: Type.Array(Type.String()),
    /** Initiators that log in as themselves, each with secrets of its own; absent: none. */
    chapInitiators: Type.Optional(Type.Array(Type.String())),
  },
  { additionalProperties: false },
);

/** A client that uses an export. */
const ClientDocument = Type.Object(
  {
    protocol: Protocol,
    /** Address and port of each of its connections, or `unix`. */
    remotes: Type.Array(Type.String()),
    /** iSCSI name; null over NBD. */
    initiator: Nullable(Type.String()),
    /** Who it proved to be, by CHAP or TLS; null when it did not. */
    user: Nullable(Type.String()),
    since: Time,
    requests: Type.Integer({ minimum: 0 }),
    receivedBytes: Bytes,
    sentBytes: Bytes,
  },
  { additionalProperties: false },
);

const Attachment = {
  exportName: Type.String(),
  kind: Type.Union([
    Type.Literal('volume'),
    Type.Literal('snapshot'),
    Type.Literal('recoveryPoint'),
    Type.Literal('image'),
  ]),
  /** Of the volume or snapshot; null where it was not read yet. */
  name: Nullable(Type.String()),
  /** The volume that is served, or that of the recovery point. */
  volumeId: Nullable(Type.String()),
  snapshotId: Nullable(Type.String()),
  /** The commit that is served. */
  recoveryPointSeq: Nullable(Type.Integer({ minimum: 0 })),
  readOnly: Type.Boolean(),
  /** Path of the local image that is shadowed; null for everything else. */
  image: Nullable(Type.String()),
  /** How far the store follows it; null while it is not open, and for everything else. */
  shadow: Nullable(ShadowDocument),
  /** The throw-away clone that is served instead; null without `--scratch`. */
  scratchVolumeId: Nullable(Type.String()),
  /**
   * `opening`; `waiting`: it could not be opened, and is tried again; then as the volume says: `available`, `degraded`,
   * `fenced`, `damaged`, and for a shadow that is behind its image `bootstrapping`, `pass-through`, `resyncing`; `detaching`; `stopped`: no daemon runs.
   */
  state: Type.Union([
    Type.Literal('opening'),
    Type.Literal('waiting'),
    Type.Literal('available'),
    Type.Literal('degraded'),
    Type.Literal('bootstrapping'),
    Type.Literal('pass-through'),
    Type.Literal('resyncing'),
    Type.Literal('fenced'),
    Type.Literal('damaged'),
    Type.Literal('detaching'),
    Type.Literal('stopped'),
  ]),
  /** Why it is not `available`; null when it is. */
  reason: Nullable(Type.String()),
  hint: Nullable(Type.String()),
  /** When it is tried again. */
  retryAt: Nullable(Time),
  sizeBytes: Nullable(Bytes),
  /** Null where nothing is written. */
  ack: Nullable(Ack),
  clients: Type.Integer({ minimum: 0 }),
  /** Who they are, as far as the servers know by now. */
  connected: Type.Array(ClientDocument),
  /** What it is served over. */
  protocols: Type.Array(Protocol),
  /** Null where it is not served over iSCSI. */
  iscsi: Nullable(IscsiDocument),
  /** Exposure: acknowledged and not in the store; null where nothing is written, or nothing is open. */
  dirtyBytes: Nullable(Bytes),
  /** Age of the oldest write that is not in the store. */
  dirtyMs: Nullable(Type.Number({ minimum: 0 })),
  /** Capacity of the upload buffer. */
  bufferBytes: Nullable(Bytes),
  /** When the buffer will be full if all goes on as in the last minute. */
  fullInMs: Nullable(Type.Number({ minimum: 0 })),
  accountId: Type.String(),
  attachedAt: Time,
  /** How clients reach it. */
  uris: Type.Array(Type.String()),
  /** Of an image that is, or was, restored from a snapshot. */
  restore: Nullable(
    Type.Object(
      {
        restoreId: Type.String(),
        path: Type.String(),
        /** Null, as what follows, while the image is not open. */
        state: Nullable(Type.Union([Type.Literal('restoring'), Type.Literal('completed')])),
        /** Restored bytes of the image, as far as known: after a restart they are found by and by. */
        doneBytes: Nullable(Bytes),
        totalBytes: Nullable(Bytes),
        /** At the pace of the last half minute. */
        leftMs: Nullable(Type.Number({ minimum: 0 })),
        /** Reads that were answered from the snapshot, and how long they took in all. */
        demandReads: Nullable(Type.Integer({ minimum: 0 })),
        demandReadMs: Nullable(Type.Number({ minimum: 0 })),
      },
      { additionalProperties: false },
    ),
  ),
};

export const AttachmentDocument = Type.Object(Attachment, { additionalProperties: false });

export const VolumeAttached = object('volume-attach', {
  ...Attachment,
  /** False when `--if-not-exists` found it attached alike. */
  created: Type.Boolean(),
  remarks: Type.Optional(Type.Array(Type.String())),
});

export const VolumeDetached = object('volume-detach', {
  /** Null when `--if-exists` found nothing. */
  exportName: Nullable(Type.String()),
  volumeId: Nullable(Type.String()),
  snapshotId: Nullable(Type.String()),
  detached: Type.Boolean(),
  /** Whether all that was acknowledged is in the store. */
  drained: Type.Boolean(),
  /** What stays in the write log of this home. */
  dirtyBytes: Bytes,
  /** The throw-away clone that was deleted. */
  deletedVolumeId: Nullable(Type.String()),
});

const Tls = Type.Union([Type.Literal('off'), Type.Literal('on'), Type.Literal('require')]);

/** How a gateway serves; null: the default. */
export const ServingConfiguration = Type.Object(
  {
    /** Beside the default socket, or in its place: `unix:PATH`, `tcp:HOST:PORT`. */
    listen: Type.Array(Type.String()),
    tls: Tls,
    tlsCertificate: Nullable(Type.String()),
    tlsKey: Nullable(Type.String()),
    tlsCa: Nullable(Type.String()),
    tlsPsk: Nullable(Type.String()),
    listExports: Type.Boolean(),
    defaultExport: Nullable(Type.String()),
    /** Portals for iSCSI, `tcp:HOST:PORT`; empty: the default, as long as something is served over iSCSI. */
    iscsiListen: Type.Array(Type.String()),
    /** `HOST:PORT` of the portals that initiators are told of; empty: those that are listened at. */
    iscsiPortals: Type.Array(Type.String()),
    /** The user of CHAP that may ask what targets there are; null: anybody may. */
    iscsiDiscoveryUser: Nullable(Type.String()),
    cacheBytes: Nullable(Bytes),
    cacheRamBytes: Nullable(Bytes),
    bufferBytes: Nullable(Bytes),
    sealIntervalMs: Nullable(Type.Integer({ minimum: 0 })),
    readAheadBytes: Nullable(Bytes),
  },
  { additionalProperties: false },
);

export const VolumeSettingsDocument = object('volume-settings', {
  volumeId: Type.String(),
  name: Type.String(),
  ack: Ack,
  bufferBytes: Bytes,
  sealIntervalMs: Type.Integer({ minimum: 0 }),
  readAheadBytes: Bytes,
  /** Which recovery points are kept. */
  recovery: RecoveryPolicy,
  /** Names of the settings that are of this volume; the others are the gateway's. */
  own: Type.Array(Type.String()),
  changed: Type.Array(Type.String()),
});

export const RecoveryPointList = object('recovery-point-list', {
  volumeId: Type.String(),
  name: Type.String(),
  recoveryPoints: Type.Array(
    Type.Object(
      {
        seq: Type.Integer({ minimum: 0 }),
        at: Time,
        sizeBytes: Bytes,
        mappedBytes: Bytes,
        /** False for one of the newest, which may go with the next checkpoint. */
        kept: Type.Boolean(),
      },
      { additionalProperties: false },
    ),
  ),
});

export const DoctorDocument = object('doctor', {
  /** False when a check failed; warnings do not count. */
  ok: Type.Boolean(),
  home: Type.String(),
  checks: Type.Array(
    Type.Object(
      {
        name: Type.String(),
        state: Type.Union([Type.Literal('ok'), Type.Literal('warning'), Type.Literal('failed')]),
        message: Type.String(),
        hint: Nullable(Type.String()),
        /** The kind of error that it is; null unless it failed. */
        kind: Nullable(Type.String()),
      },
      { additionalProperties: false },
    ),
  ),
});

export const LogRecoveryDocument = object('log-recovery', {
  volumeId: Type.String(),
  name: Type.String(),
  sizeBytes: Type.Integer({ minimum: 0 }),
  fromVolumeId: Type.String(),
  fromName: Type.String(),
  log: Type.String(),
  records: Type.Integer({ minimum: 1 }),
  baseSeq: Type.Integer({ minimum: 0 }),
  baseAt: Type.String(),
  /** What the log lost; null when nothing. */
  damage: Nullable(Type.String()),
  checkedBytes: Type.Integer({ minimum: 0 }),
  durationMs: Type.Integer({ minimum: 0 }),
});

export type LogRecoveryDocument = Static<typeof LogRecoveryDocument>;
export type DoctorDocument = Static<typeof DoctorDocument>;
export type RecoveryPointList = Static<typeof RecoveryPointList>;
export type AttachmentDocument = Static<typeof AttachmentDocument>;
export type ServingConfiguration = Static<typeof ServingConfiguration>;
export type VolumeAttached = Static<typeof VolumeAttached>;
export type VolumeDetached = Static<typeof VolumeDetached>;
export type VolumeSettingsDocument = Static<typeof VolumeSettingsDocument>;
