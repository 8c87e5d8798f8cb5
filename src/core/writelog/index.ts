/** Room `writelog` (level 3): the durable sequence of what a volume acknowledged and the object store does not have yet. */
export * from './contract.ts';
export { directoryDisk } from './directory-disk.ts';
export { findLog, type FindOptions } from './find.ts';
export { LOG_FILE_BYTES, logFileBytes, openLog, type OpenLogOptions } from './open.ts';
