/** Snapshots that are written through the API. An entrance of its own, since only the service needs it. */
export { FreshReads } from './fresh-reads.ts';
export { UploadStore, blocksOf, isUpload, type NewUpload, type UploadClaim, type UploadEntry } from './upload-store.ts';
