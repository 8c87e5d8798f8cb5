/** What copying stores gives to other rooms. An entrance of its own, since one command needs it: docs/ARCHITECTURE.md, "Loading". */
export { compareStores } from './compare.ts';
export { copyStore, type CopyReport } from './copy-store.ts';
export { requireFree } from './mark.ts';
export { openVolumes } from './open-volumes.ts';
