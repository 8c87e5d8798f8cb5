/** What a gateway has of a service over the network: a part of its own, loaded by homes that were activated there. */
export { gatewayTls } from './identity.ts';
