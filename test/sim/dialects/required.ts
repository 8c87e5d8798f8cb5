/** What has to have happened in many runs over a dialect together, so that it was tried at all. */
import type { Tally } from '../tally.ts';

const EVENTS: Readonly<Record<string, readonly string[]>> = {
  aws: ['raced: conflict', 'answered 409', 'answered 412'],
  rgw: ['raced: internal', 'answered 412', 'removed without a condition'],
  lossy: ['answered 409', 'answered 412', 'told by its name'],
  nameless: ['answered 412', 'refused, maybe by itself'],
  copying: ['copies that took effect', 'copies that were refused'],
  late: ['took effect late'],
};

/** Names of what did not happen. */
export function missingOver(dialect: string, tally: Tally): string[] {
  const events = tally.events();
  return (EVENTS[dialect] ?? []).filter((name) => !events.has(name));
}
