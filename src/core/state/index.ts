/** Room `state` (level 1): the document of a home, and the locks between processes that share it. */
export { GATEWAY_MODES, SCHEMA_VERSION, emptyState, type GatewayState, type StateDocument } from './document.ts';
export { LOCK_TIMEOUT_DEFAULT_MS, acquireLock, lockHolder, type Lock, type LockRequest } from './lock.ts';
export type { LockOwner } from './lock-owner.ts';
export { STATE_FILE_NAME, openState, updateState, type UpdateStateOptions } from './state.ts';
