/**
 * What a gateway serves, as its state keeps it: how clients reach it, how much local disk and memory it may use, and what is
 * attached. A running daemon serves just this again after a restart.
 */
export const TLS_MODES = ['off', 'on', 'require'] as const;
/** What an export may be served over. */
const PROTOCOLS = ['nbd', 'iscsi'] as const;
/** As room `volume` knows them. */
const ACK_CLASSES = ['log', 'peer', 'store'] as const;

/** Settings of the gateway. Null: the default, worked out when it is needed. */
export interface ServingSettings {
  /** Absolute path of the NBD socket; null: `nbd.sock` in the home. */
  unixSocket: string | null;
  /** `HOST:PORT` where NBD is served over TCP as well; IPv6 addresses in brackets. */
  tcp: string[];
  tls: (typeof TLS_MODES)[number];
  /** Absolute paths of PEM files, and of a file of pre-shared keys, `NAME:HEX` a line. */
  tlsCertificate: string | null;
  tlsKey: string | null;
  /** Who signed the certificates that clients must show; null: clients show none. */
  tlsCa: string | null;
  tlsPsk: string | null;
  /** Whether clients may ask for the list of exports. */
  listExports: boolean;
  /** The export of clients that name none. */
  defaultExport: string | null;
  /** `HOST:PORT` of each iSCSI portal; empty: the default, as long as something is served over iSCSI. */
  iscsiListen: string[];
  /** `HOST:PORT` of the portals that initiators are told of; empty: those that are listened at. */
  iscsiPortals: string[];
  /** The user of CHAP that may ask what targets there are; null: anybody may. Its secret is in `chap.json`. */
  iscsiDiscoveryUser: string | null;
  /** Of the cache's file. */
  cacheBytes: number | null;
  /** Of the cache in memory. */
  cacheRamBytes: number | null;
  /** Upload buffer of each volume that has no other. */
  bufferBytes: number | null;
  sealIntervalMs: number | null;
  readAheadBytes: number | null;
}

/** What a volume does otherwise than the gateway's settings say. */
export interface VolumeSettingsState {
  ack?: (typeof ACK_CLASSES)[number];
  bufferBytes?: number;
  sealIntervalMs?: number;
  readAheadBytes?: number;
  /** Which recovery points are kept. */
  recovery?: RecoveryPolicyState;
}

/** As room `blockstore` knows it. */
export interface RecoveryPolicyState {
  allForMs: number;
  allMax: number;
  /** From short to long. */
  tiers: { periodMs: number; forMs: number }[];
}

/**
 * Something that is served under a name. A snapshot and a recovery point are served read-only, or through a throw-away
 * clone, a volume of its own that goes when it is detached.
 */
export interface AttachmentState {
  exportName: string;
  /** The volume that is served; that of the recovery point; null for a snapshot. */
  volumeId: string | null;
  /** The snapshot that is served; else null. */
  snapshotId: string | null;
  /** Seq of the recovery point that is served; else null. */
  recoveryPointSeq: number | null;
  readOnly: boolean;
  /** What it is served over, at least one. */
  protocols: (typeof PROTOCOLS)[number][];
  /** How it is served over iSCSI; null when it is not. */
  iscsi: IscsiState | null;
  /** Absolute path of the local image that the volume shadows; absent for everything else. */
  imagePath?: string;
  /** The token that the throw-away clone is created with, which is served in place of what is named above; null: none. */
  scratchToken: string | null;
  /** That clone, once it is known to be there. */
  scratchVolumeId: string | null;
  /** The account that what is written is of, 12 digits. */
  accountId: string;
  /** RFC 3339, UTC. */
  attachedAt: string;
  /** A snapshot is being restored to a local image, which is what is served, or shadowed by the volume; absent otherwise. */
  restore?: RestoreState;
  /** A group of gateways looks after the volume, and decides which of them serves it. Absent: it does not. */
  grouped?: true;
}

/** The secrets of the users of CHAP are in `chap.json`. */
export interface IscsiState {
  /** An iqn, in lower case. It stays the same whatever is renamed. */
  targetName: string;
  /** The user that initiators log in as by CHAP; null: without authentication. */
  chapUser: string | null;
  /** The user that the target proves itself as to initiators that ask for it; null: it does not. */
  chapTargetUser: string | null;
  /** Names of the initiators that may log in, in lower case; empty: any. */
  initiators: string[];
  /** Further users of CHAP, each with secrets of its own. With any, nobody logs in without. Absent: none. */
  chapInitiators?: string[];
}

/** A restore to a local image. */
interface RestoreState {
  restoreId: string;
  /** Absolute path of the image. */
  path: string;
  /** Bytes of the image that are restored in a second, beside what is asked for; null: as fast as it goes. */
  rateBytes: number | null;
  /** Of a restore that is completed: then the image is served as it is, without asking the store. Absent until then. */
  completed?: CompletedRestore;
}

export interface CompletedRestore {
  /** Name of the snapshot, and of the volume that it is of. */
  name: string;
  volumeName: string;
  /** Of the snapshot. */
  sizeBytes: number;
}

/** As activation leaves them. */
export function newServingSettings(): ServingSettings {
  return {
    unixSocket: null,
    tcp: [],
    tls: 'off',
    tlsCertificate: null,
    tlsKey: null,
    tlsCa: null,
    tlsPsk: null,
    listExports: true,
    defaultExport: null,
    iscsiListen: [],
    iscsiPortals: [],
    iscsiDiscoveryUser: null,
    cacheBytes: null,
    cacheRamBytes: null,
    bufferBytes: null,
    sealIntervalMs: null,
    readAheadBytes: null,
  };
}

/** What a document's field is held against. */
export type Check = (value: unknown) => boolean;
/** A check for every field of `T`. */
export type Checks<T> = Readonly<Record<keyof T, Check>>;
export const isText: Check = (value) => typeof value === 'string' && value !== '';
export const isTime: Check = (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value));
export const isAccount: Check = (value) => typeof value === 'string' && /^[0-9]{12}$/.test(value);
export const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The name of the first field that is not as `checks` say; '' when it is no object. */
export function findBad(value: unknown, checks: Readonly<Record<string, Check>>): string | undefined {
  if (!isObject(value)) return '';
  return Object.entries(checks).find(([name, isGood]) => !isGood(value[name]))?.[0];
}

const areTexts: Check = (value) => Array.isArray(value) && value.every(isText);
const isFlag: Check = (value) => typeof value === 'boolean';
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
export const orAbsent =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const isProtocol: Check = (value) => PROTOCOLS.some((protocol) => protocol === value);
const isAckClass: Check = (value) => ACK_CLASSES.some((ack) => ack === value);

const SETTINGS_FIELDS: Checks<ServingSettings> = {
  unixSocket: orNull(isText),
  tcp: areTexts,
  tls: (value) => TLS_MODES.some((mode) => mode === value),
  tlsCertificate: orNull(isText),
  tlsKey: orNull(isText),
  tlsCa: orNull(isText),
  tlsPsk: orNull(isText),
  listExports: isFlag,
  defaultExport: orNull(isText),
  iscsiListen: areTexts,
  iscsiPortals: areTexts,
  iscsiDiscoveryUser: orNull(isText),
  cacheBytes: orNull(isCount),
  cacheRamBytes: orNull(isCount),
  bufferBytes: orNull(isCount),
  sealIntervalMs: orNull(isCount),
  readAheadBytes: orNull(isCount),
};

const TIER_FIELDS = { periodMs: (value: unknown) => isCount(value) && value !== 0, forMs: isCount };
const RECOVERY_FIELDS: Checks<RecoveryPolicyState> = {
  allForMs: isCount,
  allMax: isCount,
  tiers: (value) => Array.isArray(value) && value.every((tier) => findBad(tier, TIER_FIELDS) === undefined),
};

const VOLUME_FIELDS: Checks<Required<VolumeSettingsState>> = {
  ack: orAbsent(isAckClass),
  bufferBytes: orAbsent(isCount),
  sealIntervalMs: orAbsent(isCount),
  readAheadBytes: orAbsent(isCount),
  recovery: orAbsent((value) => findBad(value, RECOVERY_FIELDS) === undefined),
};

const COMPLETED_FIELDS: Checks<CompletedRestore> = { name: isText, volumeName: isText, sizeBytes: isCount };

const RESTORE_FIELDS: Checks<Required<RestoreState>> = {
  restoreId: isText,
  path: isText,
  rateBytes: orNull(isCount),
  completed: orAbsent((value) => findBad(value, COMPLETED_FIELDS) === undefined),
};

const ISCSI_FIELDS: Checks<Required<IscsiState>> = {
  targetName: isText,
  chapUser: orNull(isText),
  chapTargetUser: orNull(isText),
  initiators: areTexts,
  chapInitiators: orAbsent(areTexts),
};

/** By which protocols something is served, and to whom. */
export type ServedAs = Pick<AttachmentState, 'protocols' | 'readOnly' | 'iscsi'>;

const SERVED_AS_FIELDS: Checks<ServedAs> = {
  protocols: (value) => Array.isArray(value) && value.length > 0 && value.every(isProtocol),
  readOnly: isFlag,
  iscsi: orNull((value) => findBad(value, ISCSI_FIELDS) === undefined),
};

/** The fields of it that are known; undefined unless each is as it has to be. */
export function servedAsOf(value: unknown): ServedAs | undefined {
  if (findBad(value, SERVED_AS_FIELDS) !== undefined || !hasTarget(value as ServedAs)) return undefined;
  const { protocols, readOnly, iscsi } = value as ServedAs;
  if (iscsi === null) return { protocols, readOnly, iscsi };
  const { targetName, chapUser, chapTargetUser, initiators, chapInitiators } = iscsi;
  const own = chapInitiators === undefined ? {} : { chapInitiators };
  return { protocols, readOnly, iscsi: { targetName, chapUser, chapTargetUser, initiators, ...own } };
}

const hasTarget = ({ protocols, iscsi }: ServedAs): boolean => protocols.includes('iscsi') === (iscsi !== null);

const ATTACHMENT_FIELDS: Checks<Required<AttachmentState>> = {
  ...SERVED_AS_FIELDS,
  exportName: isText,
  imagePath: orAbsent(isText),
  volumeId: orNull(isText),
  snapshotId: orNull(isText),
  recoveryPointSeq: orNull(isCount),
  scratchToken: orNull(isText),
  scratchVolumeId: orNull(isText),
  accountId: isAccount,
  attachedAt: isTime,
  restore: orAbsent((value) => findBad(value, RESTORE_FIELDS) === undefined),
  grouped: orAbsent((value) => value === true),
};

/** Names one thing, and is served once under its name. */
function areAttachments(value: unknown): boolean {
  if (!Array.isArray(value) || value.some((row) => findBad(row, ATTACHMENT_FIELDS) !== undefined)) return false;
  const rows = value as AttachmentState[];
  const namesOne = rows.every((row) => (row.volumeId === null) !== (row.snapshotId === null));
  const isOfVolume = rows.every((row) => row.recoveryPointSeq === null || row.volumeId !== null);
  const isScratch = rows.every((row) => row.scratchVolumeId === null || row.scratchToken !== null);
  const isOfImage = rows.every(
    (row) => row.restore === undefined || row.snapshotId !== null || row.imagePath === row.restore.path,
  );
  const targets = rows.flatMap((row) => row.iscsi?.targetName ?? []);
  const isNamedOnce =
    new Set(rows.map((row) => row.exportName)).size === rows.length && new Set(targets).size === targets.length;
  return namesOne && isOfVolume && isScratch && isOfImage && rows.every(hasTarget) && isNamedOnce;
}

/** The checks of the gateway's fields that this file is about. */
export const SERVING_FIELDS = {
  serving: (value: unknown) => findBad(value, SETTINGS_FIELDS) === undefined,
  volumeSettings: (value: unknown) =>
    isObject(value) && Object.values(value).every((settings) => findBad(settings, VOLUME_FIELDS) === undefined),
  attachments: areAttachments,
} as const;
