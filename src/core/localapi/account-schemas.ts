/** The documents of accounts. As in `schemas.ts`, fields are only ever added. */
import Type, { type Static } from 'typebox';
import { Bytes, Nullable, object, Time } from './schema-parts.ts';

const Account = { accountId: Type.String(), name: Type.String(), createdAt: Time };
export const AccountCreated = object('account-created', { ...Account, created: Type.Boolean() });
export const AccountList = object('account-list', {
  accounts: Type.Array(Type.Object(Account, { additionalProperties: false })),
});

const Count = Type.Integer({ minimum: 0 });
const Quotas = {
  ...Account,
  limits: Type.Object(
    {
      volumes: Nullable(Count),
      volumeBytes: Nullable(Bytes),
      snapshots: Nullable(Count),
      gateways: Nullable(Count),
      keys: Nullable(Count),
    },
    { additionalProperties: false },
  ),
  usage: Type.Object(
    { volumes: Count, volumeBytes: Bytes, snapshots: Count, gateways: Count, keys: Count },
    { additionalProperties: false },
  ),
};
export const AccountDocument = object('account', Quotas);
export const AccountConfigured = object('account-configured', {
  ...Quotas,
  /** Names of the limits that are others now. */
  changedLimits: Type.Array(Type.String()),
});

export type AccountDocument = Static<typeof AccountDocument>;
export type AccountConfigured = Static<typeof AccountConfigured>;
export type AccountCreated = Static<typeof AccountCreated>;
export type AccountList = Static<typeof AccountList>;
