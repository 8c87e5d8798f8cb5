/** Room `state` (level 1): the document of a home, and the locks between processes that share it. */
export {
  emptyState,
  type GatewayCredential,
  type GatewayState,
  type PendingActivation,
  type RemoteServiceState,
  type StateDocument,
} from './document.ts';
export { acquireLock, lockHolder, type LockRequest } from './lock.ts';
export type { LockOwner } from './lock-owner.ts';
export {
  announceGateway,
  GATEWAY_LOCK,
  lastGateway,
  runningGateway,
  withdrawGateway,
  type GatewayRecord,
  type RunningGateway,
} from './running.ts';
export {
  newServingSettings,
  servedAsOf,
  type AttachmentState,
  type CompletedRestore,
  type IscsiState,
  type RecoveryPolicyState,
  type ServedAs,
  type ServingSettings,
  type VolumeSettingsState,
} from './serving.ts';
export type { BandwidthLimits, BandwidthRule, BandwidthState } from './bandwidth.ts';
export type { ProvidedState } from './provided.ts';
export type {
  RetentionRule,
  RetentionUnit,
  ScheduleFailure,
  ScheduleState,
  VerificationState,
  VerifyingState,
} from './schedules.ts';
export { openState, updateState } from './state.ts';
export { makeFolder, syncFolder } from './home-folder.ts';
