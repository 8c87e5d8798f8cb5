/** Room `control` (level 7): the handlers of the local API over a gateway, callable without any transport. */
export { createHandlers, createReadHandlers } from './handlers.ts';
export type { GatewayProcess } from './process.ts';
