/** Documents of activation at a service over the network. */
import Type, { type Static } from 'typebox';
import { ControlConnectionDocument } from './remote-schemas.ts';
import { GatewayMode, Nullable, object, Time } from './schema-parts.ts';

const closed = { additionalProperties: false } as const;

/** Of `status`: the service that the gateway was activated at over the network. */
export const GatewayServiceDocument = Type.Object(
  {
    url: Type.String(),
    /** Where gateways reach it. */
    gatewayUrl: Type.String(),
    serviceId: Type.String(),
    /** Until when the gateway's certificate is good; null when it has none. It is renewed before. */
    certificateEndsAt: Nullable(Time),
    /** The connection over which the service manages the gateway; absent while no daemon runs. */
    connection: Type.Optional(ControlConnectionDocument),
  },
  closed,
);

export const PendingActivationDocument = Type.Object(
  { service: Type.String(), state: Type.String(), expiresAt: Nullable(Time) },
  closed,
);

/** How far an activation over the network is. */
export const RemoteActivationDocument = object('activation-pending', {
  /** `shown`: the key can be claimed; `expired`: another key is needed; `claimed`: a customer has; `activated`: the home is a gateway. */
  state: Type.Union([
    Type.Literal('shown'),
    Type.Literal('expired'),
    Type.Literal('claimed'),
    Type.Literal('activated'),
  ]),
  service: Type.String(),
  activationKey: Nullable(Type.String()),
  expiresAt: Nullable(Time),
  /** The service's page for the key. */
  claimUrl: Nullable(Type.String()),
  /** SHA-256 of the gateway's public key, hex. */
  keyFingerprint: Type.String(),
  metadata: Type.Record(Type.String(), Type.String()),
  claimedBy: Nullable(
    Type.Object(
      {
        gatewayId: Type.String(),
        name: Type.String(),
        accountId: Type.String(),
        mode: GatewayMode,
        region: Type.String(),
      },
      closed,
    ),
  ),
});

export type RemoteActivationDocument = Static<typeof RemoteActivationDocument>;
