/**
 * Room `transfer` (level 3): moves whole volumes between image files and the block store, in bulk, through the
 * worker threads: import, export, verification.
 */
export { exportView } from './export-view.ts';
export type { ExportReport } from './export-view.ts';
export { importImage } from './import-image.ts';
export type { ImportReport } from './import-image.ts';
export { scrubStore } from './scrub-store.ts';
export { verifyView, type VerifyReport, type ViewDamage } from './verify-view.ts';
