/** Room `client` (level 2): the caller's side of the gateway's local API. */
export * from './gateway-client.ts';
export { daemonFirst } from './open-gateway.ts';
export { runningGateway, type RunningGateway } from './running.ts';
