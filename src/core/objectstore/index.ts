/** Room `objectstore` (level 1): the contract, the stores, and the layers that wrap any store. */
export * from './contract.ts';
export { memoryStore } from './memory.ts';
export { directoryStore, type DirectoryStoreOptions } from './directory.ts';
export { freeBytes, sharesFileSystem } from './file-system.ts';
export { openObjectStore, type OpenObjectStoreOptions } from './open.ts';
