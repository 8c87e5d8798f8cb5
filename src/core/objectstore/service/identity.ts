/** What a gateway proves itself with to the service's data endpoint, and what it takes the service for. */
import type { KeyObject } from 'node:crypto';

export interface StoreIdentity {
  /** PEM: who signs the certificates of the service. */
  readonly ca: string;
  /** PEM: the gateway's certificate, with those between it and the authority if there are any. */
  readonly certificate: string;
  readonly privateKey: KeyObject;
}
