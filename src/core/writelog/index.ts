/** Room `writelog` (level 3): the durable sequence of what a volume acknowledged and the object store does not have yet. */
export * from './contract.ts';
export { directoryDisk } from './directory-disk.ts';
export { findLog } from './find.ts';
export { openLog } from './open.ts';
export { openReplicaLog } from './replica-log.ts';
export { positionFound } from './position-found.ts';
