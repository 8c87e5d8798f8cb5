/** Where a log ends that is not open, as a replica tells of it (docs/adr/0025-groups.md, rule 8). */
import { assert } from '../kit/index.ts';
import type { FoundLog, FoundPosition, LogDisk } from './contract.ts';
import { UNKNOWN_BOOT, type KeptIncarnation } from './format.ts';
import { FoundState } from './found.ts';

/**
 * Whether nothing that the log had when `newest` wrote to it is missing: the machine was not started again since, or the log was
 * closed in order. What the store has beyond its end was lost here.
 */
export function isFoundWhole(found: FoundState, newest: KeptIncarnation, disk: LogDisk): boolean {
  const isSameBoot = newest.bootId === disk.bootId && disk.bootId !== UNKNOWN_BOOT;
  return (found.isClosed || isSameBoot) && found.uploadedSequence <= found.lastSequence && !found.isDoubtful;
}

/** Of what `findLog` found in `disk`; null for a log that was never begun. */
export function positionFound(found: FoundLog, disk: LogDisk): FoundPosition | null {
  assert(found instanceof FoundState, 'the log was found by findLog');
  const newest = found.incarnations.find(({ incarnation }) => incarnation === found.lastIncarnation);
  if (found.chain.length === 0 || newest === undefined) return null;
  const [first] = found.chain;
  return {
    incarnation: newest.incarnation,
    epoch: newest.epoch,
    firstSequence: first?.firstSequence ?? found.lastSequence + 1,
    received: Math.max(found.lastSequence, found.uploadedSequence),
    synced: found.flushedSequence,
    isWhole: found.damage === null && isFoundWhole(found, newest, disk),
  };
}
