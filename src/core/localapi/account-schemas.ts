/** The documents of accounts. As in `schemas.ts`, fields are only ever added. */
import Type, { type Static } from 'typebox';
import { object, Time } from './schema-parts.ts';

const Account = { accountId: Type.String(), name: Type.String(), createdAt: Time };
export const AccountCreated = object('account-created', { ...Account, created: Type.Boolean() });
export const AccountList = object('account-list', {
  accounts: Type.Array(Type.Object(Account, { additionalProperties: false })),
});

export type AccountCreated = Static<typeof AccountCreated>;
export type AccountList = Static<typeof AccountList>;
