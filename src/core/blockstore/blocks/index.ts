/** Snapshots as blocks of 512 KiB. An entrance of its own, since only the service needs it. */
export { BlockReader } from './block-reader.ts';
