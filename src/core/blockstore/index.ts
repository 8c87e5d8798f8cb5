/**
 * Room `blockstore` (level 2): volumes and snapshots in an object store, format 1 (docs/formats/).
 * Data flows frames -> segments -> log -> map -> checkpoint; reading goes the other way.
 */
export { readHead } from './head.ts';
export { Catalog, noSnapshot, readSnapshotOrSession, type DamagedEntry } from './catalog.ts';
export { damaged, isCorrupt, missing } from './damage.ts';
export { diffViews, type DiffExtent } from './diff.ts';
export {
  changeDocument,
  createDocument,
  readDocument,
  replaceDocument,
  type DocumentVersion,
  type Stored,
} from './documents.ts';
export type { ScheduleMark, SnapshotEntry, VolumeEntry } from './entries.ts';
export { FramePool } from './frame-pool.ts';
export { spansOfFrames } from './frame-spans.ts';
export { decodeFrame } from './frame-codec.ts';
export type { DecodeTask, FrameJob, PageInput } from './frame-tasks.ts';
export {
  API_BLOCK_BYTES,
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
export { blake3ShortInto } from './hash.ts';
export { volumeOfKey } from './keys.ts';
export { hashesOfLeaf } from './leaf-hashes.ts';
export { listSnapshotIds, listVolumeIds } from './listed-ids.ts';
export type { SegmentRef } from './node-codec.ts';
export type { BlockStoreOptions, HeadCondition, Holder, InSyncWriter, Witness } from './options.ts';
export type { Checkpoint } from './map-object.ts';
export type { LeafView, PageMap, PagePlace, PageRun } from './page-map.ts';
export type { EncodedFrames } from './segment-codec.ts';
export { popcount16, type FrameEntry, type PageExtent, type RecordSpan, type SegmentIndex } from './segment-index.ts';
export type { SegmentReader } from './segment-reader.ts';
export type { KeyRing } from './sealing/key-ring.ts';
export type { FrameOpening } from './sealing/segment-seal.ts';
export {
  createRestore,
  endRestore,
  forgetImage,
  getRestore,
  isRestoreId,
  listRestores,
  newRestoreId,
  noteFinishing,
  noteKnown,
  noteVolume,
  openRestoreView,
  pruneRestores,
  type RestoreEntry,
} from './restores.ts';
export { completeBarrier, completeSnapshot, createPendingSnapshot, createSnapshot, failSnapshot } from './snapshots.ts';
export { RECENT_SETTLED_MS, RecentReads } from './recent-reads.ts';
export { findPastState, listRecoveryPoints, openRecoveryPoint, type RecoveryTime } from './recovery-points.ts';
export { DEFAULT_RECOVERY_POLICY, keptPoints, type RecoveryPolicy } from './recovery-policy.ts';
export {
  createProviderStore,
  createStore,
  encryptionOf,
  readProviderInfo,
  readStoreInfo,
  refuseUnfinishedCopy,
  type ProviderStoreInfo,
  type StoreInfo,
} from './store-info.ts';
export { isOpenSession } from './upload-entry.ts';
export { openConsistentView, openSnapshotView, openVolumeView, type VolumeView } from './volume-view.ts';
export { openVolumeWriter, VolumeWriter, type Batch } from './volume-writer.ts';
