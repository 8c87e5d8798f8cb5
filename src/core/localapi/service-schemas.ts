/** Documents of the verbs that ask a service over the network. */
import Type, { type Static } from 'typebox';
import { Bytes, GatewayMode, Nullable, object, Time } from './schema-parts.ts';

const closed = { additionalProperties: false } as const;

const customer = {
  gatewayId: Type.String(),
  gatewayName: Type.String(),
  accountId: Type.String(),
  mode: GatewayMode,
  region: Type.String(),
};

/** A gateway that was taken to the service. */
export const ServiceActivationDocument = object('service-activation', {
  ...customer,
  /** SHA-256 of the gateway's public key, hex. */
  keyFingerprint: Type.String(),
  /** What the gateway told of itself. */
  metadata: Type.Record(Type.String(), Type.String()),
});

const accessKey = {
  accessKeyId: Type.String(),
  accountId: Type.String(),
  userName: Type.String(),
  createdAt: Time,
  /** Null while the key is good. */
  revokedAt: Nullable(Time),
};

/** `secretAccessKey` is told here and never again. */
export const AccessKeyCreated = object('access-key-created', { ...accessKey, secretAccessKey: Type.String() });
export const AccessKeyList = object('access-key-list', { keys: Type.Array(Type.Object(accessKey, closed)) });
export const AccessKeyRevoked = object('access-key-revoked', { ...accessKey, changed: Type.Boolean() });

const gateway = {
  ...customer,
  state: Type.Union([Type.Literal('active'), Type.Literal('deregistered')]),
  keyFingerprint: Type.String(),
  registeredAt: Time,
  deregisteredAt: Nullable(Time),
  configurationVersion: Type.Integer({ minimum: 1 }),
};

export const ServiceGatewayList = object('service-gateway-list', {
  gateways: Type.Array(Type.Object(gateway, closed)),
});

/** Names are those of `sgw configure`. */
const Settings = Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]));
const Failure = Type.Object({ code: Type.String(), message: Type.String(), hint: Nullable(Type.String()) }, closed);

/** What the service wants of a gateway, what is in force there, and what its operator asks for. */
const Standing = Type.Object(
  {
    version: Type.Integer({ minimum: 1 }),
    /** Of serving; null: the gateway's default. */
    settings: Settings,
    /** What the gateway said last; null while it said nothing. */
    receipt: Nullable(
      Type.Object(
        {
          version: Type.Integer({ minimum: 0 }),
          appliedVersion: Type.Integer({ minimum: 0 }),
          /** Why that version is not in force; null when it is. */
          failure: Nullable(Failure),
          at: Time,
        },
        closed,
      ),
    ),
    request: Nullable(Type.Object({ requestId: Type.String(), requestedAt: Time, settings: Settings }, closed)),
    answer: Nullable(
      Type.Object(
        { requestId: Type.String(), accepted: Type.Boolean(), answeredAt: Time, reason: Nullable(Type.String()) },
        closed,
      ),
    ),
  },
  closed,
);

/** What the service knows of a gateway, and what the gateway itself says now. */
export const ServiceGatewayDocument = object('service-gateway', {
  ...gateway,
  reachable: Type.Boolean(),
  /** Why it can not be reached; null when it can. */
  reason: Nullable(Type.String()),
  /** As `sgw status` there prints it; null when it can not be reached. */
  status: Nullable(Type.Unknown()),
  /** Null of one that was deregistered. */
  configuration: Nullable(Standing),
});

export const ServiceGatewayConfigured = object('service-gateway-configured', {
  ...gateway,
  /** Whether there is another version now. */
  changed: Type.Boolean(),
  /** Names of the settings that are wanted otherwise now. */
  changedSettings: Type.Array(Type.String()),
  configuration: Standing,
  /** Why the gateway has not said anything of the newest version, as far as was waited for; null when it has. */
  undelivered: Nullable(Type.Object({ code: Type.String(), message: Type.String() }, closed)),
});

export const ServiceGatewayShutdown = object('service-gateway-shutdown', {
  gatewayId: Type.String(),
  gatewayName: Type.String(),
  /** Whether it serves nothing from now on, by this call. */
  stopped: Type.Boolean(),
  /** Whether it is the service's no more. */
  deregistered: Type.Boolean(),
  remarks: Type.Array(Type.String()),
});

const Milliseconds = Type.Integer({ minimum: 0 });

/** What is watched; absent: not. */
const Thresholds = Type.Object(
  {
    exposureBytes: Type.Optional(Bytes),
    exposureMs: Type.Optional(Milliseconds),
    timeToFullMs: Type.Optional(Milliseconds),
    notConnectedMs: Type.Optional(Milliseconds),
    restoreProof: Type.Optional(Type.Literal(true)),
  },
  closed,
);

const alert = {
  alertId: Type.String(),
  accountId: Type.String(),
  name: Type.String(),
  /** Null: all gateways of the account. */
  gatewayId: Nullable(Type.String()),
  thresholds: Thresholds,
  webhookUrl: Type.String(),
  repeatMs: Nullable(Milliseconds),
  createdAt: Time,
  firing: Type.Array(
    Type.Object(
      {
        gatewayId: Type.String(),
        threshold: Type.String(),
        /** `resolved`: it has ended, and the webhook has not been told yet. */
        state: Type.Union([Type.Literal('firing'), Type.Literal('resolved')]),
        since: Time,
        value: Nullable(Type.Number({ minimum: 0 })),
        /** Names of volumes. */
        subjects: Type.Array(Type.String()),
        deliveredAt: Nullable(Time),
        failure: Nullable(Type.String()),
      },
      closed,
    ),
  ),
};

export const AlertSet = object('alert-set', {
  ...alert,
  created: Type.Boolean(),
  /** What deliveries are signed with, where this call made it; it is told here and never again. */
  secret: Nullable(Type.String()),
});
export const AlertList = object('alert-list', { alerts: Type.Array(Type.Object(alert, closed)) });
export const AlertRemoved = object('alert-removed', {
  name: Type.String(),
  /** False when `--if-exists` found none. */
  removed: Type.Boolean(),
});

export type AlertSet = Static<typeof AlertSet>;
export type AlertList = Static<typeof AlertList>;
export type AlertRemoved = Static<typeof AlertRemoved>;
export type ServiceActivationDocument = Static<typeof ServiceActivationDocument>;
export type AccessKeyCreated = Static<typeof AccessKeyCreated>;
export type AccessKeyList = Static<typeof AccessKeyList>;
export type AccessKeyRevoked = Static<typeof AccessKeyRevoked>;
export type ServiceGatewayList = Static<typeof ServiceGatewayList>;
export type ServiceGatewayDocument = Static<typeof ServiceGatewayDocument>;
export type ServiceGatewayConfigured = Static<typeof ServiceGatewayConfigured>;
export type ServiceGatewayShutdown = Static<typeof ServiceGatewayShutdown>;
