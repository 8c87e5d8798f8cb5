/** The document of `store copy`. */
import Type, { type Static } from 'typebox';
import { Bytes, object, Time } from './schema-parts.ts';

export const StoreCopyDocument = object('store-copy', {
  from: Type.String(),
  to: Type.String(),
  storeId: Type.String(),
  /** `finished`: it is a store; `unfinished`: a later call goes on; `compared`: nothing was changed. */
  state: Type.Union([Type.Literal('finished'), Type.Literal('unfinished'), Type.Literal('compared')]),
  /** The copy has what had been committed to the store by then. */
  asOf: Time,
  /** Whether an earlier call had begun. */
  resumed: Type.Boolean(),
  /** In the copy. */
  objects: Type.Integer({ minimum: 0 }),
  bytes: Bytes,
  /** Written by this call. */
  copiedObjects: Type.Integer({ minimum: 0 }),
  copiedBytes: Bytes,
  /** Of an earlier call, and not in the store any more. */
  removedObjects: Type.Integer({ minimum: 0 }),
  /** What is damaged in the store, and so in the copy; when compared, also what differs. */
  damage: Type.Array(Type.Object({ key: Type.String(), message: Type.String() }, { additionalProperties: false })),
  remarks: Type.Array(Type.String()),
  durationMs: Type.Integer({ minimum: 0 }),
});

export type StoreCopyDocument = Static<typeof StoreCopyDocument>;
