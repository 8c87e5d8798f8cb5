/**
 * Looking into objects that others wrote, and showing parts of them: for the service, which takes nothing on a gateway's
 * word. An entrance of its own, since nothing else needs it.
 */
export { BoundedCache } from '../bounded-cache.ts';
export { documentBytes, parseDocument } from '../documents.ts';
export { keys, placeOfKey, type KeyPlace } from '../keys.ts';
export { nodeLoader } from '../map-object.ts';
export type { NodePointer } from '../node-codec.ts';
export type { NodeLoader } from '../page-map.ts';
export { parseSegmentTail } from '../segment-parse.ts';
export { SegmentReader } from '../segment-reader.ts';
export { isSamePointer, MapCheck, requirePointer, type MapRules } from './map-check.ts';
export { Reach } from './reach.ts';
export { MapView, SegmentView, type ObjectView } from './views.ts';
