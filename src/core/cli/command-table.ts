/**
 * The one registry of verbs: how each works without a daemon, and in which issue it arrives. A test
 * compares it with the manifest: every verb of `ISSUES_DONE` is there, and nothing else.
 * Completion reads it too, so it must stay free of imports.
 */

/**
 * `offline`: works without a daemon, at once or in this process. `offline, waits`: works without one
 * and waits until done. `needs daemon`: exit 5 and a hint without one.
 */
export type Availability = 'offline' | 'offline, waits' | 'needs daemon';
/** What a word can name. Accounts are named by id. */
export type NameKind = 'volume' | 'deleted volume' | 'snapshot' | 'account' | 'group';

export interface Verb {
  readonly availability: Availability;
  /** The issue that brings the verb. */
  readonly issue: number;
  /** True for a verb that exists though others of its issue do not yet. */
  readonly isPresent?: boolean;
  /** True for a verb that can't act on a gateway elsewhere (--gateway). */
  readonly isOnTheSpot?: boolean;
  /** What the positional arguments name, in order, for completion; null for what has no names. */
  readonly names?: readonly (NameKind | null)[];
  /** Flags whose value is a name. */
  readonly flagNames?: Readonly<Record<string, NameKind>>;
}

/** Issues whose verbs exist. */
const ISSUES_DONE: readonly number[] = [2, 3, 4, 5];

const offline = (issue: number, ...names: (NameKind | null)[]): Verb => ({ availability: 'offline', issue, names });
const waits = (issue: number, ...names: (NameKind | null)[]): Verb => ({
  availability: 'offline, waits',
  issue,
  names,
});
const daemon = (issue: number, ...names: (NameKind | null)[]): Verb => ({ availability: 'needs daemon', issue, names });

export const COMMAND_TABLE: Readonly<Record<string, Verb>> = {
  activate: { ...offline(2), isOnTheSpot: true },
  deactivate: { ...offline(3), isOnTheSpot: true },
  status: offline(2),
  configure: offline(2),
  doctor: offline(4),
  demo: { ...waits(2), isOnTheSpot: true },

  'gateway run': { ...offline(4), isOnTheSpot: true },
  'gateway start': { ...offline(4), isOnTheSpot: true },
  'gateway stop': offline(4),
  'gateway reload': daemon(4),
  'gateway restart': { ...offline(4), isOnTheSpot: true },
  'gateway show': daemon(4),
  'gateway logs': offline(4),
  'gateway top': daemon(4),

  'volume create': { ...offline(2), flagNames: { 'from-snapshot': 'snapshot' } },
  'volume import': { ...waits(2), flagNames: { into: 'volume' } },
  'volume list': offline(2),
  'volume show': offline(2, 'volume'),
  'volume configure': offline(4, 'volume'),
  'volume attach': daemon(4, 'volume'),
  'volume detach': daemon(4, 'volume'),
  'volume resize': offline(2, 'volume'),
  'volume rename': offline(2, 'volume'),
  'volume delete': offline(2, 'volume'),
  'volume undelete': offline(3, 'deleted volume'),
  'volume map': offline(2, 'volume'),
  'volume verify': waits(2, 'volume'),
  'volume connect': { ...offline(9, 'volume'), isPresent: true, isOnTheSpot: true },

  'snapshot create': waits(2, 'volume'),
  'snapshot list': { ...offline(2), flagNames: { volume: 'volume' } },
  'snapshot show': offline(2, 'snapshot'),
  'snapshot cancel': offline(8, 'snapshot'),
  'snapshot rename': offline(2, 'snapshot'),
  'snapshot diff': offline(2, 'snapshot', 'snapshot'),
  'snapshot restore': waits(5, 'snapshot'),
  'snapshot export': waits(2, 'snapshot', null),
  'snapshot import': waits(2),
  'snapshot share': { ...offline(3, 'snapshot'), flagNames: { with: 'account' } },
  'snapshot unshare': { ...offline(3, 'snapshot'), flagNames: { with: 'account' } },
  'snapshot delete': offline(2, 'snapshot'),
  'snapshot verify': waits(2, 'snapshot'),

  'recovery-point list': offline(4, 'volume'),
  'schedule set': { ...offline(6, 'volume'), isPresent: true },
  'schedule show': { ...offline(6, 'volume'), isPresent: true },
  'schedule remove': { ...offline(6, 'volume'), isPresent: true },
  'bandwidth set': offline(5),
  'bandwidth show': offline(5),
  'bandwidth remove': offline(5),
  'alert set': { ...offline(8), isPresent: true },
  'alert show': { ...offline(8), isPresent: true },
  'alert remove': { ...offline(8), isPresent: true },

  'store check': offline(2),
  'store stats': offline(2, 'volume'),
  'store gc': waits(3),
  'store scrub': waits(3),
  'store copy': { ...waits(6), isPresent: true, isOnTheSpot: true },
  'store rekey': waits(3),

  'group create': { ...offline(9), isPresent: true },
  'group add': { ...offline(9, 'group'), isPresent: true },
  'group remove': { ...offline(9, 'group'), isPresent: true },
  'group assign': { ...offline(9, 'group', 'volume'), isPresent: true },
  'group show': { ...offline(9, 'group'), isPresent: true },
  'group list': { ...offline(9), isPresent: true },
  'group failover': { ...daemon(9, 'volume'), isPresent: true },
  'group delete': { ...offline(9, 'group'), isPresent: true },

  'service run': { ...offline(8), isPresent: true, isOnTheSpot: true },
  'service activate': { ...offline(8), isPresent: true },
  'service account create': offline(3),
  'service account list': offline(3),
  'service account show': { ...offline(8), isPresent: true },
  'service account configure': { ...offline(8), isPresent: true },
  'service key create': { ...offline(8), isPresent: true },
  'service key list': { ...offline(8), isPresent: true },
  'service key revoke': { ...offline(8), isPresent: true },
  'service gateway list': { ...offline(8), isPresent: true },
  'service gateway show': { ...offline(8), isPresent: true },
  'service gateway configure': { ...offline(8), isPresent: true },
  'service gateway shutdown': { ...offline(8), isPresent: true },
};

/** The verbs that exist. */
export const presentVerbs = (): string[] =>
  Object.entries(COMMAND_TABLE)
    .filter(([, verb]) => verb.isPresent === true || ISSUES_DONE.includes(verb.issue))
    .map(([name]) => name);
