/** Room `localapi` (level 1): the gateway's local API as a contract. */
export * from './accounts.ts';
export * from './operations.ts';
export type * from './schemas.ts';
export * from './wire.ts';
