/** What gc gives to other rooms. An entrance of its own, since few commands need it: see docs/ARCHITECTURE.md, "Loading". */
export { collectGarbage, type GcReport } from './collect.ts';
export { withPinnedSnapshot, withPinnedVolume, type Reading } from './pinned.ts';
export { readPins, withPin } from './pins.ts';
export { previewFree } from './preview.ts';
export { readPurged } from './purged.ts';
export { undeleteUntil } from './purge.ts';
export { rewriteVolume } from './rewrite.ts';
