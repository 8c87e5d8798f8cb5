/** Room `nbd` (level 2): an NBD server over block devices. It knows nothing of volumes. */
export type {
  ExportDirectory,
  ExportEntry,
  MetaContext,
  OpenedExport,
  OpenRequest,
  StatusExtent,
  Writer,
} from './exports.ts';
export type { TlsMode } from './handshake.ts';
export { NbdServer, type NbdServerOptions } from './server.ts';
export { tlsSetup, type TlsSetup } from './tls.ts';
