/** Front end `dataendpoint`, of the gateways' listener: the store contract over HTTP, for each gateway what is its account's. */
import type { FastifyRequest } from 'fastify';
import type { GatewayPrincipal } from '../identity/principal.ts';
import type { FrontEnd, ServerParts } from '../server/front-end.ts';
import type { OnFenced } from './events.ts';

export interface DataEndpointOptions {
  readonly parts: Pick<ServerParts, 'context' | 'log' | 'exports' | 'audit'>;
  /** Who sent a request, by its certificate. @throws denied, also for a gateway that was deregistered */
  readonly principalOf: (request: FastifyRequest) => Promise<GatewayPrincipal> | GatewayPrincipal;
  readonly onFenced: OnFenced;
}

export declare function dataEndpoint(options: DataEndpointOptions): FrontEnd;
