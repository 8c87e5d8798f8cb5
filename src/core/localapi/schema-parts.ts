/** What the schemas of documents are made of. */
import Type, { type Static } from 'typebox';

export const Time = Type.String({ format: 'date-time', description: 'RFC 3339, UTC' });
export const Bytes = Type.Integer({ minimum: 0, description: 'bytes' });
export const Nullable = <T extends Type.TSchema>(schema: T): Type.TUnion<[T, Type.TNull]> =>
  Type.Union([schema, Type.Null()]);
export const Tags = Type.Record(Type.String(), Type.String());
export const object = <P extends Type.TProperties>(id: string, properties: P): Type.TObject<P> =>
  Type.Object(properties, { $id: id, additionalProperties: false });

/** Of checkpoints: all that are not older than `allForMs`, the newest `allMax` of them; then one of each period of a tier. */
export const RecoveryPolicy = Type.Object(
  {
    allForMs: Type.Integer({ minimum: 0 }),
    allMax: Type.Integer({ minimum: 0 }),
    tiers: Type.Array(
      Type.Object(
        { periodMs: Type.Integer({ minimum: 1 }), forMs: Type.Integer({ minimum: 0 }) },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);

export const GatewayMode = Type.Union([Type.Literal('cached'), Type.Literal('shadowing')]);
export type GatewayMode = Static<typeof GatewayMode>;
