/** Room `objectstore` (level 1): the contract, the stores, and the layers that wrap any store. */
export * from './contract.ts';
export { checkSpan, resolveSpan } from './arguments.ts';
export { directoryStore } from './directory.ts';
export { withFaults, type FaultRule, type FaultyStore } from './fault.ts';
export { freeBytes, sharesFileSystem } from './file-system.ts';
export { StoreLayer, type DeleteOptions } from './layer.ts';
export { memoryStore } from './memory.ts';
export { STORE_OPERATIONS, withMeter, type StoreOperation, type StoreRequest } from './meter.ts';
export { openObjectStore } from './open.ts';
export type { ServiceIdentity } from './service/identity.ts';
export { isServiceUrl } from './service/place.ts';
export { formatS3Place, isS3Url, parseS3Place } from './s3/place.ts';
export { withRetry, type RetryOptions } from './retry.ts';
export { withThrottle, type Rates } from './throttle.ts';
