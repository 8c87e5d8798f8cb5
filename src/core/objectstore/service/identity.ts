import type { ServicePlace } from './place.ts';

/** What a gateway proves itself with to the data endpoint of a service, and whom it takes for the service. PEM. */
export interface ServiceIdentity {
  /** Whom the data endpoint must be from. */
  readonly ca: string;
  /** The gateway's certificate, and those up to the CA. */
  readonly certificate: string;
  readonly privateKey: string;
  /** Further servers of the same service, for when the one that the store names takes no connection. */
  readonly elsewhere?: readonly ServicePlace[];
}
