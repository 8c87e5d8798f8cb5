/**
 * Room `daemon` (level 8): the composition roots. Here parts become a gateway; nothing below knows how.
 */
export { openInProcess } from './in-process.ts';
