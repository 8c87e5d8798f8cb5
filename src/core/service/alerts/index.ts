/** The watch over gateways: a part of its own, since only a server of the service loads it. */
export { AlertWatch } from './watch.ts';
