/**
 * Room `image` (level 1): image files on the local disk. Reads raw images and finds their data, serves them in place,
 * writes them sparsely and resumably, tells formats apart, and converts container formats through qemu-img.
 * Knows nothing of volumes or stores.
 */
export { convertFromRaw, convertToRaw, inspectImage } from './conversion.ts';
export type { ConvertOptions, ImageInspection, InspectOptions } from './conversion.ts';
export type { DataExtentOptions, Extent } from './data-extents.ts';
export { deviceIdentity, mayBeSameDevice } from './device-identity.ts';
export { detectImageFormat } from './format.ts';
export type { ImageFormat } from './format.ts';
export { openImageFile } from './image-file.ts';
export type { ImageFacts, ImageFile } from './image-file.ts';
export { openNewImage } from './new-image.ts';
export type { NewImage, NewImageOptions } from './new-image.ts';
export { qemuImgVersion } from './qemu-img.ts';
export type { QemuImgOptions } from './qemu-img.ts';
export { allocatedBytes, openRawImage } from './raw-image.ts';
export type { OpenImageOptions, RawImage } from './raw-image.ts';
export { createSparseOutput } from './sparse-output.ts';
export type { SparseOutput, SparseOutputOptions } from './sparse-output.ts';
export { loadSystemCalls } from './system-calls.ts';
export type { SystemCalls } from './system-calls.ts';
