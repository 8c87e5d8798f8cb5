/**
 * Room `service` (level 6): the provider's side. Identity, activation, export control and audit, over a store that holds
 * all their state; `control` and the network come to it through room `protocol`'s transport.
 */
export { openService } from './service.ts';
