/** What objects of a store are, by their keys (docs/formats/README.md). */

/** In the order of showing. */
const KINDS: readonly (readonly [kind: string, pattern: RegExp])[] = [
  ['segments', /^volumes\/[^/]+\/log(?:\/|$)/],
  ['volume maps', /^volumes\/[^/]+\/map(?:\/|$)/],
  ['volume documents', /^volumes\//],
  ['snapshot maps', /^snapshots\/[^/]+\/map/],
  ['snapshot documents', /^snapshots\//],
  ['restores', /^restores\//],
  ['pins', /^pins\//],
  ['gc documents', /^gc\//],
  ['uploads', /^uploads\//],
  ['keys', /^keys\//],
  ['service documents', /^service\//],
  ['store description', /^sgw\.json$/],
];
const OTHER = 'other';

export const KIND_NAMES: readonly string[] = [...KINDS.map(([kind]) => kind), OTHER];

/** Of a key, or of what the keys of a list begin with. */
export const kindOf = (key: string): string => KINDS.find(([, pattern]) => pattern.test(key))?.[0] ?? OTHER;
