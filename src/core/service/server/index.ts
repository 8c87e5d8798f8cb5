/** The service on the network: a part of its own, since an embedded service loads no HTTP server and no certificates. */
export { SERVICE_KEY_BYTES, ServiceKey } from '../identity/service-key.ts';
export type { FrontEnd, ServerParts } from './front-end.ts';
export type { TlsSettings } from './listener.ts';
export { authorityPage, customerMessages, gatewayMessages } from './messages-front-end.ts';
export { ServerMetrics, type ListenerName } from './metrics.ts';
export { openNetworkService, type NetworkService } from './network-service.ts';
export { NetworkMessages } from './principal-messages.ts';
export { ServiceServer, type Place } from './service-server.ts';
