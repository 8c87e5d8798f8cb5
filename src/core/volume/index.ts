/** Room `volume` (level 4): a cached volume over write log, cache and block store. */
export { openCachedVolume } from './cached-volume.ts';
export {
  ACK_CLASSES,
  type AckClass,
  type BarrierPosition,
  type ServedSnapshot,
  type ServedState,
  type ServedVolume,
  type VolumeSettings,
  type VolumeStats,
} from './contract.ts';
export { openViewDevice, type ViewDevice, type ViewDeviceParts } from './view-device.ts';
export type { CachedVolumeParts, VolumeEvent } from './opening.ts';
