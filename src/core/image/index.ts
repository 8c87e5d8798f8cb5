/**
 * Room `image` (level 1): image files on the local disk. Reads raw images and finds their data, writes raw
 * images sparsely and resumably, tells formats apart, and converts container formats through qemu-img.
 * Knows nothing of volumes or stores.
 */
export { convertFromRaw, convertToRaw, inspectImage } from './conversion.ts';
export type { ConvertOptions, ImageInspection, InspectOptions } from './conversion.ts';
export type { DataExtentOptions, Extent } from './data-extents.ts';
export { detectImageFormat } from './format.ts';
export type { ImageFormat } from './format.ts';
export { qemuImgVersion } from './qemu-img.ts';
export type { QemuImgOptions } from './qemu-img.ts';
export { allocatedBytes, openRawImage } from './raw-image.ts';
export type { OpenImageOptions, RawImage } from './raw-image.ts';
export { createSparseOutput } from './sparse-output.ts';
export type { SparseOutput, SparseOutputOptions } from './sparse-output.ts';
export { loadSystemCalls } from './system-calls.ts';
export type { SystemCalls } from './system-calls.ts';
