/** Room `objectstore` (level 1): the contract, the stores, and the layers that wrap any store. */
export * from './contract.ts';
export { directoryStore, type DirectoryStoreOptions } from './directory.ts';
export {
  withFaults,
  type FaultKind,
  type FaultOptions,
  type FaultRule,
  type FaultyStore,
  type InjectedFault,
  type StoreOperation,
} from './fault.ts';
export { freeBytes, sharesFileSystem } from './file-system.ts';
export { memoryStore } from './memory.ts';
export { withMeter, type MeteredStore, type StoreCounters } from './meter.ts';
export { openObjectStore, type OpenObjectStoreOptions } from './open.ts';
export { withRetry, type RetryOptions } from './retry.ts';
export { withThrottle, type Rates, type ThrottleOptions, type ThrottledStore } from './throttle.ts';
