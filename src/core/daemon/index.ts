/**
 * Room `daemon` (level 8): the composition roots. Here parts become a gateway; nothing below knows how.
 */
export { openInProcess, type InProcessOptions } from './in-process.ts';
