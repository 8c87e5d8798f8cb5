/** Snapshots that are written through the API. An entrance of its own, since only the service needs it. */
export { isUpload, type UploadEntry } from '../upload-entry.ts';
export { idOfSession, UploadStore, type NewUpload, type SealedAs, type UploadClaim } from './upload-store.ts';
