/** The configuration of a gateway, and what of it a provider owns. As in `schemas.ts`, fields are only ever added. */
import Type, { type Static } from 'typebox';
import { GatewayMode, Nullable, object, Time } from './schema-parts.ts';
import { ServingConfiguration } from './serving-schemas.ts';

/** Names are those of `sgw configure`. */
const Settings = Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]));

/** What the operator at the gateway asks the provider for. */
const ConfigurationRequest = Type.Object(
  { requestId: Type.String(), requestedAt: Time, settings: Settings },
  { additionalProperties: false },
);

const ConfigurationAnswer = Type.Object(
  {
    requestId: Type.String(),
    accepted: Type.Boolean(),
    answeredAt: Time,
    /** Words of whoever answered; null: none. */
    reason: Nullable(Type.String()),
  },
  { additionalProperties: false },
);

/** Of a gateway that was activated over the network. */
const ProvidedConfiguration = Type.Object(
  {
    /** Where the service is that owns it. */
    service: Type.String(),
    /** Of the service's document; 0 before the first. */
    version: Type.Integer({ minimum: 0 }),
    request: Nullable(ConfigurationRequest),
    answer: Nullable(ConfigurationAnswer),
  },
  { additionalProperties: false },
);

export const ConfigureDocument = object('configuration', {
  name: Type.String(),
  mode: GatewayMode,
  version: Type.Integer({ minimum: 1 }),
  serving: ServingConfiguration,
  /** Whether the service that the gateway was activated at may operate it; absent where that is embedded. */
  remoteManagement: Type.Optional(Type.Boolean()),
  /** Where members of its group connect to it, `HOST:PORT`; null: a port of this machine alone. */
  peerListen: Nullable(Type.String()),
  /** A program that is run when a volume was taken over here; null: none. */
  onTakeover: Nullable(Type.String()),
  changed: Type.Array(Type.String(), { description: 'names of the settings that this call changed' }),
  /** Sentences: what a running daemon does otherwise since. */
  applied: Type.Array(Type.String()),
  /** Absent where the configuration is the operator's own. */
  provider: Type.Optional(ProvidedConfiguration),
  /** Names of the settings that this call asked the provider for; absent as `provider`. */
  requested: Type.Optional(Type.Array(Type.String())),
});

export type ConfigureDocument = Static<typeof ConfigureDocument>;
