/** Room `volume` (level 4): cached volumes, and shadowing ones, over write log, cache, image and block store. */
export { openCachedVolume } from './cached-volume.ts';
export { gatedVolume, type GatedVolume } from './gated.ts';
export { MODELLED_INTERVALS_MS } from './commit-model.ts';
export {
  type ServedSnapshot,
  type ServedState,
  type ServedVolume,
  type VolumeSettings,
  type VolumeStats,
} from './contract.ts';
export { readLogContents, replayLogInto, type LogContents } from './log-replay.ts';
export { openViewDevice } from './view-device.ts';
export { ackNeedsGroup } from './members.ts';
export type { VolumeEvent } from './opening.ts';
export type { ShadowImage } from './shadow/contract.ts';
export { directoryShadowDisk, MARKS_FILE } from './shadow/directory-disk.ts';
export { noteSame } from './shadow/opening.ts';
export { openShadowVolume } from './shadow/shadow-volume.ts';
