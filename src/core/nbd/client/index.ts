/** An NBD client: what `volume connect` asks the gateways with. Loaded by nothing else. */
export { NbdClient } from './nbd-client.ts';
export type { Writer } from '../exports.ts';
export type { ExportInfo } from './negotiation.ts';
export type { ClientRequest, WireFailure } from './request.ts';
export type { ClientTls } from './tls.ts';
export { badTls, pskLines, pskOf, type PreSharedKey } from '../psk.ts';
export { CMD, CMD_FLAG, ERRNO, TRANSMISSION } from '../wire.ts';
