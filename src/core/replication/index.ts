/** Room `replication` (level 5): records in the logs of other gateways of a group, leases, and take-overs. */
export * from './contract.ts';
export { openReplication } from './engine.ts';
export { systemLeaseClock } from './lease-clock.ts';
export type { PeerNetwork } from './messages.ts';
export { TlsPeerNetwork } from './peer/network.ts';
