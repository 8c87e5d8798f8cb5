/** The size of the soak's disks, and which of its verbs this build has. */
import { readFileSync } from 'node:fs';
import { KILLED_VERBS, type Limits, type Verb } from './actions.ts';

/** Half a second for most commands, and several segments for a disk that is full. */
export const LIMITS: Limits = { pages: 6144, volumesMax: 7, deletedMax: 4, snapshotsMax: 5 };

const COMMANDS: Readonly<Partial<Record<Verb, string>>> = { gc: 'store:gc', 'volume undelete': 'volume:undelete' };

/** The verbs whose commands are in the built manifest. */
export function presentVerbs(): ReadonlySet<Verb> {
  const manifest = JSON.parse(readFileSync(new URL('../../oclif.manifest.json', import.meta.url), 'utf8')) as {
    readonly commands: Readonly<Record<string, unknown>>;
  };
  const isThere = (verb: Verb): boolean =>
    (COMMANDS[verb] ?? '') === '' || (COMMANDS[verb] as string) in manifest.commands;
  return new Set<Verb>([...KILLED_VERBS.filter(isThere), 'snapshot verify']);
}
