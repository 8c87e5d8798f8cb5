/**
 * Room `gateway` (level 6): the registry of volumes and snapshots over one home and one store: activation,
 * configuration, references, idempotent creation, locks, imports and exports, store checks.
 */
export { daemonNeeded } from './daemon-needed.ts';
export { RequestTally } from './cost/tally.ts';
export { Gateway } from './gateway.ts';
export { ServiceGroupBook } from './groups/book.ts';
export type { Membership } from './groups/membership.ts';
export type { GatewayParts } from './parts.ts';
export { needsGateway } from './reading/reader-service.ts';
export { StoreReader, type Reads } from './reading/store-reader.ts';
export { notActivated } from './session.ts';
export type { ScheduleEvent } from './schedules/runner.ts';
export type { IscsiTargets } from './serving/iscsi-targets.ts';
export type { ServingParts } from './serving/parts.ts';
export type { ConnectedClient } from './serving/served.ts';
export type { Serving } from './serving/serving.ts';
