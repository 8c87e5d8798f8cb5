/** Snapshots as blocks of 512 KiB. An entrance of its own, since only the service needs it. */
export { BlockReader, type ReadBlock } from './block-reader.ts';
