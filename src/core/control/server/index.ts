/** The local API served over HTTP: a part of its own, since only a daemon loads an HTTP server. */
export { LocalServer, serveMetrics } from './server.ts';
