/**
 * The operations of the gateway's local API: name, input, result. One handler each in room `control`;
 * the `client` room calls them in process or, when a daemon holds the home, over its socket.
 */
import type * as Doc from './schemas.ts';

/** What a long operation tells while it works. Byte counts only grow, but `totalBytes` may be corrected. */
export interface Progress {
  /** What is being done, a short phrase: `importing golden`. */
  readonly label: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/**
 * How the key of an encrypted store is unlocked. `keyFile` is the text of a key file, not its path: the caller reads it,
 * with the rights that the user has, and has made it (`sgw-key-1:` and 32 random bytes in base64url) when `renew` is asked
 * and it was not there. A text comes without the line feed at its end.
 */
export type KeySecret =
  { readonly keyFile: string } | { readonly passphrase: string } | { readonly recoveryCode: string };

/** Secrets that a call may need. Asked for when needed, never kept, never logged. */
export interface Secrets {
  /** What unlocks the store's key. @throws invalid `key-missing` when nobody can be asked */
  readonly unlock: () => Promise<KeySecret>;
  /** What is to unlock it from now on: for `activate` with `encrypt`, and for `store.rekey`. */
  readonly renew?: () => Promise<KeySecret>;
}

/** What accompanies every call. */
export interface CallContext {
  /** Absent where the caller has none; then an encrypted store stays shut. */
  readonly secrets?: Secrets;
  readonly signal: AbortSignal;
  /** Called often; must be cheap. */
  readonly onProgress: (progress: Progress) => void;
  /** How long to wait for locks, milliseconds. */
  readonly lockTimeoutMs: number;
}

/** A volume or snapshot as the user names it: id, unique id prefix, or name. */
export type Ref = string;
/** When a write is acknowledged: in the write log, also in those of the group's in-sync members, or committed to the object store. */
export type AckClass = 'log' | 'peer' | 'store';
export type Protocol = 'nbd' | 'iscsi';
/** A user of CHAP, and the secret that proves to be it: never logged, and in no result. */
export interface ChapCredentials {
  readonly user: string;
  readonly secret: string;
}
/** Secrets of one initiator, whose name is its user. */
export interface InitiatorChap {
  readonly initiator: string;
  readonly secret: string;
  /** What the target proves itself with to this one, where it asks for that. */
  readonly targetSecret?: string;
}
/** Who may use an export over iSCSI. */
export interface IscsiWishes {
  /** An iqn; by default one is made of the id and the export's name. */
  readonly targetName?: string;
  /** How initiators prove themselves; absent: they need not. */
  readonly chap?: ChapCredentials;
  /** How the target proves itself to them, where they ask for that. */
  readonly chapTarget?: ChapCredentials;
  /** Names of those that may log in; absent: any. */
  readonly initiators?: readonly string[];
}
export type ImageFormat = 'raw' | 'qcow2' | 'vmdk' | 'vhdx' | 'vdi';
export type Tags = Readonly<Record<string, string>>;

/** Idempotency of the verbs that create. `ifNotExists`: an existing one with the same parameters is the result. */
interface CreateOptions {
  readonly ifNotExists?: boolean;
  readonly clientToken?: string;
}

/** Settings of serving that are asked for; null makes one the default again. Lists replace all that they list. */
export type ServingWishes = { [N in keyof Doc.ServingConfiguration]?: Doc.ServingConfiguration[N] } & {
  /** Of `iscsiDiscoveryUser`, and given with it. Never logged, and in no result. */
  iscsiDiscoverySecret?: string;
};

export interface Operations {
  /** Name and mode have defaults: the host's name, and cached. `encrypt` begins a store whose contents are sealed. */
  activate: {
    input: {
      name?: string;
      mode?: Doc.GatewayMode;
      store?: string;
      region?: string;
      ifNotExists?: boolean;
      encrypt?: boolean;
    };
    result: Doc.ActivationDocument;
  };
  /**
   * Activation at a service over the network: `begin` gets a key to show, `await` waits until a customer has claimed the
   * gateway with it, `finish` makes it one. Each goes on from what the home has. `service` may be left out to go on with
   * what was begun; `store`: one of the user's own in place of the service's.
   */
  'activation.begin': {
    input: {
      /** `ca`: certificates (PEM) to believe; `fingerprint`: of the one that the service says it is from. */
      service?: { url: string; ca?: string; fingerprint?: string };
      name?: string;
      mode?: Doc.GatewayMode;
      region?: string;
      store?: string;
      ifNotExists?: boolean;
    };
    result: Doc.RemoteActivationDocument;
  };
  /** `page`: `HOST:PORT` of the local page while it waits; null: none. */
  'activation.await': { input: { page?: string | null }; result: Doc.RemoteActivationDocument };
  /** For the account that the caller has seen, and no other. `encrypt` begins a store of the user's own so. */
  'activation.finish': { input: { accountId: string; encrypt?: boolean }; result: Doc.ActivationDocument };
  /** Gives it up: neither the key nor the gateway that was claimed is of use from now on. */
  'activation.withdraw': { input: Record<string, never>; result: Record<string, never> };
  /** Takes the identity from the home; the store stays as it is. */
  deactivate: { input: Record<string, never>; result: Doc.DeactivationDocument };
  status: { input: Record<string, never>; result: Doc.StatusDocument };
  /** Looks at everything that the gateway stands on. Never fails for what it finds. */
  doctor: { input: Record<string, never>; result: Doc.DoctorDocument };
  /** With no setting given, reads the configuration. `store` names where the gateway's own store was moved to. */
  configure: {
    input: ServingWishes & {
      name?: string;
      mode?: Doc.GatewayMode;
      store?: string;
      /** Where members of its group connect to it, `HOST:PORT`; null: a port of this machine alone. */
      peerListen?: string | null;
      /** Absolute path of a program that is run when a volume was taken over here; null: none. Only on the spot. */
      onTakeover?: string | null;
      /** Whether the service may operate the gateway. Only on the spot: refused when it comes from the service. */
      remoteManagement?: boolean;
    };
    result: Doc.ConfigureDocument;
  };

  /** Limits of the traffic with the store, of all volumes together. Null: none. `schedule` replaces all rules. */
  'bandwidth.set': { input: Partial<Omit<Doc.BandwidthDocument, 'now'>>; result: Doc.BandwidthDocument };
  'bandwidth.show': { input: Record<string, never>; result: Doc.BandwidthDocument };
  'bandwidth.remove': { input: Record<string, never>; result: Doc.BandwidthDocument };

  /**
   * When snapshots of a volume are made, and which of them are kept. What is not given stays as it is; `keep` null: all. `at` is
   * a time of the day, UTC, that runs are counted from, where `everyMs` is of whole days or divides one.
   */
  'schedule.set': {
    input: {
      volume: Ref;
      everyMs?: number;
      at?: string | null;
      keep?: Doc.ScheduleDocument['keep'];
      /** How snapshots are verified; null: not at all. What is not given stays as it is. */
      verify?: { everyMs?: number; share?: number; command?: string | null; timeoutMs?: number } | null;
    };
    result: Doc.ScheduleDocument;
  };
  'schedule.show': { input: { volume?: Ref }; result: Doc.ScheduleList };
  /** The snapshots that it made stay. */
  'schedule.remove': { input: { volume: Ref; ifExists?: boolean }; result: Doc.ScheduleRemoved };

  /** What the daemon serves, and how it does. This and all others of `gateway` need a daemon: without one they fail with `daemon-needed`. */
  'gateway.show': { input: Record<string, never>; result: Doc.GatewayDocument };
  /**
   * Ends the daemon. With `drain` (the default), what is not yet in the store is brought there first, for at most
   * `timeoutMs`; what is left then stays in the write logs. Answers when that is done; the process ends right after.
   */
  'gateway.stop': { input: { drain?: boolean; timeoutMs?: number }; result: Doc.GatewayStopDocument };
  /**
   * The newest `lines` lines of the daemon's log, or those after `after`, which is `next` of an answer before. For who can not
   * read its files.
   */
  'gateway.logs': { input: { lines?: number; after?: number }; result: Doc.GatewayLogsDocument };
  /** The daemon's metrics. */
  'gateway.metrics': { input: Record<string, never>; result: Doc.GatewayMetricsDocument };
  /** Lets the daemon read its configuration again. */
  'gateway.reload': { input: Record<string, never>; result: Doc.GatewayReloadDocument };
  /**
   * Ends what is served, drained as far as the store answers, until it is resumed: also after a restart. What is attached stays
   * attached. The daemon goes on.
   */
  'gateway.suspend': { input: Record<string, never>; result: Doc.GatewayReloadDocument };
  /** Empties the cache, in memory and on the disk. */
  'gateway.reset-cache': { input: Record<string, never>; result: Doc.GatewayReloadDocument };
  'gateway.resume': { input: Record<string, never>; result: Doc.GatewayReloadDocument };

  'volume.create': {
    input: CreateOptions & {
      name: string;
      sizeBytes?: number;
      fromSnapshot?: Ref;
      /** A clone of a volume as it is, or with `recoveryPoint` as it was at that time, RFC 3339. */
      fromVolume?: Ref;
      recoveryPoint?: string;
      tags?: Tags;
    };
    result: Doc.VolumeCreated;
  };
  /** Exactly one of `name` (a new volume) and `into` (commit what changed). */
  'volume.import': {
    input: CreateOptions & {
      file: string;
      name?: string;
      into?: Ref;
      format?: ImageFormat;
      takeOver?: boolean;
      tags?: Tags;
    };
    result: Doc.ImportDocument;
  };
  'volume.list': { input: { deleted?: boolean }; result: Doc.VolumeList };
  'volume.show': { input: { volume: Ref }; result: Doc.VolumeDocument };
  /** Shrinking needs `shrink`: the tail is lost. */
  'volume.resize': { input: { volume: Ref; sizeBytes: number; shrink?: boolean }; result: Doc.VolumeSummary };
  'volume.rename': { input: { volume: Ref; name: string }; result: Doc.VolumeSummary };
  /** With `preview`, deletes nothing and says what it would free. `takeOver`: also when another gateway holds it. */
  'volume.delete': {
    input: { volume: Ref; ifExists?: boolean; preview?: boolean; takeOver?: boolean };
    result: Doc.DeletedDocument;
  };
  /**
   * Serves a volume, or a snapshot read-only. `scratch`: a throw-away clone of the snapshot, deleted when it is detached.
   * `recoveryPoint`: the volume as it was at that time. `takeOver`: also when another gateway holds the volume.
   */
  'volume.attach': {
    input: {
      volume: Ref;
      exportName?: string;
      readOnly?: boolean;
      scratch?: boolean;
      ack?: AckClass;
      takeOver?: boolean;
      recoveryPoint?: string;
      /** In mode shadowing: absolute path of the image that the volume shadows; the volume is created when there is none. */
      image?: string;
      /** Absent: NBD alone. */
      protocols?: readonly Protocol[];
      /** Only with protocol iscsi. */
      iscsi?: IscsiWishes;
      ifNotExists?: boolean;
    };
    result: Doc.VolumeAttached;
  };
  /** `volume` may be the export's name. `drain` (the default): everything acknowledged is in the store first. */
  'volume.detach': {
    input: { volume: Ref; drain?: boolean; force?: boolean; ifExists?: boolean };
    result: Doc.VolumeDetached;
  };
  /**
   * Who may use an export over iSCSI by CHAP, beside the user that it was attached with: `set` gives an initiator secrets,
   * `remove` takes them away. Who is logged in has to log in again. With neither, reads. `volume` may be the export's name.
   */
  'volume.chap': {
    input: { volume: Ref; set?: InitiatorChap; remove?: string };
    result: Doc.AttachmentDocument;
  };
  /** With nothing else given, reads the settings. `reset`: what is not given is as the gateway's settings say again. */
  'volume.configure': {
    input: {
      volume: Ref;
      ack?: AckClass;
      bufferBytes?: number;
      sealIntervalMs?: number;
      readAheadBytes?: number;
      recovery?: Doc.VolumeSettingsDocument['recovery'];
      reset?: boolean;
    };
    result: Doc.VolumeSettingsDocument;
  };
  'volume.undelete': { input: { volume: Ref }; result: Doc.VolumeSummary };
  'volume.map': { input: { volume: Ref }; result: Doc.MapDocument };
  'volume.verify': { input: { volume: Ref }; result: Doc.VerifyDocument };

  /**
   * A new volume `into` of what a write log of this home holds and the store lacks, since another gateway took the volume over:
   * the state that the log continues, and its records. `log` names its folder where there are several. The log stays.
   */
  'volume.recover-log': { input: { volume: Ref; into: string; log?: string }; result: Doc.LogRecoveryDocument };

  /** `recoveryPoint`: of the newest state that is kept and not after this time, RFC 3339. */
  /** States of the volume that can be had again, oldest first. */
  'recovery-point.list': { input: { volume: Ref }; result: Doc.RecoveryPointList };

  'snapshot.create': {
    input: CreateOptions & { volume: Ref; name?: string; description?: string; tags?: Tags; recoveryPoint?: string };
    result: Doc.SnapshotCreated;
  };
  /** With `exportable`, only those that the account may export. */
  'snapshot.list': { input: { volume?: Ref; exportable?: boolean }; result: Doc.SnapshotList };
  'snapshot.show': { input: { snapshot: Ref }; result: Doc.SnapshotDocument };
  'snapshot.rename': { input: { snapshot: Ref; name: string }; result: Doc.SnapshotSummary };
  'snapshot.diff': { input: { from: Ref; to: Ref }; result: Doc.DiffDocument };
  'snapshot.export': {
    input: { snapshot: Ref; path: string; format?: ImageFormat; force?: boolean };
    result: Doc.ExportDocument;
  };
  /**
   * A local image of the snapshot, in place: with `attach` it is served from the start and restored meanwhile, for which a daemon
   * is needed; else it is whole when this answers. `resume` goes on with one that was interrupted: then a snapshot is found by
   * its id also when it was deleted. `force`: over what is in the image, of which a snapshot is taken first, unless `snapshotFirst`
   * is false. `recoveryPoint`: `snapshot` names a volume, and it is
   * the volume as it was at that time.
   */
  'snapshot.restore': {
    input: {
      snapshot: Ref;
      image: string;
      force?: boolean;
      /** Default true. */
      snapshotFirst?: boolean;
      resume?: boolean;
      attach?: boolean;
      exportName?: string;
      /** With `attach`: served over iSCSI instead of NBD, as this target. */
      targetName?: string;
      rateBytes?: number;
      recoveryPoint?: string;
    };
    result: Doc.RestoreDocument;
  };
  /** A new volume and a completed snapshot of it. The volume is named like the snapshot unless `volumeName` is given. */
  'snapshot.import': {
    input: CreateOptions & {
      file: string;
      name: string;
      volumeName?: string;
      format?: ImageFormat;
      description?: string;
      tags?: Tags;
    };
    result: Doc.SnapshotCreated;
  };
  /** With `preview`, deletes nothing and says what it would free. */
  'snapshot.delete': {
    input: { snapshot: Ref; ifExists?: boolean; preview?: boolean };
    result: Doc.DeletedDocument;
  };
  /** Lets an account see, clone and export a snapshot, as far as the caller's own blocks in it go. */
  'snapshot.share': { input: { snapshot: Ref; accountId: string }; result: Doc.SnapshotSharing };
  'snapshot.unshare': { input: { snapshot: Ref; accountId: string }; result: Doc.SnapshotSharing };
  'snapshot.verify': { input: { snapshot: Ref }; result: Doc.VerifyDocument };

  'store.check': { input: { store?: string }; result: Doc.StoreCheckDocument };
  /**
   * Copies a whole store to another place, or goes on with that. `prepare`: copies what is there, and leaves the copy
   * unfinished, for a later call to copy what changed. `allowHeld`: also while gateways have volumes open, as they are in the
   * store at that moment. `verifyOnly`: compares the two instead.
   */
  'store.copy': {
    input: { from: string; to: string; prepare?: boolean; allowHeld?: boolean; verifyOnly?: boolean };
    result: Doc.StoreCopyDocument;
  };
  /** Of the whole store, or of one volume. `prices`: a table of this program in place of the home's own or the provider's. */
  'store.stats': { input: { volume?: Ref; prices?: Doc.PriceTableName }; result: Doc.StoreStatsDocument };
  /** `graceMs`: how long what is found unreachable is kept; with `preview`, nothing is changed. */
  'store.gc': { input: { graceMs?: number; preview?: boolean }; result: Doc.GcDocument };
  /** Reads back everything; `acceptOlder` takes documents that are older than once seen for the newest from now on. */
  'store.scrub': { input: { acceptOlder?: boolean }; result: Doc.ScrubDocument };
  /**
   * Wraps the account's key anew; the secrets come with `CallContext.secrets`. Without `renew` there, only the recovery
   * code is new, and has to be asked for.
   */
  'store.rekey': { input: { recoveryKit?: boolean }; result: Doc.RekeyDocument };

  /** Groups of gateways, of the account. `group` is an id or a name; of `gateway` and `holder` too. */
  'group.create': { input: CreateOptions & { name: string }; result: Doc.GroupCreated };
  'group.list': { input: Record<string, never>; result: Doc.GroupList };
  /** Without `group`: the one that this gateway is in. */
  'group.show': { input: { group?: Ref }; result: Doc.GroupShown };
  /** Only a group that looks after no volume. */
  'group.delete': { input: { group: Ref; ifExists?: boolean }; result: Doc.GroupDeleted };
  'group.add': { input: { group: Ref; gateway: Ref }; result: Doc.GroupChanged };
  'group.remove': { input: { group: Ref; gateway: Ref; ifExists?: boolean }; result: Doc.GroupChanged };
  /**
   * Has the group look after a volume, or changes how: what is not given stays as it is. `replicas` 0: it does not look after it
   * any more. `holder` null: whoever does.
   */
  'group.assign': {
    input: {
      group: Ref;
      volume: Ref;
      holder?: Ref | null;
      replicas?: number;
      whenDegraded?: 'continue' | 'stop';
      ack?: AckClass;
      allowLoss?: boolean;
      exportName?: string;
    };
    result: Doc.GroupChanged;
  };
  /** A planned take-over, by `to` or whoever is the best. Needs a daemon of a member. `acceptLoss`: also where records may be lost. */
  'group.failover': { input: { volume: Ref; to?: Ref; acceptLoss?: boolean }; result: Doc.GroupFailover };

  'service.account.create': {
    input: CreateOptions & { name: string; accountId?: string };
    result: Doc.AccountCreated;
  };
  'service.account.list': { input: Record<string, never>; result: Doc.AccountList };
}

export type OperationName = keyof Operations;
export type Input<N extends OperationName> = Operations[N]['input'];
export type Result<N extends OperationName> = Operations[N]['result'];
export type Handler<N extends OperationName> = (input: Input<N>, context: CallContext) => Promise<Result<N>>;
export type Handlers = { readonly [N in OperationName]: Handler<N> };

/** A gateway as its callers see it, in this process or in a daemon. */
export interface LocalApi extends AsyncDisposable {
  call<N extends OperationName>(name: N, input: Input<N>, context: CallContext): Promise<Result<N>>;
}
