/** What has to have happened in many runs together: a simulation in which it did not shows nothing. */
import { FAULT_KINDS } from './fault-plan.ts';
import type { Tally } from './tally.ts';

/** Events that a few dozen seeds bring about. */
const USUAL_EVENTS = [
  'commit done',
  'commit failed: fenced fenced',
  'resize done',
  'checkpoint done',
  'close done',
  'take-overs',
  'open failed: conflict volume-held',
  'unacknowledged commits adopted',
  'snapshot done',
  'snapshot of a recovery point done',
  'clone done',
  'snapshot deletion done',
  'volume deletion done',
  'undelete done',
  'volumes purged',
  'gc done',
  'objects removed by gc',
  'tombstones',
  'segments deleted',
  'map objects deleted',
  'segments rewritten',
  'export done',
  'export of a volume done',
  'sealed stores',
] as const;

/** Rarer ones, that the default run brings about as well. */
const RARE_EVENTS = [
  'acknowledged after being adopted',
  'openings that were fenced before they ended',
  'clones raced with deletion',
  'exports of what was deleted meanwhile',
  'gc failed: unavailable gc-contended',
  'directory stores',
] as const;

const CHECKS = [
  'opening finds what was acknowledged',
  'an acknowledgement counts',
  'a writer reads what it wrote',
  'a view reads as a state of its volume',
  'a snapshot is a consistent state of its volume',
  'a recovery point is a consistent state of its volume',
  'a snapshot reads as it was completed',
  'a snapshot names its creators',
  'new volume reads as its source',
  'an undeleted volume is whole',
  'what is pinned is whole',
  'a head that appears is whole',
  'what is removed is not reachable',
  'what is removed was condemned for the grace period',
  'only documents of what was deleted are removed',
  'a volume is purged only after its time for undelete',
  'in the end a volume reads as what was acknowledged',
  'in the end a snapshot reads as it was completed',
  'in the end a recovery point reads as a state of its volume',
  'in the end an object is needed',
] as const;

/** Failpoints that must have been passed. */
const FAILPOINTS = [
  'segment.put',
  'tombstone.put',
  'map.put',
  'head.put',
  'first-head.put',
  'volume-entry.put',
  'snapshot.put',
  'snapshot-map.put',
  'condemned.put',
  'purged.put',
  'pin.put',
  'pin.delete',
  'map.delete',
  'segment.delete',
  'snapshot.delete',
  'snapshot-map.delete',
  'head.delete',
  'volume-entry.delete',
] as const;

/** Names of what did not happen. */
export function missing(tally: Tally, rare: boolean): string[] {
  const events = tally.events();
  const checks = tally.checks();
  const faults = tally.faults();
  const points = tally.points();
  return [
    ...USUAL_EVENTS.filter((name) => !events.has(name)),
    ...(rare ? RARE_EVENTS.filter((name) => !events.has(name)) : []),
    ...CHECKS.filter((name) => !checks.has(name)),
    ...FAULT_KINDS.filter((kind) => faults[kind] === 0),
    ...FAILPOINTS.map((name) => `${name}.before`).filter((name) => !points.has(name)),
  ];
}

/** Failpoints at which no program ended for ever: told, since the rarest need thousands of seeds. */
export function withoutCrash(tally: Tally): string[] {
  const points = tally.points();
  return FAILPOINTS.filter((name) => !endedAt(points, name));
}

const endedAt = (points: ReadonlyMap<string, number>, name: string): boolean =>
  points.has(`${name}.before!crash`) || points.has(`${name}.after!crash`);
