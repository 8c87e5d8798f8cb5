/** Documents of the management of a gateway from afar. */
import Type, { type Static } from 'typebox';
import { Nullable, Time } from './schema-parts.ts';

const closed = { additionalProperties: false } as const;

/** How the connection is over which the service manages the gateway. */
export const ControlConnectionDocument = Type.Object(
  {
    /** `waiting`: until it tries again. */
    state: Type.Union([
      Type.Literal('connecting'),
      Type.Literal('connected'),
      Type.Literal('waiting'),
      Type.Literal('closed'),
    ]),
    /** The server that it is connected to, or tries; null before the first try. */
    server: Nullable(Type.String()),
    since: Time,
    /** Whether the service may operate the gateway: `sgw configure --remote-management`. */
    remoteManagement: Type.Boolean(),
    /** Why the last connection ended, or could not be had; null when none ever did. */
    lastFailure: Nullable(Type.Object({ at: Time, code: Type.String(), message: Type.String() }, closed)),
  },
  closed,
);

/** Lines of the daemon's log since its start. */
export const GatewayLogsDocument = Type.Object(
  {
    lines: Type.Array(
      Type.Object(
        {
          time: Nullable(Type.String()),
          level: Type.String(),
          message: Type.String(),
          details: Type.Record(Type.String(), Type.Unknown()),
        },
        closed,
      ),
    ),
    /** What to ask with for the lines after these. */
    next: Type.Integer({ minimum: 0 }),
  },
  closed,
);

/** Metrics in the text format of Prometheus. */
export const GatewayMetricsDocument = Type.Object({ text: Type.String() }, closed);

export type ControlConnectionDocument = Static<typeof ControlConnectionDocument>;
export type GatewayLogsDocument = Static<typeof GatewayLogsDocument>;
export type GatewayMetricsDocument = Static<typeof GatewayMetricsDocument>;
