/**
 * Looking into objects that others wrote, and showing parts of them: for the service, which takes nothing on a gateway's
 * word. An entrance of its own, since nothing else needs it.
 */
export { BoundedCache } from '../bounded-cache.ts';
export { documentBytes, parseDocument, type ParsedDocument } from '../documents.ts';
export { keys, placeOfKey, type KeyPlace } from '../keys.ts';
export { nodeLoader } from '../map-object.ts';
export { creatorSet, type Creators, type NodePointer } from '../node-codec.ts';
export type { NodeLoader } from '../page-map.ts';
export { parseSegmentTail } from '../segment-parse.ts';
export { readSegmentIndex, SegmentReader } from '../segment-reader.ts';
export type { SegmentIndex } from '../segment-index.ts';
export { isSamePointer, MapCheck, requirePointer, type MapReading, type MapRules } from './map-check.ts';
export { Reach } from './reach.ts';
export { MapView, SegmentView, type ObjectView } from './views.ts';
