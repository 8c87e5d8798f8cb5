/** Words about a service over the network. What works is tried in service-verbs.test.ts, with a service. */
import * as schemas from '../../src/core/localapi/schemas.ts';
import type { Bad, Good } from './verb-cases.ts';

type BadCase = (why: string, words: readonly string[], code: string, exitCode?: number) => Bad;

const KEY = '0F2KD-9XQ4T-JT3RM-N1SVB-7WZ5C';
const NOWHERE = ['--service', 'https://127.0.0.1:1', '--access-key-id', 'AKIAABCDEFGHIJKLMNOP'];

/** What every verb refuses that asks a service. */
const unasked = (bad: BadCase, ...words: string[]): Bad[] => [
  bad('no service', words, 'service-missing'),
  bad('a service by http', [...words, '--service', 'http://127.0.0.1:1'], 'bad-service-url'),
  bad('a service with a path', [...words, '--service', 'https://127.0.0.1:1/x'], 'bad-service-url'),
  bad('no access key', [...words, '--service', 'https://127.0.0.1:1'], 'access-key-missing'),
  bad('an access key without its secret', [...words, ...NOWHERE], 'access-key-missing'),
];

const HOOK = 'https://hooks.example.com/sgw';

/** As `unasked`: without a service there is nobody who watches. */
const unwatched = (bad: BadCase, ...words: string[]): Bad[] => [
  ...unasked(bad, ...words).slice(1),
  bad('no service', words, 'alerts-need-service', 10),
];

export const serviceCases = (bad: BadCase): Record<string, { good: Good[]; bad: Bad[] }> => ({
  'service activate': {
    good: [],
    bad: [
      bad('no key', [], 'missing-argument'),
      bad('a name with a blank', [KEY, '--name', 'my lab'], 'bad-name'),
      bad('a mode that is none', [KEY, '--mode', 'weird'], 'bad-choice'),
      ...unasked(bad, KEY),
    ],
  },
  'service account show': {
    good: [],
    bad: [bad('a surplus argument', ['a', 'b'], 'unexpected-argument'), ...unasked(bad)],
  },
  'service account configure': {
    good: [],
    bad: [
      bad('no account', [], 'missing-argument'),
      bad('nothing to change', ['a'], 'none-of'),
      bad('a number that is none', ['a', '--max-volumes', 'many'], 'bad-limit'),
      bad('a number below zero', ['a', '--max-keys=-1'], 'bad-limit'),
      bad('a size that is none', ['a', '--max-volume-bytes', 'much'], 'bad-size'),
      ...unasked(bad, 'a', '--max-gateways', 'none'),
    ],
  },
  'service key create': {
    good: [],
    bad: [
      bad('no user', [], 'missing-argument'),
      bad('a name with a blank', ['a b'], 'bad-name'),
      ...unasked(bad, 'u'),
    ],
  },
  'service key list': {
    good: [],
    bad: [bad('a surplus argument', ['x'], 'unexpected-argument'), ...unasked(bad)],
  },
  'service key revoke': {
    good: [],
    bad: [
      bad('no key', [], 'missing-argument'),
      bad('no confirmation', ['AKIAABCDEFGHIJKLMNOP'], 'confirmation-needed'),
      ...unasked(bad, 'AKIAABCDEFGHIJKLMNOP', '--yes'),
    ],
  },
  'service gateway list': {
    good: [],
    bad: [bad('a surplus argument', ['x'], 'unexpected-argument'), ...unasked(bad)],
  },
  'service gateway show': {
    good: [],
    bad: [bad('no gateway', [], 'missing-argument'), ...unasked(bad, 'sgw-01234567')],
  },
  'service gateway configure': {
    good: [],
    bad: [
      bad('no gateway', [], 'missing-argument'),
      bad('nothing to change', ['lab'], 'none-of'),
      bad('a name with a blank', ['lab', '--name', 'a b'], 'bad-name'),
      bad('a size that is none', ['lab', '--cache', 'much'], 'bad-size'),
      bad('both answers', ['lab', '--accept', '--refuse'], 'usage'),
      ...unasked(bad, 'lab', '--name', 'other'),
    ],
  },
  'service gateway shutdown': {
    good: [],
    bad: [
      bad('no gateway', [], 'missing-argument'),
      bad('no confirmation', ['lab'], 'confirmation-needed'),
      bad('a timeout that is none', ['lab', '--deregister', '--yes', '--timeout', 'soon'], 'bad-duration'),
      bad('a timeout of what stays', ['lab', '--yes', '--timeout', '5s'], 'usage'),
      bad('both ways', ['lab', '--deregister', '--resume', '--yes'], 'usage'),
      ...unasked(bad, 'lab', '--yes'),
    ],
  },
  'alert set': {
    good: [],
    bad: [
      bad('no name', ['--webhook', HOOK, '--not-connected', '5m'], 'missing-argument'),
      bad('a name with a blank', ['my alert', '--webhook', HOOK, '--not-connected', '5m'], 'bad-name'),
      bad('no webhook', ['gone', '--not-connected', '5m'], 'missing-flag'),
      bad('no threshold', ['gone', '--webhook', HOOK], 'none-of'),
      bad('a time that is none', ['gone', '--webhook', HOOK, '--not-connected', 'soon'], 'bad-duration'),
      bad('a size that is none', ['gone', '--webhook', HOOK, '--exposure', 'much'], 'bad-size'),
      ...unwatched(bad, 'gone', '--webhook', HOOK, '--restore-proof'),
    ],
  },
  'alert show': {
    good: [],
    bad: [bad('a surplus argument', ['gone', 'x'], 'unexpected-argument'), ...unwatched(bad)],
  },
  'alert remove': {
    good: [],
    bad: [bad('no name', [], 'missing-argument'), ...unwatched(bad, 'gone')],
  },
});

/** Of `activate`, at a service. */
export const remoteActivationCases: readonly Good[] = [
  {
    words: ['--service', 'https://sgw.example:8443', '--name', 'lab', '--no-wait'],
    schema: schemas.RemoteActivationDocument,
    input: { name: 'lab', ifNotExists: false, service: { url: 'https://sgw.example:8443' } },
    shows: KEY,
    activated: false,
  },
  {
    words: ['--service', 'https://sgw.example:8443', '--if-not-exists'],
    schema: schemas.ActivationDocument,
    input: { ifNotExists: true, service: { url: 'https://sgw.example:8443' } },
    shows: 'sgw-01234567',
  },
];
