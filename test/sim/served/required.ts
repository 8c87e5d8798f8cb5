/** What has to have happened in many runs of a served volume together, as in `../required.ts`. */
import type { Tally } from '../tally.ts';

const EVENTS = [
  'process crashes',
  'power cuts',
  'homes lost',
  'take-overs',
  'acknowledged by one that did not know yet',
  'openings without what was not promised',
  'volume replayed',
  'volume setAside',
  'volume failed',
  'volume trouble',
  'volume recovered',
  'write done',
  'write failed: fenced fenced',
  'flush done',
  'read done',
  'resize done',
  'drain done',
  'snapshot completed',
  'drain and close done',
  'drain and close failed: fenced fenced',
  'close done',
  'open failed: conflict volume-held',
  'gc done',
  'objects removed by gc',
] as const;

const CHECKS = [
  'prefix after: new home',
  'prefix after: process end',
  'prefix after: power cut',
  'prefix after: overtaken',
  'what is told to be in the store continues what is there',
  'a read shows what was acknowledged before, or what was written since',
  'a snapshot shows exactly what was acknowledged before it',
  'another reader of the store reads the same',
] as const;

const POINTS = [
  'log.sync',
  'log.open',
  'log.list',
  'log.aside',
  'cache.write',
  'encode',
  'segment.put',
  'snapshot.put',
];

/** Names of what did not happen. */
export function missingServed(tally: Tally): string[] {
  const events = tally.events();
  const checks = tally.checks();
  const points = tally.points();
  return [
    ...EVENTS.filter((name) => (events.get(name) ?? 0) === 0),
    ...CHECKS.filter((name) => !checks.has(name)),
    ...POINTS.map((name) => `${name}.before`).filter((name) => !points.has(name)),
  ];
}
