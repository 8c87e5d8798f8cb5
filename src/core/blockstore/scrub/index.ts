/** What scrub gives to other rooms. An entrance of its own, since few commands need it: see docs/ARCHITECTURE.md, "Loading". */
export { checkObject, type ObjectVerdict } from './check-object.ts';
export { DamageLedger, ExtentList, type DamagedObject, type HurtExtent, type Subject } from './ledger.ts';
export { objectName } from './object-name.ts';
export { scrubSnapshot } from './scrub-snapshot.ts';
export { scrubVolume } from './scrub-volume.ts';
export { SegmentBook } from './segment-book.ts';
export type { WalkState } from './walk-view.ts';
