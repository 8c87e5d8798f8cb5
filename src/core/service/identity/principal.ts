/** Who sent a request, once that is proved: an access key's user by SigV4, a gateway by its certificate or its signature. */

/** A user of an account, by the access key that signed. */
export interface User {
  readonly kind: 'user';
  /** 12 digits. */
  readonly accountId: string;
  readonly accessKeyId: string;
  /** Of the account that runs the service: may administer accounts, keys and gateways, but takes no data of others out. */
  readonly isRoot: boolean;
}

export interface GatewayPrincipal {
  readonly kind: 'gateway';
  readonly gatewayId: string;
  readonly accountId: string;
}

export type Principal = User | GatewayPrincipal;
