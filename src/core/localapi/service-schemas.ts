/** Documents of the verbs that ask a service over the network. */
import Type, { type Static } from 'typebox';
import { GatewayMode, Nullable, object, Time } from './schema-parts.ts';

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

/** What the service knows of a gateway, and what the gateway itself says now. */
export const ServiceGatewayDocument = object('service-gateway', {
  ...gateway,
  reachable: Type.Boolean(),
  /** Why it can not be reached; null when it can. */
  reason: Nullable(Type.String()),
  /** As `sgw status` there prints it; null when it can not be reached. */
  status: Nullable(Type.Unknown()),
});

export const ServiceGatewayConfigured = object('service-gateway-configured', { ...gateway, changed: Type.Boolean() });

export const ServiceGatewayShutdown = object('service-gateway-shutdown', {
  gatewayId: Type.String(),
  gatewayName: Type.String(),
  /** Whether its daemon was stopped by this call. */
  stopped: Type.Boolean(),
  /** Whether it is the service's no more. */
  deregistered: Type.Boolean(),
  remarks: Type.Array(Type.String()),
});

export type ServiceActivationDocument = Static<typeof ServiceActivationDocument>;
export type AccessKeyCreated = Static<typeof AccessKeyCreated>;
export type AccessKeyList = Static<typeof AccessKeyList>;
export type AccessKeyRevoked = Static<typeof AccessKeyRevoked>;
export type ServiceGatewayList = Static<typeof ServiceGatewayList>;
export type ServiceGatewayDocument = Static<typeof ServiceGatewayDocument>;
export type ServiceGatewayConfigured = Static<typeof ServiceGatewayConfigured>;
export type ServiceGatewayShutdown = Static<typeof ServiceGatewayShutdown>;
