/** Words about copying a store. */
import * as schemas from '../../src/core/localapi/schemas.ts';
import type { Bad, Good } from './verb-cases.ts';

const NEITHER = { prepare: false, verifyOnly: false, allowHeld: false };
const document = (state: string): Pick<Good, 'schema' | 'shows'> => ({
  schema: schemas.StoreCopyDocument,
  shows: state,
});

export const storeCopyCases = (
  bad: (why: string, words: readonly string[], code: string, exitCode?: number) => Bad,
): Record<string, { good: Good[]; bad: Bad[] }> => ({
  'store copy': {
    good: [
      {
        words: [
          '/srv/a',
          's3://b/lab',
          '--to-endpoint',
          'http://127.0.0.1:9000',
          '--to-region',
          'x',
          '--to-path-style',
        ],
        input: {
          ...NEITHER,
          from: '/srv/a',
          to: 's3://b/lab?endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=x&path-style=true',
        },
        ...document('finished'),
      },
      {
        words: ['/srv/held', '/srv/b', '--prepare'],
        input: { ...NEITHER, from: '/srv/held', to: '/srv/b', prepare: true },
        ...document('not finished'),
      },
      {
        words: ['/srv/held', '/srv/b', '--yes'],
        input: { ...NEITHER, from: '/srv/held', to: '/srv/b', allowHeld: true },
        ...document('1 object'),
      },
      {
        words: ['s3://a/x', '/srv/b', '--from-region', 'y', '--verify-only'],
        input: { ...NEITHER, from: 's3://a/x?region=y', to: '/srv/b', verifyOnly: true },
        ...document('the same'),
      },
    ],
    bad: [
      bad('nothing', [], 'missing-argument'),
      bad('one place alone', ['/srv/a'], 'missing-argument'),
      bad('an empty place', ['', '/srv/b'], 'bad-path'),
      bad('a flag of a bucket without one', ['/srv/a', '/srv/b', '--to-region', 'x'], 'flag-alone'),
      bad('the same place', ['/srv/a', '/srv/a'], 'same-store'),
      bad('volumes that are open', ['/srv/held', '/srv/b'], 'volumes-held', 4),
      bad('a surplus argument', ['/srv/a', '/srv/b', '/srv/c'], 'unexpected-argument'),
    ],
  },
});
