/**
 * Room `blockstore` (level 2): volumes and snapshots in an object store, format 1 (docs/formats/).
 * Data flows frames -> segments -> log -> map -> checkpoint; reading goes the other way.
 */
export { Catalog, type DamagedEntry } from './catalog.ts';
export { isCorrupt, missing } from './damage.ts';
export { diffViews, type DiffExtent } from './diff.ts';
export { changeDocument, createDocument, readDocument } from './documents.ts';
export type { SnapshotEntry, VolumeEntry } from './entries.ts';
export { collectGarbage, type GcReport } from './gc/collect.ts';
export { withPinnedSnapshot, withPinnedVolume } from './gc/pinned.ts';
export { withPin } from './gc/pins.ts';
export { previewFree } from './gc/preview.ts';
export { undeleteUntil } from './gc/purge.ts';
export { readPurged } from './gc/purged.ts';
export { rewriteVolume } from './gc/rewrite.ts';
export { FramePool } from './frame-pool.ts';
export type { DecodeTask, FrameJob } from './frame-tasks.ts';
export {
  BLOCK_BYTES,
  BLOCK_PAGES,
  LEAF_PAGES,
  PAGE_BYTES,
  PAGE_HASH_BYTES,
  SEGMENT_TARGET_BYTES,
  checkVolumeSize,
  pagesOf,
} from './geometry.ts';
export type { Head } from './head.ts';
export { listSnapshotIds, listVolumeIds } from './listed-ids.ts';
export type { SegmentRef } from './node-codec.ts';
export type { BlockStoreOptions, Holder, Witness } from './options.ts';
export type { LeafView, PageMap, PageRun } from './page-map.ts';
export type { EncodedFrames } from './segment-codec.ts';
export { popcount16, type FrameEntry, type PageExtent, type SegmentIndex } from './segment-index.ts';
export type { SegmentReader } from './segment-reader.ts';
export { checkObject, type ObjectVerdict } from './scrub/check-object.ts';
export { DamageLedger, ExtentList, type DamagedObject, type HurtExtent, type Subject } from './scrub/ledger.ts';
export { objectName } from './scrub/object-name.ts';
export { scrubSnapshot } from './scrub/scrub-snapshot.ts';
export { scrubVolume } from './scrub/scrub-volume.ts';
export { SegmentBook } from './scrub/segment-book.ts';
export type { WalkState } from './scrub/walk-view.ts';
export type { KeyRing } from './sealing/key-ring.ts';
export {
  newKeyFileText,
  parseKeyFile,
  parseRecoveryCode,
  passphraseSecret,
  type SlotSecret,
} from './sealing/secret-text.ts';
export type { FrameOpening } from './sealing/segment-seal.ts';
export { beginStoreKey, rekeyStore, unlockStore } from './sealing/store-keys.ts';
export { createSnapshot } from './snapshots.ts';
export { createStore, readStoreInfo, type StoreInfo } from './store-info.ts';
export { openConsistentView, openSnapshotView, openVolumeView, type VolumeView } from './volume-view.ts';
export { openVolumeWriter, VolumeWriter, type Batch } from './volume-writer.ts';
