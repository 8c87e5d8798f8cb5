/**
 * Room `restore` (level 3): an image that can be used while it is restored from a snapshot, by the marks of an implicit tree in
 * the image itself (DESIGN section 8, C23-C25, docs/adr/0014-restore.md). Knows images and block devices; no stores, no volumes.
 */
export { geometryFor } from './geometry.ts';
export { ImageDevice } from './image-device.ts';
export { recogniseImage, type MarkedBy, type MarkedImage } from './recognise.ts';
export { beginImage, Restore } from './restore.ts';
export { RestoringImage } from './restoring-image.ts';
